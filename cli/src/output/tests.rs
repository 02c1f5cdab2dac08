use spillway_proto::pb::events::PaymentCaptured;
use spillway_proto::pb::orders::{OrderEvent, PlaceOrderRequest};

use super::*;

fn output() -> Output {
    Output::new(Format::Json, true)
}

#[test]
fn a_message_is_proto_json_with_its_defaults_and_the_payload_resolved() {
    let payload = PaymentCaptured { charge_id: "ch-1".into(), attempt: 1, ..PaymentCaptured::default() };
    let event = OrderEvent {
        version: 3,
        data: Some(prost_types::Any {
            type_url: "type.googleapis.com/spillway.events.v1.PaymentCaptured".into(),
            value: payload.encode_to_vec(),
        }),
        ..OrderEvent::default()
    };
    let json = output().to_proto_json("spillway.orders.v1.OrderEvent", &event).expect("JSON");
    assert_eq!(json["version"], "3");
    assert_eq!(json["traceparent"], "");
    assert_eq!(json["data"]["@type"], "type.googleapis.com/spillway.events.v1.PaymentCaptured");
    assert_eq!(json["data"]["chargeId"], "ch-1");
    assert!(json.get("time").is_none(), "{json}");
}

#[test]
fn a_request_is_read_from_proto_json() {
    let text = r#"{"customerId": "c-1", "lines": [{"sku": "pen", "quantity": "3",
        "unitPrice": {"currencyCode": "EUR", "units": "1", "nanos": 500000000}}], "labels": {"a": "b"}}"#;
    let request: PlaceOrderRequest =
        output().from_proto_json("spillway.orders.v1.PlaceOrderRequest", text).expect("good");
    assert_eq!((request.customer_id.as_str(), request.lines[0].quantity), ("c-1", 3));
    assert_eq!(request.labels["a"], "b");
}

#[test]
fn a_request_with_a_misspelled_field_or_something_behind_it_is_refused() {
    for text in [r#"{"customer": "c-1"}"#, r#"{"customerId": "c-1"} {}"#, "", "[]"] {
        let read = output().from_proto_json::<PlaceOrderRequest>("spillway.orders.v1.PlaceOrderRequest", text);
        assert_eq!(read.expect_err(text).exit, Exit::Usage, "{text}");
    }
}

#[test]
fn a_table_has_no_trailing_blanks_and_steers_no_terminal() {
    let text =
        table(&["SKU", "HELD"], vec![vec!["a\u{1b}[2J".into(), "1".into()], vec!["long-name".into(), "22".into()]]);
    assert_eq!(text, "SKU        HELD\na\u{fffd}[2J      1\nlong-name  22\n");
    assert_eq!(table(&["SKU"], vec![]), "");
}
