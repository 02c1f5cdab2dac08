//! One order, from gRPC to its end; every test runs with one partition and with two.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use spillway_proto::pb::inventory::AdjustStockRequest;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{
    ListOrderEventsRequest, ListOrdersRequest, OrderLine, PlaceOrderRequest, Reason, WatchOrderRequest,
};
use support::calls::{kinds, request, with_contact};
use support::money::{eur, minor};
use support::{Options, System};
use tonic::Code;
use uuid::Uuid;

macro_rules! with_one_and_two_partitions {
    ($($name:ident),* $(,)?) => {
        mod one_partition {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { super::$name(&super::System::start().await).await })*
        }
        mod two_partitions {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let options = super::Options { partitions: Some(2), ..super::Options::default() };
                super::$name(&super::System::start_with(options).await).await
            })*
        }
    };
}

with_one_and_two_partitions!(
    an_order_is_confirmed_charged_once_sold_told_and_audited,
    what_is_not_in_stock_is_rejected_and_holds_nothing,
    a_declined_payment_rejects_the_order_and_releases_its_stock,
    the_same_request_from_64_clients_at_once_is_one_order,
    sixty_four_clients_on_100_units_sell_exactly_100,
    a_watch_that_breaks_and_resumes_misses_nothing,
    a_read_after_a_write_sees_it,
    orders_are_listed_by_customer_and_state_in_pages,
    validate_only_keeps_nothing,
    a_bad_request_names_every_field_at_once,
);

async fn an_order_is_confirmed_charged_once_sold_told_and_audited(system: &System) {
    system.add_stock("tea", 10).await;
    let placed = system.place(with_contact(request("tea", 3, "pm_ok"), "ada@example.org")).await;
    assert_eq!((placed.state(), placed.version), (State::Pending, 0));
    let steps = system.watch(&placed.order_id, 0).await;
    let order = steps.last().and_then(|step| step.order.clone()).expect("a last step");
    assert_eq!((order.state(), minor(&order.total)), (State::Confirmed, 3750));
    let expected = ["order.placed", "stock.held", "payment.captured", "order.confirmed"];
    assert!(kinds(&steps).is_superset(&expected.map(str::to_owned).into()), "{:?}", kinds(&steps));

    let item = system.settled_stock("tea").await;
    assert_eq!((item.received, item.available, item.sold), (10, 7, 3));
    assert_eq!(system.charges().await.get(&order.order_id), Some(&vec![3750]));
    let mail = until_mail(system, 1).await;
    assert_eq!(mail.len(), 1);
    assert!(mail[0].contains("ada@example.org") && mail[0].contains(&order.order_id), "{}", mail[0]);
    system.sums_add_up(1).await;
}

async fn until_mail(system: &System, count: usize) -> Vec<String> {
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let written = async {
        loop {
            every.tick().await;
            let mail = mail(system);
            if mail.len() >= count {
                return mail;
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, written).await.expect("mail is written")
}

fn mail(system: &System) -> Vec<String> {
    let Ok(folder) = std::fs::read_dir(system.data().join("mail")) else { return Vec::new() };
    let files = folder.map(|entry| entry.expect("an entry").path());
    let letters = files.filter(|path| path.extension().is_some_and(|ext| ext == "eml"));
    letters.map(|path| std::fs::read_to_string(path).expect("a letter")).collect()
}

async fn what_is_not_in_stock_is_rejected_and_holds_nothing(system: &System) {
    system.add_stock("tea", 2).await;
    let mut wanted = request("tea", 1, "pm_ok");
    wanted.lines.push(OrderLine { sku: "rare".to_owned(), quantity: 1, unit_price: Some(eur(100)) });
    let order = system.run_order(wanted).await;
    assert_eq!((order.state(), order.reason()), (State::Rejected, Reason::OutOfStock));
    let item = system.stock("tea").await;
    assert_eq!((item.available, item.held, item.sold), (2, 0, 0), "all lines are held, or none");
    system.sums_add_up(1).await;
}

async fn a_declined_payment_rejects_the_order_and_releases_its_stock(system: &System) {
    system.add_stock("tea", 5).await;
    let declined = system.run_order(request("tea", 5, "pm_declined")).await;
    assert_eq!((declined.state(), declined.reason()), (State::Rejected, Reason::PaymentDeclined));
    let item = system.settled_stock("tea").await;
    assert_eq!((item.available, item.sold), (5, 0));
    let action = system.run_order(request("tea", 1, "pm_action_required")).await;
    assert_eq!((action.state(), action.reason()), (State::Rejected, Reason::ActionRequired));
    system.sums_add_up(2).await;
}

async fn the_same_request_from_64_clients_at_once_is_one_order(system: &System) {
    system.add_stock("tea", 100).await;
    let same = request("tea", 1, "pm_ok");
    let answers = (0..64).map(|_| {
        let (mut client, same) = (system.orders(), same.clone());
        tokio::spawn(async move { client.place_order(same).await.expect("accepted").into_inner().order })
    });
    let answers = futures::future::join_all(answers).await;
    let ids: BTreeSet<String> =
        answers.into_iter().map(|order| order.expect("answered").expect("an order").order_id).collect();
    assert_eq!(ids.len(), 1);

    let other = PlaceOrderRequest { customer_id: "eve".to_owned(), ..same };
    let refused = system.orders().place_order(other).await.expect_err("other content");
    assert_eq!(refused.code(), Code::AlreadyExists, "{refused}");
    let sums = system.sums_add_up(1).await;
    assert_eq!((sums.orders, sums.confirmed), (1, 1));
}

async fn sixty_four_clients_on_100_units_sell_exactly_100(system: &System) {
    system.add_stock("last", 100).await;
    let clients = (0..64).map(|_| {
        let mut client = system.orders();
        tokio::spawn(async move {
            for _ in 0..3 {
                client.place_order(request("last", 1, "pm_ok")).await.expect("accepted");
            }
        })
    });
    for client in futures::future::join_all(clients).await {
        client.expect("placed");
    }
    let sums = system.sums_add_up(192).await;
    assert_eq!((sums.orders, sums.confirmed, sums.rejected), (192, 100, 92));
    assert_eq!(system.stock("last").await.available, 0);
}

async fn a_watch_that_breaks_and_resumes_misses_nothing(system: &System) {
    system.add_stock("tea", 10).await;
    let order = system.place(request("tea", 1, "pm_ok")).await;
    let (mut seen, mut cursor) = (Vec::new(), 0);
    'order: loop {
        let resume = WatchOrderRequest { order_id: order.order_id.clone(), cursor };
        let mut stream = system.orders().watch_order(resume).await.expect("watched").into_inner();
        // One step of each stream, then the connection is let go.
        while let Some(step) = stream.message().await.expect("no break") {
            let is_last = step.order.as_ref().is_some_and(|order| order.state() == State::Confirmed);
            cursor = step.cursor;
            if let Some(event) = step.event {
                seen.push(event.version);
                let at_end = event.r#type == "spillway.order.confirmed.v1";
                match is_last && at_end {
                    true => break 'order,
                    false => break,
                }
            }
        }
    }
    let whole = ListOrderEventsRequest { order_id: order.order_id.clone(), ..ListOrderEventsRequest::default() };
    let events = system.orders().list_order_events(whole).await.expect("listed").into_inner().events;
    let versions: Vec<i64> = events.iter().map(|event| event.version).collect();
    assert_eq!(seen, versions, "every version once, in order");
    assert_eq!(versions, (1..=versions.len() as i64).collect::<Vec<_>>());
    let replayed: Vec<i64> =
        system.watch(&order.order_id, 0).await.iter().filter_map(|s| s.event.as_ref()).map(|e| e.version).collect();
    assert_eq!(replayed, versions);
}

async fn a_read_after_a_write_sees_it(system: &System) {
    assert_eq!(system.add_stock("tea", 5).await.available, 5);
    for n in 1..=20 {
        system.add_stock("tea", 1).await;
        assert_eq!(system.stock("tea").await.received, 5 + n);
        let placed = system.place(request("tea", 1, "pm_ok")).await;
        let order = system.get(&placed.order_id).await.expect("known at once");
        assert_eq!(order.request_id, placed.request_id);
    }
    let unknown = system.get(&Uuid::now_v7().to_string()).await.expect_err("nobody's order");
    assert_eq!(unknown.code(), Code::NotFound);
    system.sums_add_up(20).await;
}

async fn orders_are_listed_by_customer_and_state_in_pages(system: &System) {
    system.add_stock("tea", 100).await;
    let mut mine = Vec::new();
    for n in 0..7 {
        let method = if n % 2 == 0 { "pm_ok" } else { "pm_declined" };
        let ada = PlaceOrderRequest { customer_id: "ada".to_owned(), ..request("tea", 1, method) };
        mine.push(system.run_order(ada).await.order_id);
        let eve = PlaceOrderRequest { customer_id: "eve".to_owned(), ..request("tea", 1, "pm_ok") };
        system.run_order(eve).await;
    }
    mine.sort();
    mine.reverse();
    let filter = ListOrdersRequest { customer_id: "ada".to_owned(), page_size: 3, ..ListOrdersRequest::default() };
    let (mut listed, mut next) = (Vec::new(), filter.clone());
    loop {
        let page = system.orders().list_orders(next).await.expect("listed").into_inner();
        assert!(page.orders.len() <= 3 && page.as_of.is_some());
        listed.extend(page.orders.into_iter().map(|order| order.order_id));
        if page.next_page_token.is_empty() {
            break;
        }
        next = ListOrdersRequest { page_token: page.next_page_token, ..filter.clone() };
    }
    assert_eq!(listed, mine);
    let rejected = ListOrdersRequest { state: State::Rejected.into(), ..filter.clone() };
    let page = system.orders().list_orders(rejected.clone()).await.expect("listed").into_inner();
    assert_eq!(page.orders.len(), 3);
    let first = system.orders().list_orders(filter).await.expect("listed").into_inner();
    let mixed = ListOrdersRequest { page_token: first.next_page_token, ..rejected };
    let refused = system.orders().list_orders(mixed).await.expect_err("a token of another filter");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

async fn validate_only_keeps_nothing(system: &System) {
    let only = PlaceOrderRequest { validate_only: true, ..request("tea", 2, "pm_ok") };
    let order = system.place(only.clone()).await;
    assert_eq!((order.order_id.as_str(), minor(&order.total)), ("", 2500));
    let bad = PlaceOrderRequest { customer_id: String::new(), ..only };
    assert_eq!(system.orders().place_order(bad).await.expect_err("checked").code(), Code::InvalidArgument);
    assert_eq!(system.every_order().await.len(), 0);
}

async fn a_bad_request_names_every_field_at_once(system: &System) {
    use tonic_types::StatusExt;
    let bad = PlaceOrderRequest {
        request_id: "1".to_owned(),
        customer_id: "ada\u{7}".to_owned(),
        lines: vec![
            OrderLine { sku: "tea".to_owned(), quantity: 0, unit_price: Some(eur(-1)) },
            OrderLine { sku: "tea".to_owned(), quantity: i64::MAX, unit_price: None },
        ],
        ..PlaceOrderRequest::default()
    };
    let status = system.orders().place_order(bad).await.expect_err("invalid");
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let violations = &details.bad_request().expect("violations").field_violations;
    let fields: BTreeSet<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    for field in
        ["request_id", "customer_id", "payment_method", "lines[0].quantity", "lines[1].sku", "lines[1].quantity"]
    {
        assert!(fields.contains(field), "{field} is not among {fields:?}");
    }
    assert_eq!(details.error_info().expect("always").domain, "spillway");
    let none = AdjustStockRequest { request_id: "x".to_owned(), ..AdjustStockRequest::default() };
    let status = system.inventory().adjust_stock(none).await.expect_err("invalid");
    assert_eq!(status.get_error_details().bad_request().expect("violations").field_violations.len(), 3);
}
