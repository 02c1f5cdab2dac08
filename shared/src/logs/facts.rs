//! A line for each event that a commit says, after the commit.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use spillway_proto::batch::{self, BatchWriter};
use spillway_proto::time::Timestamp;
use spillway_proto::{Envelope, Event, EventKind, Figures, Ledger, Partition, Subject};
use tracing::field::display;

use super::rate::LineRate;
use crate::grpc::TraceParent;

/// The target of these lines: `log.level = "info,spillway::facts=off"` leaves them all out.
pub const FACTS: &str = "spillway::facts";

/// An event of a commit: enough to choose by, and where it stands in its batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fact {
    pub kind: EventKind,
    /// What is left out of the log goes by this: the same number for everything about an order, everywhere.
    pub lot: u64,
    partition: Partition,
    batch: usize,
    from: usize,
    to: usize,
}

impl Fact {
    /// The event that takes the bytes `from..to` of a batch.
    pub fn new(kind: EventKind, about: &Subject, partition: Partition, batch: usize, from: usize, to: usize) -> Fact {
        let lot = about.order().map_or_else(|| lot_of(about), |order| order.lot());
        Fact { kind, lot, partition, batch, from, to }
    }

    /// Read again from what was committed: only what is written is ever copied.
    fn read(&self, batches: &BTreeMap<Partition, Vec<BatchWriter>>) -> Option<Envelope> {
        let bytes = batches.get(&self.partition)?.get(self.batch)?.as_bytes().get(self.from..self.to)?;
        batch::read(Bytes::copy_from_slice(bytes)).ok()?.pop()?.ok()
    }
}

/// What is about no order is spread by its name.
fn lot_of(about: &Subject) -> u64 {
    let mut hasher = DefaultHasher::new();
    about.hash(&mut hasher);
    hasher.finish()
}

/// Writes the lines of a commit, as many as there is room for.
pub(crate) fn write(
    rate: &LineRate,
    ledger: Ledger,
    mut facts: Vec<Fact>,
    batches: &BTreeMap<Partition, Vec<BatchWriter>>,
    at: Timestamp,
) {
    if facts.is_empty() || !tracing::enabled!(target: FACTS, tracing::Level::INFO) {
        return;
    }
    rate.choose(&mut facts, at);
    for fact in facts {
        if let Some(event) = fact.read(batches) {
            line(ledger, fact.kind, &event);
        }
    }
}

/// No text that a client, a customer, an operator or a provider chose stands in it: only ids, figures and words of ours.
fn line(ledger: Ledger, kind: EventKind, event: &Envelope) {
    let (mut order, mut dead_letter, mut flow) = (None, None, None);
    match &event.subject {
        Subject::Order(id) => order = Some(display(id)),
        Subject::DeadLetter(id) => dead_letter = Some(display(id)),
        Subject::Flow(name) => flow = Some(name.as_str()),
        // A client chose it; the event's id finds it in the audit trail.
        Subject::Sku(_) => {}
    }
    let trace = TraceParent::parse(&event.traceparent);
    let payload = Event::decode(kind, event.payload.clone());
    let figures = payload.map_or_else(|_| Figures::default(), |payload| Figures::of(&payload));
    tracing::info!(
        target: FACTS,
        service = ledger.name(),
        shop = event.shop,
        order_id = order,
        dead_letter_id = dead_letter,
        flow,
        trace_id = trace.as_ref().map(TraceParent::trace_id),
        span_id = trace.as_ref().map(TraceParent::span_id),
        event = kind.name(),
        event_id = %event.id,
        amount_minor = figures.amount.map(|amount| amount.minor),
        currency = figures.amount.as_ref().map(|amount| amount.currency.code()),
        reason = figures.reason,
        attempt = figures.attempt,
        delta = figures.delta,
        "{}",
        kind.name().replace('_', " ")
    );
}
