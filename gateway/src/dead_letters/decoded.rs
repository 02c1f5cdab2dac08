//! A dead letter's message in ProtoJSON, as far as it can be decoded.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use spillway_proto::DESCRIPTOR_SET;
use spillway_proto::pb::cloudevents::{CloudEvent, CloudEventBatch, cloud_event};
use spillway_proto::pb::ops::GetDeadLetterResponse;
use spillway_shared::config::SECRET_SHOWN_AS;

/// The message in ProtoJSON; empty where its envelope cannot be decoded, and of due work, which is no message.
pub(super) fn json(found: &GetDeadLetterResponse) -> String {
    if found.dead_letter.as_ref().is_some_and(|letter| !letter.due_kind.is_empty()) {
        return String::new();
    }
    let Ok(pool) = DescriptorPool::decode(DESCRIPTOR_SET) else { return String::new() };
    let is_whole = found.dead_letter.as_ref().is_some_and(|letter| letter.whole_message);
    let read = if is_whole { batch(&pool, found.body.clone()) } else { event(&pool, found.body.clone()) };
    let hidden = read.map(|mut value| {
        hide(&mut value);
        value
    });
    hidden.map(|value| value.to_string()).unwrap_or_default()
}

/// What nobody needs to see who wonders what is wrong with a message: a customer's address, and what pays. The bytes of the
/// letter have it still.
const HIDDEN: [&str; 2] = ["email", "paymentMethod"];

fn hide(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, below) in fields {
                if HIDDEN.contains(&name.as_str()) {
                    *below = SECRET_SHOWN_AS.into();
                } else {
                    hide(below);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(hide),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

fn batch(pool: &DescriptorPool, body: Bytes) -> Option<serde_json::Value> {
    let batch = CloudEventBatch::decode(body).ok()?;
    let events: Option<Vec<_>> = batch.events.into_iter().map(|event| shown(pool, event)).collect();
    Some(serde_json::json!({ "events": events? }))
}

fn event(pool: &DescriptorPool, body: Bytes) -> Option<serde_json::Value> {
    shown(pool, CloudEvent::decode(body).ok()?)
}

/// A payload that cannot be resolved stays bytes.
fn shown(pool: &DescriptorPool, mut event: CloudEvent) -> Option<serde_json::Value> {
    if let Some(resolved) = to_json(pool, &event) {
        return Some(resolved);
    }
    if let Some(cloud_event::Data::ProtoData(any)) = event.data.take() {
        event.data = Some(cloud_event::Data::BinaryData(any.value.into()));
    }
    to_json(pool, &event)
}

fn to_json(pool: &DescriptorPool, event: &CloudEvent) -> Option<serde_json::Value> {
    let descriptor = pool.get_message_by_name("io.cloudevents.v1.CloudEvent")?;
    let message = DynamicMessage::decode(descriptor, event.encode_to_vec().as_slice()).ok()?;
    message.serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new()).ok()
}

#[cfg(test)]
mod tests {
    use spillway_proto::envelope;
    use spillway_proto::pb::events::{OrderPlaced, StockAdjusted};
    use spillway_proto::pb::ops::DeadLetter;
    use spillway_proto::pb::orders::Contact;
    use spillway_proto::time::Timestamp;
    use spillway_proto::{Event, Ledger, NewEvent, Subject, batch};

    use super::*;

    fn written(source: Ledger, event: impl Into<Event>) -> Vec<u8> {
        let event = NewEvent {
            shop: "default".to_owned(),
            subject: Subject::Sku("tea".to_owned()),
            occurrence: String::new(),
            traceparent: String::new(),
            event: event.into(),
        };
        let mut bytes = Vec::new();
        envelope::write(&event, source, Timestamp::UNIX_EPOCH, &mut bytes);
        bytes
    }

    fn said() -> Vec<u8> {
        written(Ledger::Inventory, StockAdjusted { delta: 3, ..StockAdjusted::default() })
    }

    fn shown(body: impl Into<Bytes>, whole_message: bool) -> String {
        let dead_letter = Some(DeadLetter { whole_message, ..DeadLetter::default() });
        json(&GetDeadLetterResponse { dead_letter, body: body.into(), ..GetDeadLetterResponse::default() })
    }

    #[test]
    fn what_is_private_is_not_shown_wherever_it_stands() {
        let mut value = serde_json::json!({
            "paymentMethod": "pm_1", "contact": {"email": "ada@example.org"}, "events": [{"email": "x"}], "sku": "tea",
        });
        hide(&mut value);
        let shown = serde_json::json!({
            "paymentMethod": "***", "contact": {"email": "***"}, "events": [{"email": "***"}], "sku": "tea",
        });
        assert_eq!(value, shown);
    }

    #[test]
    fn a_message_is_shown_without_it_alone_and_in_a_batch() {
        let placed = OrderPlaced {
            customer_id: "ada".to_owned(),
            payment_method: "pm_1".to_owned(),
            contact: Some(Contact { email: "ada@example.org".to_owned() }),
            ..OrderPlaced::default()
        };
        let placed = written(Ledger::Gateway, placed);
        for shown in [shown(placed.clone(), false), shown(batch::of_one(&placed), true)] {
            assert!(shown.contains(r#""customerId":"ada""#) && shown.contains(r#""email":"***""#), "{shown}");
            assert!(!shown.contains("pm_1") && !shown.contains("ada@example.org"), "{shown}");
        }
    }

    #[test]
    fn a_known_payload_is_resolved_an_unknown_one_stays_bytes_and_garbage_is_not_shown() {
        let known = shown(said(), false);
        assert!(known.contains(r#""delta":"3""#) && known.contains("sku/tea"), "{known}");
        let text = String::from_utf8_lossy(&said()).into_owned();
        let at = text.find("events.v1.StockAdjusted").expect("its type");
        let mut newer = said();
        newer[at..at + 23].copy_from_slice(b"events.v1.StockAbsorbed");
        let newer = shown(newer, false);
        assert!(newer.contains("binaryData") && newer.contains("sku/tea"), "{newer}");
        let whole = shown(batch::of_one(&said()), true);
        assert!(whole.contains(r#"{"events":[{"#) && whole.contains(r#""delta":"3""#), "{whole}");
        assert_eq!(shown(&b"\xff\xff\xff"[..], false), "");
    }
}
