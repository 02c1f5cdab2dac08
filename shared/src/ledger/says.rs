//! What a commit says: events for the outbox, work that falls due, and which keys changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use spillway_proto::batch::{self, BatchWriter, MAX_BATCH_BYTES};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::trace::{self, Part, part_span};
use spillway_proto::{Ledger, NewEvent, Partition, TraceContext};

use super::act::InForce;
use super::due_in_hand::SET_ASIDE_US;
use crate::logs::Fact;
use crate::telemetry::{Span, Tracer};

/// Work that waits for the world: a call to a provider, a mail, a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// What is to be done; it picks the worker.
    pub kind: &'static str,
    /// For what; one row at most for each (kind, key).
    pub key: Bytes,
    /// Not before.
    pub at: Timestamp,
    /// Counts the tries, from 1.
    pub attempt: i64,
    /// What the worker needs, so that it need not ask.
    pub payload: Bytes,
}

/// A change to the due rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DueChange {
    /// New, or another time for the same (kind, key).
    Set(Due),
    /// Nothing is left to be done.
    Done { kind: &'static str, key: Bytes },
}

impl DueChange {
    /// The kind and the key of its row.
    pub(crate) fn row(&self) -> (&'static str, &Bytes) {
        match self {
            DueChange::Set(due) => (due.kind, &due.key),
            DueChange::Done { kind, key } => (kind, key),
        }
    }

    /// Whether it sets its row aside.
    pub(crate) fn sets_aside(&self) -> bool {
        match self {
            DueChange::Set(due) => time::to_micros(due.at) == SET_ASIDE_US,
            DueChange::Done { .. } => false,
        }
    }
}

/// Collects what the decisions of one commit say.
#[derive(Debug)]
pub struct Says {
    ledger: Ledger,
    at: Timestamp,
    /// Where it says what belongs to no order.
    home: Partition,
    pub(crate) batches: BTreeMap<Partition, Vec<BatchWriter>>,
    pub(crate) due: Vec<DueChange>,
    pub(crate) changed: Vec<[u8; 16]>,
    /// What operators left in force, where this commit changes it.
    pub(crate) in_force: Option<InForce>,
    /// What is to be logged of the events, once they are committed.
    pub(crate) facts: Vec<Fact>,
    /// Told once it is committed.
    pub(crate) spans: Vec<Span>,
    /// What is to be looked into once it is committed: keys, and the versions before and after.
    pub(crate) recorded: Vec<Recorded>,
    tracer: Tracer,
}

/// A key whose trace is told from its record, and from which version on to which.
pub type Recorded = ([u8; 16], i64, i64);

impl Says {
    /// For a commit of this ledger at this time. Also what tests of decisions hand in.
    pub fn new(ledger: Ledger, at: Timestamp) -> Self {
        Says {
            ledger,
            at,
            home: Partition(0),
            batches: BTreeMap::new(),
            due: Vec::new(),
            changed: Vec::new(),
            in_force: None,
            facts: Vec::new(),
            spans: Vec::new(),
            recorded: Vec::new(),
            tracer: Tracer::off(),
        }
    }

    /// For a ledger that speaks in this one partition: what belongs to no order is said there.
    pub(crate) fn at_home_in(self, home: Partition) -> Self {
        Says { home, ..self }
    }

    /// With what raises the traces of failures.
    pub(crate) fn traced_by(self, tracer: Tracer) -> Self {
        Says { tracer, ..self }
    }

    /// Says an event. What belongs to no order is said in partition 0, or in the one partition of the ledger.
    pub fn event(&mut self, event: &NewEvent) {
        self.push(event);
    }

    /// Says an event, and answers its bytes: those that are relayed, without the tag and length that a batch puts
    /// before them.
    pub fn event_raw(&mut self, event: &NewEvent) -> Bytes {
        let (batch, from) = self.push(event);
        let said = Bytes::copy_from_slice(&batch.as_bytes()[from..]);
        let events = batch::split(said).expect("a batch splits as it was written");
        events.into_iter().next().expect("an event was just pushed")
    }

    /// Appends an event to its batch, and answers where in the batch it begins.
    fn push(&mut self, event: &NewEvent) -> (&BatchWriter, usize) {
        let partition = event.subject.order().map_or(self.home, |order| order.partition());
        let batches = self.batches.entry(partition).or_default();
        if batches.last().is_none_or(|batch| batch.len() >= MAX_BATCH_BYTES) {
            batches.push(BatchWriter::default());
        }
        let at = batches.len() - 1;
        let batch = batches.last_mut().expect("there is one with room");
        let from = batch.len();
        match raised(event, &self.tracer) {
            Some(raised) => batch.push(&raised, self.ledger, self.at),
            None => batch.push(event, self.ledger, self.at),
        }
        self.facts.push(Fact::new(event.event.kind(), &event.subject, partition, at, from, batch.len()));
        (batch, from)
    }

    /// Makes work fall due, or gives it another time.
    pub fn due(&mut self, due: Due) {
        self.due.push(DueChange::Set(due));
    }

    /// The work is done.
    pub fn done(&mut self, kind: &'static str, key: impl Into<Bytes>) {
        self.due.push(DueChange::Done { kind, key: key.into() });
    }

    /// Hints to those who watch that this key changed.
    pub fn changed(&mut self, key: [u8; 16]) {
        self.changed.push(key);
    }

    /// A span of what was decided, told once it is committed.
    pub fn span(&mut self, span: Span) {
        self.spans.push(span);
    }

    /// A wait that was decided on, until this time, where the trace is sampled.
    pub fn waits(&mut self, name: &'static str, traceparent: &str, attempt: i64, until: Timestamp) {
        if trace::is_sampled(traceparent)
            && let Some(context) = TraceContext::parse(traceparent)
        {
            let part = Part::Retry(time::to_micros(until));
            let span = Span::new(context.at(part_span(context.span_id, part)), name, self.at, until).under(context);
            self.spans.push(span.with("spillway.attempt", attempt));
        }
    }

    /// The trace of this key is told from its record: what is new between these versions.
    pub fn recorded(&mut self, key: [u8; 16], before: i64, after: i64) {
        self.recorded.push((key, before, after));
    }

    /// How many events were said so far.
    pub fn events(&self) -> i64 {
        self.batches.values().flatten().map(BatchWriter::events).sum()
    }
}

/// The event as it is said where something did not go well and that is worth a trace.
fn raised(event: &NewEvent, tracer: &Tracer) -> Option<NewEvent> {
    let is_worth = event.event.kind().is_failure() && tracer.is_on() && !trace::is_sampled(&event.traceparent);
    let context = TraceContext::parse(&event.traceparent).filter(|_| is_worth)?;
    let is_raised = tracer.raise(event.subject.order());
    is_raised.then(|| NewEvent { traceparent: context.sampled(true).to_string(), ..event.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use spillway_proto::Subject;
    use spillway_proto::pb::events::StockAdjusted;

    #[test]
    fn the_bytes_that_are_answered_are_those_that_are_relayed() {
        let mut says = Says::new(Ledger::Inventory, Timestamp::UNIX_EPOCH);
        let raws: Vec<Bytes> = (0..3000)
            .map(|delta| {
                says.event_raw(&NewEvent {
                    shop: "default".into(),
                    subject: Subject::Sku("tea".into()),
                    occurrence: delta.to_string(),
                    traceparent: String::new(),
                    event: StockAdjusted { delta, ..Default::default() }.into(),
                })
            })
            .collect();
        let batches = says.batches.into_values().flatten().map(|batch| Bytes::from(batch.into_bytes()));
        let split: Vec<Vec<Bytes>> = batches.map(|body| batch::split(body).expect("a batch")).collect();
        assert!(split.len() > 1, "more than fits one batch");
        assert_eq!(split.concat(), raws);
    }
}
