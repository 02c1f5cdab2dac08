//! An entry as a line of JSON, from which the chain can be verified anywhere. The events are in it twice: as bytes,
//! which the chain covers, and decoded, for people.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde::Deserialize;
use serde_json::{Value, json};
use spillway_proto::pb::ops::AuditEntry;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{DESCRIPTOR_SET, Envelope, batch, envelope};

/// One line of an export. Bytes are in base64.
#[derive(Debug, Deserialize)]
struct Line {
    partition: u32,
    position: i64,
    source: String,
    incarnation: String,
    number: i64,
    /// RFC 3339, in UTC, to the microsecond.
    record_time: String,
    event_hashes: String,
    hash: String,
    /// Empty where it was erased.
    body: String,
}

/// A line that is no entry of an export.
#[derive(Debug, thiserror::Error)]
pub enum NotAnEntry {
    #[error("not an entry of an export: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{field} is not base64: {source}")]
    Base64 { field: &'static str, source: base64::DecodeError },
    #[error("record_time is no time of RFC 3339")]
    Time,
}

/// Writes entries as JSON, with their events decoded by the contract.
#[derive(Clone, Debug)]
pub struct JsonLines {
    contract: DescriptorPool,
}

impl Default for JsonLines {
    fn default() -> Self {
        JsonLines {
            contract: DescriptorPool::decode(DESCRIPTOR_SET).expect("the contract was compiled into this build"),
        }
    }
}

impl JsonLines {
    /// The entry, and in `events` what its events say.
    pub fn to_json(&self, entry: &AuditEntry) -> Value {
        let record_time = entry.record_time.as_ref().and_then(time::from_wire).unwrap_or(Timestamp::UNIX_EPOCH);
        let events = batch::split(entry.body.clone()).unwrap_or_default();
        json!({
            "partition": entry.partition,
            "position": entry.position,
            "source": entry.source,
            "incarnation": entry.incarnation,
            "number": entry.number,
            "record_time": record_time.to_string(),
            "event_hashes": BASE64.encode(&entry.event_hashes),
            "hash": BASE64.encode(&entry.hash),
            "body": BASE64.encode(&entry.body),
            "events": events.into_iter().map(|raw| self.event(raw)).collect::<Vec<_>>(),
        })
    }

    /// An event in the JSON format of CloudEvents, with its payload in `data`. What this build cannot read stays
    /// base64: the payload in `data_base64`, or the whole event in `undecodable_base64`.
    fn event(&self, raw: Bytes) -> Value {
        match envelope::read(raw) {
            Ok(event) => self.cloud_event(&event),
            Err(bad) => json!({ "undecodable_base64": BASE64.encode(&bad.raw), "problem": bad.problem }),
        }
    }

    fn cloud_event(&self, event: &Envelope) -> Value {
        let mut shown = json!({
            "specversion": "1.0",
            "id": event.id.to_string(),
            "source": event.source,
            "type": event.type_name,
            "subject": event.subject.to_string(),
            "time": event.time.to_string(),
            "shop": event.shop,
        });
        if !event.traceparent.is_empty() {
            shown["traceparent"] = json!(event.traceparent);
        }
        match self.payload(event) {
            Some(data) => shown["data"] = data,
            None => shown["data_base64"] = json!(BASE64.encode(&event.payload)),
        }
        shown
    }

    fn payload(&self, event: &Envelope) -> Option<Value> {
        let message = event.kind()?.type_url().rsplit('/').next()?;
        let message = self.contract.get_message_by_name(message)?;
        let payload = DynamicMessage::decode(message, event.payload.clone()).ok()?;
        serde_json::to_value(payload).ok()
    }
}

/// The entry of a line. Fields that it does not know, `events` among them, are passed over: what counts is in the
/// bytes that the chain covers.
pub fn from_json(line: &str) -> Result<AuditEntry, NotAnEntry> {
    let line: Line = serde_json::from_str(line)?;
    let bytes = |field, text: &str| match BASE64.decode(text) {
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(source) => Err(NotAnEntry::Base64 { field, source }),
    };
    Ok(AuditEntry {
        partition: line.partition,
        position: line.position,
        source: line.source,
        incarnation: line.incarnation,
        number: line.number,
        record_time: Some(time::to_wire(line.record_time.parse().map_err(|_| NotAnEntry::Time)?)),
        event_hashes: bytes("event_hashes", &line.event_hashes)?,
        hash: bytes("hash", &line.hash)?,
        body: bytes("body", &line.body)?,
    })
}
