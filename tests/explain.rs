//! Why an order stands as it does: asked while parts of the system are down, and of orders that ended.

mod support;

use std::time::Duration;

use spillway_proto::pb::inventory::AdjustStockRequest;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use spillway_proto::pb::orders::waiting::Kind;
use spillway_proto::pb::orders::{
    ExplainOrderRequest, ExplainOrderResponse, GetOrderRequest, Order, PlaceOrderRequest, Waiting,
};
use support::calls::{request, with_contact};
use support::roles::Roles;
use support::{Options, PATIENCE, System, sums};
use tonic::transport::Channel;
use tonic::{Code, Status};
use uuid::Uuid;

type Orders = OrderServiceClient<Channel>;

async fn explain(mut orders: Orders, order_id: &str) -> Result<ExplainOrderResponse, Status> {
    let request = ExplainOrderRequest { order_id: order_id.to_owned() };
    Ok(orders.explain_order(request).await?.into_inner())
}

/// Asks until the summary says all of this.
async fn until_said(orders: Orders, order_id: &str, words: &[&str]) -> ExplainOrderResponse {
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let mut last = String::new();
    let asked = async {
        loop {
            every.tick().await;
            match explain(orders.clone(), order_id).await {
                Ok(told) if words.iter().all(|words| told.summary.contains(words)) => return told,
                Ok(told) => last = told.summary,
                Err(status) => last = status.to_string(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{words:?} is never said, but {last:?}"))
}

async fn place(mut orders: Orders, request: PlaceOrderRequest) -> String {
    orders.place_order(request).await.expect("accepted").into_inner().order.expect("an order").order_id
}

fn ledger<'t>(told: &'t ExplainOrderResponse, name: &str) -> &'t spillway_proto::pb::orders::LedgerExplanation {
    told.ledgers.iter().find(|ledger| ledger.ledger == name).unwrap_or_else(|| panic!("{name} in {told:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_ended_says_why() {
    let system = System::start().await;
    system.add_stock("pen", 1).await;
    system.add_stock("tea", 10).await;

    let short = system.run_order(request("pen", 3, "pm_ok")).await;
    let told = until_said(system.orders(), &short.order_id, &["not enough in stock"]).await;
    assert!(told.summary.contains("Short: pen (3 ordered, 1 available)."), "{}", told.summary);
    assert_eq!(ledger(&told, "inventory").state, "REFUSED");
    // Payments may hear that it is over, and nothing else.
    assert!(["", "CANCELLED"].contains(&ledger(&told, "payments").state.as_str()), "{told:?}");

    let declined = system.run_order(request("tea", 1, "pm_declined")).await;
    let told =
        until_said(system.orders(), &declined.order_id, &["declined the charge", "Its code: card_declined."]).await;
    assert_eq!(told.order.as_ref().map(|order| order.state()), Some(State::Rejected));
    let told = until_said(system.orders(), &declined.order_id, &[]).await;
    assert_eq!((told.operator_actions.len(), told.ledgers.len()), (0, 4));

    let bought = system.run_order(with_contact(request("tea", 2, "pm_ok"), "ada@example.com")).await;
    let told = until_said(system.orders(), &bought.order_id, &["It was paid and confirmed at"]).await;
    assert!(ledger(&told, "orders").answered && ledger(&told, "notifications").answered);
    let (code, out, err) = system.verb(&["order", "explain", &bought.order_id]).await;
    assert_eq!(code, 0, "{err}");
    let words = ["CONFIRMED", "It was paid and confirmed at", "inventory ", "payments ", "orders ", "notifications "];
    assert!(words.iter().all(|words| out.contains(words)), "{out}");
    let (code, out, err) = system.verb(&["order", "explain", &bought.order_id, "--output", "json"]).await;
    assert_eq!(code, 0, "{err}");
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (json["order"]["state"].as_str(), json["ledgers"][0]["ledger"].as_str()),
        (Some("STATE_CONFIRMED"), Some("inventory"))
    );

    let unknown = explain(system.orders(), &Uuid::now_v7().to_string()).await.expect_err("nobody placed it");
    assert_eq!(unknown.code(), Code::NotFound);
    let wrong = explain(system.orders(), "17").await.expect_err("no id");
    assert_eq!(wrong.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_down_is_named_and_the_order_goes_on_when_it_is_back() {
    let mut roles = Roles::start(&[]).await;
    let adjust = AdjustStockRequest {
        request_id: Uuid::new_v4().to_string(),
        sku: "tea".into(),
        delta: 10,
        reason: String::new(),
    };
    roles.inventory().adjust_stock(adjust).await.expect("adjusted");

    roles.kill("inventory").await;
    let order = place(roles.orders(), request("tea", 1, "pm_ok")).await;
    let told =
        until_said(roles.orders(), &order, &["waits for its stock", "Inventory does not answer: is it running?"]).await;
    assert_eq!(told.operator_actions, ["spillway doctor", "spillway run inventory"]);
    assert!(!ledger(&told, "inventory").answered && ledger(&told, "payments").answered);
    let waiting = told.order.as_ref().and_then(|order| order.waiting.clone()).expect("it waits");
    assert_eq!(waiting.kind(), Kind::Stock);
    assert!(waiting.since.is_some() && waiting.expected.is_none());
    let (code, out, err) = roles.verb(&["order", "explain", &order]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("does not answer") && out.contains("what can be done:\n  spillway doctor"), "{out}");

    roles.kill("orders").await;
    let told = until_said(roles.orders(), &order, &["The order was accepted at", "Orders does not answer"]).await;
    assert_eq!(told.order, None, "how it stands is not known, and an older answer is none");

    roles.begin("inventory").await;
    roles.begin("orders").await;
    until_said(roles.orders(), &order, &["It was paid and confirmed at"]).await;
}

async fn steer(system: &System, mode: &str) {
    let (status, body) = sums::post(&format!("{}/sandbox/mode", system.address("provider")), mode).await;
    assert_eq!(status, 200, "{body}");
}

fn waiting(order: Option<Order>) -> Waiting {
    order.and_then(|order| order.waiting).expect("it waits")
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_out_an_order_says_since_when_and_when_it_is_tried_again() {
    let arguments = ["--set", "payments.breaker.open_ms=4000"].map(str::to_owned).to_vec();
    let system = System::start_with(Options { arguments, ..Options::default() }).await;
    system.add_stock("tea", 100).await;
    steer(&system, r#"{"down": true}"#).await;
    let mut orders = Vec::new();
    for _ in 0..8 {
        orders.push(system.place_retrying(request("tea", 1, "pm_ok")).await.expect("accepted").order_id);
    }
    let last = orders.last().expect("eight");
    let words = ["waits for its payment since", "The payment provider cannot be used since", "Next: "];
    let told = until_said(system.orders(), last, &words).await;
    assert_eq!(told.operator_actions, [""; 0], "nothing need be done");
    assert_eq!(ledger(&told, "inventory").state, "HELD");
    let explained = waiting(told.order);
    assert_eq!(explained.kind(), Kind::Payment);
    let second = |at: Option<prost_types::Timestamp>| at.map(|at| at.seconds).expect("it says when");
    assert!(second(explained.expected) >= second(explained.since), "{explained:?}");
    // Asked and watched, the order says so too.
    until_waiting(&system, last, "the payment provider stopped answering at").await;
    steer(&system, r#"{"down": false}"#).await;
    for order in &orders {
        until_said(system.orders(), order, &["It was paid and confirmed at"]).await;
    }
}

async fn until_waiting(system: &System, order_id: &str, words: &str) {
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let asked = async {
        loop {
            every.tick().await;
            let order = system.get(order_id).await.ok();
            let Some(waiting) = order.and_then(|order| order.waiting) else { continue };
            if waiting.kind() == Kind::Payment && waiting.detail.contains(words) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{order_id} never says {words:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_an_operator_holds_up_tells_the_operators_reason() {
    let system = System::start().await;
    system.add_stock("tea", 10).await;
    let (code, out, err) = system.verb(&["pause", "payments", "--reason", "the provider moves house"]).await;
    assert_eq!(code, 0, "{out}{err}");
    let order = system.place(request("tea", 1, "pm_ok")).await.order_id;
    let words = ["waits for its payment", "An operator holds this work up: the provider moves house"];
    let told = until_said(system.orders(), &order, &words).await;
    assert_eq!(told.operator_actions, ["spillway resume payments --reason TEXT"]);
    assert_eq!(waiting(told.order).expected, None, "nobody knows when the operator lets it go on");
    let (code, out, err) = system.verb(&["resume", "payments", "--reason", "it has moved"]).await;
    assert_eq!(code, 0, "{out}{err}");
    until_said(system.orders(), &order, &["It was paid and confirmed at"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_no_rule_settles_names_what_is_wrong_and_what_a_person_can_do() {
    let system = System::start().await;
    system.add_stock("tea", 10).await;
    steer(&system, r#"{"wrong_amount": true}"#).await;
    let order = system.place(request("tea", 1, "pm_ok")).await.order_id;
    let told =
        until_said(system.orders(), &order, &["a person must look at it", "the provider captured another"]).await;
    assert_eq!(
        (ledger(&told, "payments").state.as_str(), waiting(told.order.clone()).kind()),
        ("PARKED", Kind::Payment)
    );
    let settle = format!("spillway payment settle {order} --as ");
    assert!(told.operator_actions.iter().any(|action| action.starts_with(&settle)), "{:?}", told.operator_actions);
    assert_eq!(told.summary.matches("captured another amount").count(), 1, "{}", told.summary);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_message_is_poison_names_the_dead_letter() {
    let environment = vec![("FAILPOINTS".to_owned(), "ledger.decide=return(panic poison-sku)".to_owned())];
    let system = System::start_with(Options { environment, ..Options::default() }).await;
    system.add_stock("tea", 10).await;
    let poison = system.place(request("poison-sku", 1, "pm_ok")).await.order_id;
    let words = ["Inventory could not take a message of this order: deciding on it panicked", "redrives it"];
    let told = until_said(system.orders(), &poison, &words).await;
    let letters = &ledger(&told, "inventory").dead_letters;
    assert_eq!(letters.len(), 1, "{told:?}");
    assert_eq!(told.operator_actions[0], format!("spillway dlq show {}", letters[0]));
    let (code, out, err) = system.verb(&["dlq", "show", &letters[0]]).await;
    assert_eq!(code, 0, "{out}{err}");
    let healthy = system.run_order(request("tea", 1, "pm_ok")).await;
    assert_eq!(healthy.state(), State::Confirmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_accepted_without_jetstream_says_that_it_waits_for_it() {
    let mut roles = Roles::start(&[]).await;
    let before = place(roles.orders(), request("nothing-of-it", 1, "pm_ok")).await;
    until_said(roles.orders(), &before, &["not enough in stock"]).await;
    roles.nats.kill().await;
    let order = place(roles.orders(), request("tea", 1, "pm_ok")).await;
    let told = until_said(roles.orders(), &order, &["safe in the gateway's ledger", "waits for JetStream"]).await;
    assert_eq!((told.order, told.operator_actions), (None, vec!["spillway doctor".to_owned()]));
    assert!(told.ledgers.iter().all(|ledger| !ledger.answered && ledger.summary.contains("not connected to NATS")));
    let told = until_said(roles.orders(), &before, &["how the order stands by now cannot be said"]).await;
    assert!(!told.summary.contains("waits for JetStream"), "it was told before: {}", told.summary);
    let status =
        roles.orders().get_order(GetOrderRequest { order_id: order.clone() }).await.expect_err("orders is away");
    assert_eq!(status.code(), Code::Unavailable);
    roles.nats.restart().await.expect("nats-server is back");
    until_said(roles.orders(), &order, &["It was rejected because there was not enough in stock"]).await;
}
