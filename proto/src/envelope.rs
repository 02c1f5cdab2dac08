//! The envelope of every event: CloudEvents 1.0 in its protobuf format, written and read without a map.
//!
//! Reading slices the bytes that came; `raw` is the event as it was said, so that it can be passed on untouched.

use std::fmt;

use bytes::{Buf, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint};
use uuid::Uuid;

use crate::event::{Event, EventKind};
use crate::ids::{EventId, OrderId};
use crate::ledgers::Ledger;
use crate::time::{self, Timestamp};

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Order(OrderId),
    Sku(String),
    DeadLetter(Uuid),
    /// What operators hold up and let go: `payments`, `refunds`, `notifications`, `intake`.
    Flow(String),
}

impl Subject {
    /// Appends its text.
    pub fn write_to(&self, to: &mut Vec<u8>) {
        let mut text = [0; 36];
        match self {
            Subject::Order(id) => {
                to.extend_from_slice(b"order/");
                to.extend_from_slice(id.as_uuid().hyphenated().encode_lower(&mut text).as_bytes());
            }
            Subject::Sku(sku) => {
                to.extend_from_slice(b"sku/");
                to.extend_from_slice(sku.as_bytes());
            }
            Subject::DeadLetter(id) => {
                to.extend_from_slice(b"dead-letter/");
                to.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
            }
            Subject::Flow(name) => {
                to.extend_from_slice(b"flow/");
                to.extend_from_slice(name.as_bytes());
            }
        }
    }

    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        match kind {
            "order" => name.parse().ok().map(Subject::Order),
            "sku" => Some(Subject::Sku(name.to_owned())),
            "dead-letter" => Uuid::try_parse(name).ok().map(Subject::DeadLetter),
            "flow" => Some(Subject::Flow(name.to_owned())),
            _ => None,
        }
    }

    /// The order, where it is about one.
    pub fn order(&self) -> Option<OrderId> {
        match self {
            Subject::Order(id) => Some(*id),
            Subject::Sku(_) | Subject::DeadLetter(_) | Subject::Flow(_) => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Order(id) => write!(f, "order/{id}"),
            Subject::Sku(sku) => write!(f, "sku/{sku}"),
            Subject::DeadLetter(id) => write!(f, "dead-letter/{id}"),
            Subject::Flow(name) => write!(f, "flow/{name}"),
        }
    }
}

/// An event that is about to be said.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub shop: String,
    pub subject: Subject,
    /// The request, refund or outage that caused it; empty where its subject can have only one of its kind.
    pub occurrence: String,
    /// W3C trace context of the step that says it; empty where there is none.
    pub traceparent: String,
    pub event: Event,
}

impl NewEvent {
    pub fn id(&self) -> EventId {
        EventId::of(&self.shop, &self.subject, self.event.kind(), &self.occurrence)
    }
}

/// An event as it was heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub id: EventId,
    /// The CloudEvents type.
    pub type_name: String,
    /// Who said it.
    pub source: String,
    pub subject: Subject,
    pub time: Timestamp,
    /// W3C trace context; empty where there is none.
    pub traceparent: String,
    pub shop: String,
    /// The payload, undecoded.
    pub payload: Bytes,
    /// The whole event as it was said.
    pub raw: Bytes,
}

impl Envelope {
    /// `None` where this build does not know the type.
    pub fn kind(&self) -> Option<EventKind> {
        EventKind::from_type_name(&self.type_name)
    }
}

/// An event that cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("undecodable event: {problem}")]
pub struct BadEvent {
    pub problem: String,
    /// The event as it was said.
    pub raw: Bytes,
}

const SPEC_VERSION: &str = "1.0";

// Field numbers of io.cloudevents.v1.
const ID: u32 = 1;
const SOURCE: u32 = 2;
const VERSION: u32 = 3;
const TYPE: u32 = 4;
const ATTRIBUTES: u32 = 5;
const PROTO_DATA: u32 = 8;
const MAP_KEY: u32 = 1;
const MAP_VALUE: u32 = 2;
const CE_STRING: u32 = 3;
const CE_TIMESTAMP: u32 = 7;
const ANY_URL: u32 = 1;
const ANY_VALUE: u32 = 2;

/// Appends the event, without the tag and length that a batch puts before it.
pub fn write(event: &NewEvent, source: Ledger, at: Timestamp, to: &mut Vec<u8>) {
    let kind = event.event.kind();
    let mut text = [0; 36];
    put(to, ID, event.id().0.hyphenated().encode_lower(&mut text).as_bytes());
    put(to, SOURCE, source.name().as_bytes());
    put(to, VERSION, SPEC_VERSION.as_bytes());
    put(to, TYPE, kind.type_name().as_bytes());
    let mut subject = Vec::with_capacity(64);
    event.subject.write_to(&mut subject);
    put_attribute(to, "subject", CE_STRING, &subject);
    put_attribute(to, "time", CE_TIMESTAMP, &prost::Message::encode_to_vec(&time::to_wire(at)));
    put_attribute(to, "shop", CE_STRING, event.shop.as_bytes());
    if !event.traceparent.is_empty() {
        put_attribute(to, "traceparent", CE_STRING, event.traceparent.as_bytes());
    }
    let (url, len) = (kind.type_url(), event.event.payload_len());
    encode_key(PROTO_DATA, WireType::LengthDelimited, to);
    encode_varint(to_u64(field_len(url.len()) + field_len(len)), to);
    put(to, ANY_URL, url.as_bytes());
    encode_key(ANY_VALUE, WireType::LengthDelimited, to);
    encode_varint(to_u64(len), to);
    event.event.write_payload(to);
}

/// Reads one event.
pub fn read(raw: Bytes) -> Result<Envelope, BadEvent> {
    read_fields(raw.clone()).map_err(|problem| BadEvent { problem, raw })
}

fn read_fields(raw: Bytes) -> Result<Envelope, String> {
    let mut found = Found::default();
    each_field(raw.clone(), |field, value| {
        match field {
            ID => found.id = Some(text(value)?),
            SOURCE => found.source = Some(text(value)?),
            VERSION => found.version = Some(text(value)?),
            TYPE => found.type_name = Some(text(value)?),
            ATTRIBUTES => found.attribute(value)?,
            PROTO_DATA => found.payload = Some(any_value(value)?),
            _ => {}
        }
        Ok(())
    })?;
    found.finish(raw)
}

/// What can still be read of an event that as a whole cannot: for people who look for the cause. Empty where it is
/// missing, damaged or no text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    pub id: String,
    pub type_name: String,
    pub subject: String,
    pub traceparent: String,
    pub shop: String,
}

/// Reads what can be read.
pub fn remains(raw: Bytes) -> Remains {
    let mut left = Remains::default();
    // What comes before the damage counts.
    let _damage = each_field(raw, |field, value| {
        let into_text = |value: Bytes| text(value).unwrap_or_default();
        match field {
            ID => left.id = into_text(value),
            TYPE => left.type_name = into_text(value),
            ATTRIBUTES => left.attribute(value),
            _ => {}
        }
        Ok(())
    });
    left
}

impl Remains {
    fn attribute(&mut self, entry: Bytes) {
        let Ok((name, value)) = map_entry(entry) else { return };
        let said = variant(value, CE_STRING).and_then(text).unwrap_or_default();
        match &name[..] {
            b"subject" => self.subject = said,
            b"traceparent" => self.traceparent = said,
            b"shop" => self.shop = said,
            _ => {}
        }
    }
}

#[derive(Default)]
struct Found {
    id: Option<String>,
    source: Option<String>,
    version: Option<String>,
    type_name: Option<String>,
    subject: Option<String>,
    time: Option<Timestamp>,
    traceparent: Option<String>,
    shop: Option<String>,
    payload: Option<Bytes>,
}

impl Found {
    fn attribute(&mut self, entry: Bytes) -> Result<(), String> {
        let (name, value) = map_entry(entry)?;
        match &name[..] {
            b"subject" => self.subject = Some(text(variant(value, CE_STRING)?)?),
            b"traceparent" => self.traceparent = Some(text(variant(value, CE_STRING)?)?),
            b"shop" => self.shop = Some(text(variant(value, CE_STRING)?)?),
            b"time" => {
                let wire = <prost_types::Timestamp as prost::Message>::decode(variant(value, CE_TIMESTAMP)?)
                    .map_err(|e| e.to_string())?;
                self.time = Some(time::from_wire(&wire).ok_or("time is out of range")?);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self, raw: Bytes) -> Result<Envelope, String> {
        if self.version.as_deref() != Some(SPEC_VERSION) {
            return Err(format!("spec_version is not {SPEC_VERSION}"));
        }
        let id = self.id.ok_or("id is missing")?;
        Ok(Envelope {
            id: EventId(Uuid::try_parse(&id).map_err(|_| "id is not a UUID")?),
            type_name: self.type_name.ok_or("type is missing")?,
            source: self.source.ok_or("source is missing")?,
            subject: self.subject.as_deref().and_then(Subject::parse).ok_or("subject is missing or unknown")?,
            time: self.time.ok_or("time is missing")?,
            traceparent: self.traceparent.unwrap_or_default(),
            shop: self.shop.ok_or("shop is missing")?,
            payload: self.payload.ok_or("proto_data is missing")?,
            raw,
        })
    }
}

/// Calls back with every length-delimited field; others are passed over.
pub(crate) fn each_field(
    mut bytes: Bytes,
    mut take: impl FnMut(u32, Bytes) -> Result<(), String>,
) -> Result<(), String> {
    while bytes.has_remaining() {
        let (field, wire_type) = decode_key(&mut bytes).map_err(|e| e.to_string())?;
        match wire_type {
            WireType::LengthDelimited => {
                let len = decode_varint(&mut bytes).map_err(|e| e.to_string())?;
                let len = usize::try_from(len).ok().filter(|len| *len <= bytes.remaining());
                take(field, bytes.split_to(len.ok_or("a field is longer than its message")?))?;
            }
            WireType::Varint
            | WireType::ThirtyTwoBit
            | WireType::SixtyFourBit
            | WireType::StartGroup
            | WireType::EndGroup => {
                let context = prost::encoding::DecodeContext::default();
                prost::encoding::skip_field(wire_type, field, &mut bytes, context).map_err(|e| e.to_string())?;
            }
        }
    }
    Ok(())
}

/// Name and value of an attribute.
fn map_entry(entry: Bytes) -> Result<(Bytes, Bytes), String> {
    let (mut name, mut value) = (Bytes::new(), Bytes::new());
    each_field(entry, |field, bytes| {
        match field {
            MAP_KEY => name = bytes,
            MAP_VALUE => value = bytes,
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, value))
}

fn variant(value: Bytes, wanted: u32) -> Result<Bytes, String> {
    let mut found = None;
    each_field(value, |field, bytes| {
        if field == wanted {
            found = Some(bytes);
        }
        Ok(())
    })?;
    found.ok_or_else(|| "an attribute has the wrong type".to_owned())
}

fn any_value(any: Bytes) -> Result<Bytes, String> {
    let mut value = Bytes::new();
    each_field(any, |field, bytes| {
        if field == ANY_VALUE {
            value = bytes;
        }
        Ok(())
    })?;
    Ok(value)
}

fn text(bytes: Bytes) -> Result<String, String> {
    String::from_utf8(bytes.into()).map_err(|_| "a text is not UTF-8".to_owned())
}

fn put(to: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    encode_key(field, WireType::LengthDelimited, to);
    encode_varint(to_u64(bytes.len()), to);
    to.extend_from_slice(bytes);
}

fn put_attribute(to: &mut Vec<u8>, name: &str, variant: u32, value: &[u8]) {
    let value_len = field_len(value.len());
    encode_key(ATTRIBUTES, WireType::LengthDelimited, to);
    encode_varint(to_u64(field_len(name.len()) + field_len(value_len)), to);
    put(to, MAP_KEY, name.as_bytes());
    encode_key(MAP_VALUE, WireType::LengthDelimited, to);
    encode_varint(to_u64(value_len), to);
    put(to, variant, value);
}

/// Bytes of a length-delimited field whose number is below 16.
fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(to_u64(len)) + len
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).expect("a length in memory fits 64 bits")
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
