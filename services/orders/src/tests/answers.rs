//! What `history` answers.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::{self, Call};
use spillway_proto::pb::{events as v1, orders as api};
use spillway_proto::{Event, EventKind, time};

use super::kit::{
    Bench, TRACE, at, call, captured, deferred, euros, held, order_id, placed, refund_failed, refunded, refused,
};
use crate::queries;

fn waiting(answer: &internal::HistoryResponse) -> api::Waiting {
    answer.order.as_ref().and_then(|order| order.waiting.clone()).expect("it waits")
}

#[tokio::test]
async fn an_order_is_shown_as_it_was_placed_and_as_it_stands() {
    let mut bench = Bench::open();
    bench.hear(&[(0, 1, placed("ann", "ann@example.com")), (0, 2, held()), (0, 3, captured())]).await;
    let answer = bench.history(0, 0, 100).await;
    let order = answer.order.expect("known");
    assert_eq!((order.order_id, order.customer_id.as_str()), (order_id(0).to_string(), "ann"));
    assert_eq!((order.lines.len(), order.lines[0].sku.as_str()), (1, "tea"));
    assert_eq!(order.labels["channel"], "web");
    assert!(!order.request_id.is_empty());
    assert_eq!((&order.total, &order.refunded), (&Some(euros(12)), &Some(euros(0))));
    assert_eq!((order.state, order.reason), (api::order::State::Confirmed.into(), 0));
    assert_eq!((&order.waiting, order.version), (&None, 4));
    assert_eq!(order.create_time, Some(time::to_wire(at(1))));
    assert_eq!(order.update_time, Some(time::to_wire(at(super::kit::NOW))));
    let of = |event: &api::OrderEvent| (event.version, event.source.clone(), event.r#type.clone());
    let kinds = [EventKind::OrderPlaced, EventKind::StockHeld, EventKind::PaymentCaptured, EventKind::OrderConfirmed];
    let named: Vec<_> = ["gateway", "inventory", "payments", "orders"].into_iter().zip(kinds).collect();
    for ((version, (source, kind)), event) in (1..).zip(&named).zip(&answer.events) {
        assert_eq!(of(event), (version, (*source).to_owned(), kind.type_name().to_owned()));
        // What others said is kept as it was; its own words name its own step.
        assert_eq!(event.traceparent == TRACE, event.source != "orders", "{}", event.traceparent);
        let data = event.data.as_ref().expect("a payload");
        assert_eq!(data.type_url, kind.type_url());
        assert!(Event::decode(*kind, data.value.clone().into()).is_ok());
    }
    assert_eq!(answer.events.len(), 4);
    let data = answer.events[1].data.as_ref().expect("a payload");
    assert_eq!(v1::StockHeld::decode(&data.value[..]).expect("a payload").payment_method, "pm_ok");
}

#[tokio::test]
async fn a_history_is_read_from_a_version_on_and_in_parts() {
    let mut bench = Bench::open();
    bench.hear(&[(0, 1, placed("ann", "")), (0, 2, held()), (0, 3, captured()), (0, 9, refunded("r1", 5))]).await;
    let versions = async |after, limit| {
        let answer = bench.history(0, after, limit).await;
        assert_eq!(answer.order.expect("known").version, 5);
        answer.events.into_iter().map(|event| event.version).collect::<Vec<_>>()
    };
    assert_eq!(versions(0, 2).await, [1, 2]);
    assert_eq!(versions(2, 2).await, [3, 4]);
    assert_eq!(versions(4, 100).await, [5]);
    assert_eq!(versions(5, 100).await, [0; 0]);
    assert_eq!(versions(0, 0).await, [0; 0], "the order alone");
    assert_eq!(versions(i64::MAX, i32::MIN).await, [0; 0]);
    assert_eq!(versions(i64::MIN, i32::MAX).await, [1, 2, 3, 4, 5]);
    assert_eq!(bench.history(0, 0, 1).await.order.expect("known").refunded, Some(euros(5)));
}

#[tokio::test]
async fn what_a_pending_order_waits_for_is_worked_out_when_asked() {
    let mut bench = Bench::open();
    bench.hear(&[(0, 1, placed("ann", ""))]).await;
    let first = waiting(&bench.history(0, 0, 0).await);
    assert_eq!((first.kind(), first.since), (api::waiting::Kind::Stock, Some(time::to_wire(at(1)))));
    bench.hear(&[(0, 2, held())]).await;
    let second = waiting(&bench.history(0, 0, 0).await);
    assert_eq!((second.kind(), second.since), (api::waiting::Kind::Payment, Some(time::to_wire(at(2)))));
    bench.hear(&[(0, 4, deferred("o2", 4)), (0, 3, deferred("o1", 3))]).await;
    let third = waiting(&bench.history(0, 0, 0).await);
    assert_eq!((third.kind(), third.since), (api::waiting::Kind::Payment, second.since));
    assert!(third.detail.contains("stopped answering at 2027-01-15T08:00:04Z"), "{}", third.detail);
    bench.hear(&[(0, 5, captured())]).await;
    assert_eq!(bench.history(0, 0, 0).await.order.and_then(|order| order.waiting), None);
}

#[tokio::test]
async fn an_order_of_which_not_enough_is_heard_is_unknown() {
    let mut bench = Bench::open();
    assert_eq!(bench.history(0, 0, 100).await, internal::HistoryResponse::default());
    bench.hear(&[(0, 2, captured()), (0, 1, held())]).await;
    assert_eq!(bench.history(0, 0, 100).await, internal::HistoryResponse::default());
    let all = internal::OrdersPageRequest { limit: 10, ..Default::default() };
    assert_eq!(bench.list(&all).await.orders, []);
    bench.hear(&[(0, 0, placed("ann", ""))]).await;
    assert_eq!(bench.history(0, 0, 100).await.events.len(), 4);
    assert_eq!(bench.list(&all).await.orders.len(), 1);
}

#[tokio::test]
async fn shops_do_not_see_each_other() {
    let mut bench = Bench::open();
    bench.hear(&[(0, 1, placed("ann", "")), (0, 1, refused())]).await;
    let request = internal::HistoryRequest { order_id: order_id(0).to_string(), after: 0, limit: 10 };
    let theirs = Call { shop: "other".into(), ..call(&request) };
    let answer = queries::history(bench.ledger.clone(), theirs).await.expect("an answer");
    assert_eq!(answer, Bytes::new());
    let request = internal::OrdersPageRequest { limit: 10, ..Default::default() };
    let answer = queries::list(bench.ledger.clone(), Call { shop: "other".into(), ..call(&request) }).await;
    let page = internal::OrdersPageResponse::decode(answer.expect("an answer")).expect("a response");
    assert_eq!(page.orders, []);
}

#[tokio::test]
async fn an_answer_stays_below_what_nats_carries_and_goes_on_where_it_was_cut() {
    let mut bench = Bench::open();
    let long = "x".repeat(100_000);
    let mut told = vec![(0, 0, placed("ann", ""))];
    told.extend((0..20).map(|n| (0, n, refund_failed(&format!("{n}{long}")))));
    bench.hear(&told).await;
    let (mut after, mut parts, mut versions) = (0, 0, vec![]);
    while after < 21 {
        let answer = bench.history(0, after, 1000).await;
        assert!(answer.encoded_len() < 700_000 && !answer.events.is_empty());
        versions.extend(answer.events.iter().map(|event| event.version));
        after = versions.last().copied().expect("one at least");
        parts += 1;
    }
    assert_eq!(versions, (1..=21).collect::<Vec<_>>());
    assert!(parts > 3, "{parts}");
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused() {
    let bench = Bench::open();
    let broken = Call { body: Bytes::from_static(b"\xff\xff"), ..Default::default() };
    let no_id = call(&internal::HistoryRequest { order_id: "17".into(), ..Default::default() });
    let no_cursor = call(&internal::OrdersPageRequest { before_order_id: "17".into(), ..Default::default() });
    let no_state = call(&internal::OrdersPageRequest { state: 99, ..Default::default() });
    let ledger = || bench.ledger.clone();
    for (refusal, reason) in [
        (queries::history(ledger(), broken.clone()).await, "UNREADABLE_REQUEST"),
        (queries::list(ledger(), broken).await, "UNREADABLE_REQUEST"),
        (queries::history(ledger(), no_id).await, "INVALID_ORDER_ID"),
        (queries::list(ledger(), no_cursor).await, "INVALID_ORDER_ID"),
        (queries::list(ledger(), no_state).await, "UNKNOWN_STATE"),
    ] {
        let refusal = refusal.expect_err(reason);
        assert_eq!((refusal.code, refusal.reason.as_str()), (3, reason));
    }
}
