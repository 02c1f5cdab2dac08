//! What a ledger tells of its progress, from memory: its heads, and how far it has heard others.

use bytes::Bytes;
use prost::Message as _;
use spillway_proto::pb::internal::{Mark as ToldMark, PulseResponse};

use super::neighbours;
use crate::ledger::{Identity, Ledger, Line, Mark, Service, Throughput};

/// Answers `pulse`.
pub(super) fn answer<S: Service>(ledger: &Ledger<S>) -> Bytes {
    let inbox = ledger.inbox().borrow().clone();
    let marks = inbox.lines().map(|(line, mark)| told(ledger.identity(), line, mark)).collect();
    let Throughput { heard, said } = ledger.throughput();
    let heads = neighbours::heads(ledger);
    let queue_wait_us = u64::try_from(ledger.queue_wait().as_micros()).unwrap_or(u64::MAX);
    PulseResponse { heads, marks, heard_events: heard, said_events: said, queue_wait_us }.encode_to_vec().into()
}

/// How far a listener has heard a line, as it tells it.
pub(super) fn told(listener: &Identity, line: &Line, mark: &Mark) -> ToldMark {
    ToldMark {
        listener: listener.id.ledger.name().to_owned(),
        listener_partition: u32::from(listener.id.partition.0),
        incarnation: Bytes::copy_from_slice(line.incarnation.as_bytes()),
        partition: u32::from(line.partition.0),
        number: mark.number,
        heard_time_us: mark.time_us,
    }
}
