//! Stock, pages, watches.

use spillway_proto::pb::inventory::{AdjustStockRequest, GetStockRequest, ListStockRequest};
use spillway_proto::pb::orders::{ListOrderEventsRequest, ListOrdersRequest, WatchOrderRequest};

use super::paths;
use crate::samples::REQUEST_ID;
use crate::validate::{adjust_stock, events_page, get_stock, list_orders, list_stock, order_id, watch};

fn adjustment() -> AdjustStockRequest {
    AdjustStockRequest { request_id: REQUEST_ID.into(), sku: "tea".into(), delta: 5, reason: "delivery".into() }
}

#[test]
fn adjustments() {
    type Change = fn(&mut AdjustStockRequest);
    let cases: &[(&str, Change, &[&str])] = &[
        ("right", |_| {}, &[]),
        ("taking away", |r| r.delta = -1_000_000_000, &[]),
        ("without a reason", |r| r.reason = String::new(), &[]),
        ("nothing", |r| r.delta = 0, &["delta"]),
        ("too much", |r| r.delta = 1_000_000_001, &["delta"]),
        ("too little", |r| r.delta = i64::MIN, &["delta"]),
        ("a long reason", |r| r.reason = "x".repeat(257), &["reason"]),
        ("a reason with a line end", |r| r.reason = "a\nb".into(), &["reason"]),
        ("all wrong", |r| *r = AdjustStockRequest::default(), &["request_id", "sku", "delta"]),
    ];
    for (name, change, wanted) in cases {
        let mut changed = adjustment();
        change(&mut changed);
        assert_eq!(paths(adjust_stock(changed)), *wanted, "{name}");
    }
    let shouted = AdjustStockRequest { request_id: REQUEST_ID.to_uppercase(), ..adjustment() };
    assert_eq!(adjust_stock(shouted).expect("right").request_id, REQUEST_ID);
}

#[test]
fn stock_questions() {
    assert_eq!(paths(get_stock(&GetStockRequest { sku: "tea".into() })), [""; 0]);
    assert_eq!(paths(get_stock(&GetStockRequest { sku: " tea".into() })), ["sku"]);
    let page = |page_size, sku_prefix: &str| {
        list_stock(&ListStockRequest { page_size, sku_prefix: sku_prefix.into(), ..Default::default() })
    };
    assert_eq!(page(0, "").expect("right"), 100);
    assert_eq!(page(7, "green ").expect("right"), 7);
    assert_eq!(page(i32::MAX, "").expect("right"), 1000);
    assert_eq!(paths(page(-1, "\0")), ["page_size", "sku_prefix"]);
}

#[test]
fn pages_of_orders() {
    let time = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let all_wrong = ListOrdersRequest {
        page_size: -1,
        customer_id: "x".repeat(129),
        state: 99,
        created_from: time(0, -1),
        created_before: time(i64::MAX, 0),
        ..Default::default()
    };
    let wanted = ["page_size", "customer_id", "state", "created_from", "created_before"];
    assert_eq!(paths(list_orders(all_wrong)), wanted);
    let right = |created_from, created_before| {
        let request = ListOrdersRequest { page_size: 501, created_from, created_before, ..Default::default() };
        let asked = list_orders(request).expect("right");
        (asked.limit, asked.created_from_us, asked.created_before_us)
    };
    assert_eq!(right(None, None), (500, 0, 0));
    assert_eq!(right(time(1, 1000), time(2, 0)), (500, 1_000_001, 2_000_000));
    // Between two whole microseconds: the first order from then on is one of the later.
    assert_eq!(right(time(1, 1), time(2, 999)), (500, 1_000_001, 2_000_001));
    // Before 1970 there is no order: no lower bound, and an upper bound that nothing is below.
    assert_eq!(right(time(-1, 500), time(-1, 500)), (500, 0, 1));
}

#[test]
fn orders_and_watches_are_asked_for_by_uuid() {
    assert!(order_id("00000000-0000-0000-0000-000000000000").is_ok(), "a UUID that is not found");
    for wrong in ["", "17", "7d4448409dc04f3a9c551f3c4d2f7e10", "7d444840-9dc0-4f3a-9c55-1f3c4d2f7e1g"] {
        assert_eq!(paths(order_id(wrong)), ["order_id"], "{wrong:?}");
    }
    let watched = |order_id: &str, cursor| watch(&WatchOrderRequest { order_id: order_id.into(), cursor });
    assert_eq!(paths(watched(REQUEST_ID, 0)), [""; 0]);
    assert_eq!(paths(watched("x", -1)), ["order_id", "cursor"]);
    let events = |order_id: &str, page_size| {
        events_page(&ListOrderEventsRequest { order_id: order_id.into(), page_size, ..Default::default() })
    };
    assert_eq!(events(REQUEST_ID, 0).expect("right").1, 100);
    assert_eq!(events(REQUEST_ID, 1001).expect("right").1, 1000);
    assert_eq!(paths(events("x", -1)), ["order_id", "page_size"]);
}
