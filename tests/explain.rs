//! Why an order stands as it does: asked while parts of the system are down, and of orders that ended.

mod support;

use std::time::Duration;

use spillway_proto::pb::inventory::AdjustStockRequest;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use spillway_proto::pb::orders::waiting::Kind;
use spillway_proto::pb::orders::{ExplainOrderRequest, ExplainOrderResponse, GetOrderRequest, PlaceOrderRequest};
use support::calls::{request, with_contact};
use support::roles::Roles;
use support::{PATIENCE, System};
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
    assert!(!ledger(&told, "payments").knows_order, "{told:?}");

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
    assert!(!ledger(&told, "inventory").answered && ledger(&told, "notifications").answered);
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
