//! One commit, one message: the events of a commit as a CloudEvents batch, and the headers it travels with.

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::envelope::{self, BadEvent, Envelope, NewEvent, each_field};
use crate::ids::{Incarnation, Partition};
use crate::ledgers::Ledger;
use crate::time::Timestamp;

/// The content type of a batch.
pub const CONTENT_TYPE: &str = "application/cloudevents-batch+protobuf";

/// A batch is closed at this size, well under the `max_payload` of 1 MiB that servers have by default.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;

/// Names of the headers that a batch travels with.
pub mod header {
    pub const CONTENT_TYPE: &str = "content-type";
    /// The ledger's life.
    pub const INCARNATION: &str = "spillway-incarnation";
    pub const PARTITION: &str = "spillway-partition";
    /// The number, without gaps from 1 for each (ledger, incarnation, partition).
    pub const NUMBER: &str = "spillway-number";
    /// Unix time of the commit in microseconds.
    pub const TIME: &str = "spillway-time";
}

const EVENTS: u32 = 1;

/// The number of a batch, as it stands in the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchNumber {
    pub incarnation: Incarnation,
    pub partition: Partition,
    pub number: i64,
}

impl BatchNumber {
    /// The `Nats-Msg-Id`: absorbs the relay's retries and nothing more.
    pub fn message_id(&self) -> String {
        format!("{}.{}.{}", self.incarnation, self.partition, self.number)
    }
}

/// Collects the events of a commit.
#[derive(Clone, Debug, Default)]
pub struct BatchWriter {
    bytes: Vec<u8>,
    one: Vec<u8>,
    events: i64,
}

impl BatchWriter {
    /// Appends an event.
    pub fn push(&mut self, event: &NewEvent, source: Ledger, at: Timestamp) {
        self.one.clear();
        envelope::write(event, source, at, &mut self.one);
        self.push_raw();
    }

    fn push_raw(&mut self) {
        encode_key(EVENTS, WireType::LengthDelimited, &mut self.bytes);
        encode_varint(u64::try_from(self.one.len()).expect("a length in memory"), &mut self.bytes);
        self.bytes.extend_from_slice(&self.one);
        self.events += 1;
    }

    pub fn events(&self) -> i64 {
        self.events
    }

    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The batch so far, as an `io.cloudevents.v1.CloudEventBatch`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The batch, as an `io.cloudevents.v1.CloudEventBatch`.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The bytes are no batch at all.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("undecodable batch: {0}")]
pub struct BadBatch(pub String);

/// The events of a batch as bytes, in order.
pub fn split(body: Bytes) -> Result<Vec<Bytes>, BadBatch> {
    let mut events = Vec::new();
    each_field(body, |field, bytes| {
        if field == EVENTS {
            events.push(bytes);
        }
        Ok(())
    })
    .map_err(BadBatch)?;
    Ok(events)
}

/// A batch of one event, whose bytes stay as they are.
pub fn of_one(event: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(event.len() + 8);
    encode_key(EVENTS, WireType::LengthDelimited, &mut bytes);
    encode_varint(u64::try_from(event.len()).expect("a length in memory"), &mut bytes);
    bytes.extend_from_slice(event);
    bytes.into()
}

/// The events of a batch, in order. One that cannot be read does not harm the others.
pub fn read(body: Bytes) -> Result<Vec<Result<Envelope, BadEvent>>, BadBatch> {
    Ok(split(body)?.into_iter().map(envelope::read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Subject;
    use crate::pb::{cloudevents, events as v1};
    use prost::Message;

    fn adjusted(sku: &str) -> NewEvent {
        NewEvent {
            shop: "default".into(),
            subject: Subject::Sku(sku.into()),
            occurrence: sku.into(),
            traceparent: String::new(),
            event: v1::StockAdjusted { delta: 5, ..Default::default() }.into(),
        }
    }

    #[test]
    fn a_batch_is_what_the_published_schema_says() {
        let mut writer = BatchWriter::default();
        for sku in ["tea", "cup", "pot"] {
            writer.push(&adjusted(sku), Ledger::Inventory, Timestamp::UNIX_EPOCH);
        }
        assert_eq!((writer.events(), writer.len()), (3, writer.as_bytes().len()));
        let body = Bytes::from(writer.into_bytes());
        let generated = cloudevents::CloudEventBatch::decode(body.clone()).expect("by the schema");
        assert_eq!(generated.events.len(), 3);
        let heard = read(body).expect("a batch");
        let skus: Vec<_> = heard.into_iter().map(|e| e.expect("an event").subject).collect();
        assert_eq!(skus, ["tea", "cup", "pot"].map(|s| Subject::Sku(s.into())));
    }

    #[test]
    fn one_bad_event_does_not_harm_its_batch_mates() {
        let mut writer = BatchWriter::default();
        writer.push(&adjusted("tea"), Ledger::Inventory, Timestamp::UNIX_EPOCH);
        writer.one = b"\xff\xff".to_vec();
        writer.push_raw();
        writer.push(&adjusted("cup"), Ledger::Inventory, Timestamp::UNIX_EPOCH);
        let heard = read(Bytes::from(writer.into_bytes())).expect("a batch");
        assert_eq!(heard.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(heard[1].as_ref().expect_err("bad").raw, &b"\xff\xff"[..]);
    }

    #[test]
    fn bytes_that_are_no_batch_are_told_apart() {
        assert!(read(Bytes::from_static(b"\x0a\x7fshort")).is_err());
        assert_eq!(read(Bytes::new()).expect("an empty batch").len(), 0);
    }
}
