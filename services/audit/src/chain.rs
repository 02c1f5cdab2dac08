//! The chain: every entry's hash covers the hash before it and the hashes of its events. `docs/audit.md` defines the
//! bytes; nothing here does I/O or reads a clock.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use spillway_proto::batch::{self, BadBatch};
use uuid::Uuid;

/// A SHA-256.
pub type Hash = [u8; 32];

/// The hash before the first entry.
pub const GENESIS: Hash = [0; 32];

/// Begins what is hashed after the hash before. The figure is the version of the encoding.
const TAG: &[u8; 16] = b"spillway-audit-1";

/// One batch of one ledger, in its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The partition whose chain it is in.
    pub partition: u32,
    /// From 1 without gaps.
    pub position: i64,
    /// The ledger that said it.
    pub source: String,
    /// The life of that ledger.
    pub incarnation: Uuid,
    /// The number of the batch in that life and partition.
    pub number: i64,
    /// Unix time in microseconds at which audit wrote it down.
    pub record_us: i64,
    /// The hash of each event, one after the other.
    pub event_hashes: Vec<u8>,
    pub hash: Hash,
    /// The batch; empty where it was erased.
    pub body: Bytes,
}

impl Entry {
    /// How many events the batch held.
    pub fn events(&self) -> i64 {
        i64::try_from(self.event_hashes.len() / size_of::<Hash>()).expect("a length in memory")
    }

    /// The hash that follows from the hash before and everything but the body.
    pub fn hash_after(&self, previous: &Hash) -> Hash {
        let mut hash = Sha256::new();
        hash.update(previous);
        hash.update(TAG);
        hash.update(self.position.to_be_bytes());
        hash.update(i64::from(self.partition).to_be_bytes());
        hash.update(length(self.source.len()).to_be_bytes());
        hash.update(self.source.as_bytes());
        hash.update(self.incarnation.as_bytes());
        hash.update(self.number.to_be_bytes());
        hash.update(self.record_us.to_be_bytes());
        hash.update(self.events().to_be_bytes());
        hash.update(&self.event_hashes);
        hash.finalize().into()
    }
}

/// A batch as the chain keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// The hash of each event, one after the other.
    pub event_hashes: Vec<u8>,
    /// The events, and not one byte that the hashes do not cover.
    pub body: Bytes,
}

/// Hashes the events of a batch. Each event's bytes are kept as they are; what stands between them is framed anew
/// where it is not framed in the shortest way, so that the hashes cover all that is kept.
pub fn hash_events(body: &Bytes) -> Result<Hashed, BadBatch> {
    let events = batch::split(body.clone())?;
    let mut event_hashes = Vec::with_capacity(events.len() * size_of::<Hash>());
    for event in &events {
        event_hashes.extend_from_slice(&Sha256::digest(event));
    }
    let body = if is_shortest(body, &events) { body.clone() } else { frame(&events) };
    Ok(Hashed { event_hashes, body })
}

/// Whether a batch consists of nothing but these events, each framed in the shortest way.
fn is_shortest(body: &Bytes, events: &[Bytes]) -> bool {
    // `events` are slices of `body` in their order, so equal lengths leave no room for anything else.
    events.iter().map(|event| framed_len(event.len())).sum::<usize>() == body.len()
}

fn framed_len(len: usize) -> usize {
    1 + prost::encoding::encoded_len_varint(len.try_into().expect("a length in memory")) + len
}

fn frame(events: &[Bytes]) -> Bytes {
    let mut body = Vec::with_capacity(events.iter().map(|event| framed_len(event.len())).sum());
    for event in events {
        prost::encoding::bytes::encode(1, event, &mut body);
    }
    body.into()
}

fn length(len: usize) -> i64 {
    i64::try_from(len).expect("a length in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_between_the_events_are_not_kept() {
        let plain = frame(&[Bytes::from_static(b"one"), Bytes::from_static(b"two")]);
        // Field 2, a varint; then an event whose length takes a byte too many.
        let padded = [&b"\x10\x07"[..], b"\x0a\x83\x00one", &plain[5..]].concat();
        let hashed = hash_events(&Bytes::from(padded)).expect("a batch");
        assert_eq!(hashed, hash_events(&plain).expect("a batch"));
        assert_eq!(hashed.body, plain);
    }

    #[test]
    fn a_batch_as_ledgers_write_it_is_kept_byte_by_byte() {
        let plain = frame(&[Bytes::from(vec![7; 300]), Bytes::new()]);
        let hashed = hash_events(&plain).expect("a batch");
        assert_eq!(hashed.body, plain);
        assert_eq!(hashed.event_hashes.len(), 64);
        assert_eq!(hashed.event_hashes[..32], Sha256::digest([7; 300])[..]);
    }
}
