//! The largest order that is taken fits into an event, and an event into a message; a larger one is refused when it is
//! placed, with the field named, and not found too large when it is to be said.

use prost::Message;
use spillway_proto::pb::orders::PlaceOrderRequest;

use super::paths;
use crate::samples::{line, money, request};
use crate::validate::place_order;

/// What nats-server takes in one message unless told otherwise, and what a batch may have before its last event.
const MAX_PAYLOAD: usize = 1024 * 1024;
const BATCH: usize = spillway_proto::batch::MAX_BATCH_BYTES;

/// Every field as long as it may be, in characters of four bytes where they may be such.
fn largest() -> PlaceOrderRequest {
    let long = |characters: usize| "🫖".repeat(characters);
    let sku = |n: usize| format!("{}{n:03}", long(61));
    PlaceOrderRequest {
        customer_id: long(128),
        lines: (0..200).map(|n| line(&sku(n), 1, money(12, 500_000_000, "EUR"))).collect(),
        total: None,
        labels: (0..32).map(|n| (format!("{}{n:02}", "k".repeat(61)), long(256))).collect(),
        ..request()
    }
}

#[test]
fn the_largest_order_fits_into_a_message_with_a_batch_before_it() {
    let placement = place_order(largest()).expect("everything is as long as it may be");
    let event = placement.content.encoded_len();
    println!("the largest order takes {event} bytes");
    assert!(event > 64 * 1024, "{event}: is this the largest?");
    assert!(BATCH + event + 4096 < MAX_PAYLOAD, "{event}");
}

#[test]
fn what_is_larger_is_refused_with_its_field() {
    let mut order = largest();
    order.lines.push(line("one more", 1, money(1, 0, "EUR")));
    assert_eq!(paths(place_order(order)), ["lines"]);
    let mut order = largest();
    order.lines[7].sku.push('x');
    assert_eq!(paths(place_order(order)), ["lines[7].sku"]);
    let mut order = largest();
    order.customer_id = "x".repeat(200_000);
    assert_eq!(paths(place_order(order)), ["customer_id"]);
    let mut order = largest();
    order.labels.insert("one.more".to_owned(), String::new());
    assert_eq!(paths(place_order(order)), ["labels"]);
}
