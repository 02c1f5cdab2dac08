//! Ids: of orders, of events, of a ledger's lives; and the partition that an order belongs to.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::envelope::Subject;
use crate::event::EventKind;
use crate::time::Timestamp;

/// The namespace of every UUIDv5 that Spillway makes.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1e_5d0b_8a4c_5e13_9d27_5c0f_4b7a_2e61);

/// One slice of all orders; orders of different partitions never meet. Partition 0 also says what belongs to no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Partition(pub u16);

impl Partition {
    /// The partition of a request: a retry finds the same one at any gateway. `partitions` is at least 1.
    pub fn of_request(shop: &str, request_id: Uuid, partitions: u16) -> Self {
        let mut hash = Sha256::new();
        hash.update(shop.as_bytes());
        hash.update([0]);
        hash.update(request_id.as_bytes());
        let digest = hash.finalize();
        let head = u64::from_be_bytes(digest[..8].try_into().expect("eight of 32 bytes"));
        let slot = head % u64::from(partitions.max(1));
        Partition(u16::try_from(slot).expect("less than a u16"))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time-ordered UUID (version 7) whose last 16 bits are the order's partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(Uuid);

impl OrderId {
    /// Made of the time of acceptance, 74 random bits (of which 16 give way to the partition) and the partition.
    pub fn new(at: Timestamp, partition: Partition, random: [u8; 10]) -> Self {
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        let mut bytes = *uuid::Builder::from_unix_timestamp_millis(millis, &random).as_uuid().as_bytes();
        bytes[14..].copy_from_slice(&partition.0.to_be_bytes());
        OrderId(Uuid::from_bytes(bytes))
    }

    /// The lowest id that an order accepted at this time or later can have.
    pub fn floor(at: Timestamp) -> Self {
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        OrderId(Uuid::from_bytes(bytes))
    }

    /// Where the order lives.
    pub fn partition(&self) -> Partition {
        let bytes = self.0.as_bytes();
        Partition(u16::from_be_bytes([bytes[14], bytes[15]]))
    }

    /// As SQL keeps it: 16 bytes, in order of time.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// From 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(OrderId)
    }

    /// A number that follows from the id alone, spread evenly: whoever leaves some orders out by it leaves out the same
    /// ones as everybody else.
    pub fn lot(&self) -> u64 {
        let bytes = self.0.as_bytes();
        // The random bits between the variant and the partition.
        u64::from_be_bytes([bytes[9], bytes[10], bytes[11], bytes[12], bytes[13], 0, 0, 0])
    }

    /// The plain UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for OrderId {
    type Err = uuid::Error;

    /// Any UUID parses; one that no gateway made is simply not found.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(OrderId)
    }
}

/// The life of a ledger: made when it is created or restored, and part of every number that it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub Uuid);

impl Incarnation {
    /// From 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Incarnation)
    }

    /// As SQL keeps it.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of an event follows from its cause, so that saying it again is the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub Uuid);

impl EventId {
    /// UUIDv5 of shop, subject, kind and occurrence: the request, refund or outage that caused it, empty where
    /// the subject can have only one such event.
    pub fn of(shop: &str, subject: &Subject, kind: EventKind, occurrence: &str) -> Self {
        let mut name = Vec::with_capacity(160);
        name.extend_from_slice(shop.as_bytes());
        name.push(0);
        subject.write_to(&mut name);
        name.push(0);
        name.extend_from_slice(kind.type_name().as_bytes());
        name.push(0);
        name.extend_from_slice(occurrence.as_bytes());
        EventId(Uuid::new_v5(&NAMESPACE, &name))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An id that follows from a name: of a charge, from its key.
pub fn named(kind: &str, name: &str) -> Uuid {
    let mut text = Vec::with_capacity(kind.len() + 1 + name.len());
    text.extend_from_slice(kind.as_bytes());
    text.push(0);
    text.extend_from_slice(name.as_bytes());
    Uuid::new_v5(&NAMESPACE, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_order_id_carries_its_partition_and_sorts_by_time(
            a in 0i64..4_000_000_000_000, b in 0i64..4_000_000_000_000, partition: u16, random: [u8; 10]
        ) {
            let at = |ms| Timestamp::from_millisecond(ms).expect("in range");
            let first = OrderId::new(at(a), Partition(partition), random);
            prop_assert_eq!(first.partition(), Partition(partition));
            prop_assert_eq!(first.as_uuid().get_version_num(), 7);
            prop_assert_eq!(first.to_string().parse::<OrderId>().expect("its own text"), first);
            prop_assert!(OrderId::floor(at(a)) <= first);
            if a < b {
                prop_assert!(first < OrderId::floor(at(b)));
            }
        }
    }

    #[test]
    fn lots_are_spread_evenly_whatever_the_partition() {
        let mut random = [0; 10];
        let lots = (0..4096u64).map(|n| {
            random[2..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            OrderId::new(Timestamp::UNIX_EPOCH, Partition(63), random).lot()
        });
        let low = lots.filter(|lot| lot.leading_zeros() >= 3).count();
        assert!((400..=624).contains(&low), "an eighth of 4096 is 512, not {low}");
    }

    #[test]
    fn requests_spread_over_partitions_and_stay_there() {
        let mut seen = [0; 4];
        for n in 0..400u128 {
            let partition = Partition::of_request("default", Uuid::from_u128(n), 4);
            assert_eq!(partition, Partition::of_request("default", Uuid::from_u128(n), 4));
            seen[usize::from(partition.0)] += 1;
        }
        assert!(seen.iter().all(|n| *n > 50), "{seen:?}");
    }

    #[test]
    fn an_event_id_follows_from_its_cause_alone() {
        let order = Subject::Order(OrderId::new(Timestamp::UNIX_EPOCH, Partition(0), [7; 10]));
        let id = EventId::of("default", &order, EventKind::StockHeld, "");
        assert_eq!(id, EventId::of("default", &order, EventKind::StockHeld, ""));
        assert_ne!(id, EventId::of("other", &order, EventKind::StockHeld, ""));
        assert_ne!(id, EventId::of("default", &order, EventKind::StockRefused, ""));
        assert_ne!(id, EventId::of("default", &order, EventKind::StockHeld, "r1"));
        assert_eq!(id.0.get_version_num(), 5);
    }
}
