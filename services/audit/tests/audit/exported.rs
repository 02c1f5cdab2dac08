//! The lines of an export.

use bytes::Bytes;
use spillway_audit::{JsonLines, Verifier, from_json};
use spillway_proto::batch::BatchWriter;
use spillway_proto::pb::events as v1;
use spillway_proto::pb::orders as orders_v1;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Ledger as Source, NewEvent, OrderId, Partition, Subject};
use spillway_shared::ledger::Batch;

use crate::kit::{self, Place};

#[tokio::test]
async fn a_line_reads_back_as_the_entry_and_verifies() {
    let chain = kit::chain(5).await;
    let (lines, mut verifier) = (JsonLines::default(), Verifier::new());
    for entry in &chain {
        let line = lines.to_json(entry).to_string();
        assert!(!line.contains('\n'));
        let again = from_json(&line).expect("its own line");
        assert_eq!(&again, entry);
        verifier.next(&again).expect("fits");
    }
    assert_eq!(verifier.position(), 25);
}

#[tokio::test]
async fn events_are_readable_in_the_json_format_of_cloudevents() {
    let place = Place::new();
    let ledger = place.open();
    let order = OrderId::new(Timestamp::UNIX_EPOCH, Partition(1), [7; 10]);
    let rejected = v1::OrderRejected {
        reason: orders_v1::Reason::OutOfStock.into(),
        contact: Some(orders_v1::Contact { email: "ada@example.com".to_owned() }),
        ..Default::default()
    };
    let said = NewEvent {
        shop: "default".to_owned(),
        subject: Subject::Order(order),
        occurrence: String::new(),
        traceparent: "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01".to_owned(),
        event: rejected.into(),
    };
    let mut writer = BatchWriter::default();
    writer.push(&said, Source::Orders, time::from_micros(1_767_225_600_000_001));
    let body = Bytes::from(writer.into_bytes());
    kit::hear(&ledger, &[Batch { body, ..kit::batch(Source::Orders, 1) }]).await;

    let line = JsonLines::default().to_json(&kit::export_all(&ledger).await[0]);
    let expected = serde_json::json!([{
        "specversion": "1.0",
        "id": said.id().to_string(),
        "source": "orders",
        "type": "spillway.order.rejected.v1",
        "subject": format!("order/{order}"),
        "time": "2026-01-01T00:00:00.000001Z",
        "shop": "default",
        "traceparent": "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01",
        "data": { "reason": "REASON_OUT_OF_STOCK", "contact": { "email": "ada@example.com" } },
    }]);
    assert_eq!(line["events"], expected);
}

#[tokio::test]
async fn what_cannot_be_decoded_is_shown_as_bytes() {
    let place = Place::new();
    let ledger = place.open();
    kit::hear(&ledger, &[Batch { body: Bytes::from_static(b"\x0a\x02hi"), ..kit::batch(Source::Orders, 1) }]).await;
    let entry = kit::export_all(&ledger).await.remove(0);
    let line = JsonLines::default().to_json(&entry);
    assert_eq!(line["events"][0]["undecodable_base64"], "aGk=");
    assert_eq!(from_json(&line.to_string()).expect("its own line"), entry);
}

#[tokio::test]
async fn an_erased_body_is_an_empty_one() {
    let mut entry = kit::chain(1).await.remove(0);
    entry.body = Bytes::new();
    let line = JsonLines::default().to_json(&entry);
    assert_eq!((&line["body"], &line["events"]), (&"".into(), &serde_json::json!([])));
    assert_eq!(from_json(&line.to_string()).expect("its own line"), entry);
}

#[test]
fn what_is_no_entry_is_told_why() {
    for (line, why) in [
        ("", "not an entry of an export"),
        ("{}", "missing field"),
        (
            r#"{"partition":0,"position":1,"source":"orders","incarnation":"","number":1,
             "record_time":"2026-01-01T00:00:00Z","event_hashes":"*","hash":"","body":""}"#,
            "event_hashes is not base64",
        ),
        (
            r#"{"partition":0,"position":1,"source":"orders","incarnation":"","number":1,
             "record_time":"soon","event_hashes":"","hash":"","body":""}"#,
            "record_time is no time",
        ),
        (r#"{"partition":0,"partition":1}"#, "duplicate field"),
    ] {
        let error = from_json(line).expect_err(line).to_string();
        assert!(error.contains(why), "{line}: {error}");
    }
}
