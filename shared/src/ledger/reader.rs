//! Reading what came, and the step in its trace that each event becomes.

use bytes::Bytes;
use spillway_proto::time::Timestamp;
use spillway_proto::trace::{self, Part, part_span, step_span};
use spillway_proto::{BadEvent, Envelope, EventId, Ledger as Source, Subject, TraceContext, envelope};
use uuid::Uuid;

use super::service::{Cause, Read, Service, Unreadable};
use crate::telemetry::{Delay, Tracer};

/// Who reads, and when.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    pub listener: Source,
    pub now: Timestamp,
    pub tracer: &'a Tracer,
    /// It is a dead letter that somebody hands in again.
    pub is_redriven: bool,
}

/// An event whose step is traced, until it is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// The step.
    pub context: TraceContext,
    /// The step that said the event.
    pub cause: TraceContext,
    pub event: EventId,
    pub type_name: String,
    pub subject: Subject,
    pub said: Timestamp,
    pub read: Timestamp,
    /// Whoever keeps the order's record tells of the step, like of those before it; of a dead letter nobody else does.
    pub is_recorded: bool,
}

impl Traced {
    /// Of an event that became a dead letter and whose step was not to be traced, or could not be told then: as far as the
    /// event can be read. The trace of an order that this happens to is raised. `None` where it is not, or has no trace.
    pub fn of_dead(
        listener: Source,
        raw: &Bytes,
        (said, read): (Timestamp, Timestamp),
        tracer: &Tracer,
    ) -> Option<Self> {
        let left = envelope::remains(raw.clone());
        let cause = TraceContext::parse(&left.traceparent)?;
        let subject = Subject::parse(&left.subject)?;
        let event = EventId(Uuid::try_parse(&left.id).ok()?);
        let context = cause.at(step_span(listener, event));
        let is_renewed = Delay::between(said, read) == Delay::TooLongForOneTrace;
        let context = if is_renewed { context.renewed() } else { context };
        let is_sampled = cause.is_sampled() || tracer.raise(subject.order());
        let context = context.sampled(is_sampled);
        let type_name = left.type_name;
        is_sampled.then_some(Traced { context, cause, event, type_name, subject, said, read, is_recorded: false })
    }

    /// It begins a trace of its own: the cause is linked, and no parent.
    pub fn is_renewed(&self) -> bool {
        self.context.trace_id != self.cause.trace_id
    }

    /// The span of a part of the step.
    pub fn part(&self, part: Part) -> TraceContext {
        self.context.at(part_span(self.context.span_id, part))
    }
}

impl Reader<'_> {
    /// Reads one event of a batch.
    pub fn event<S: Service + ?Sized>(&self, service: &S, event: Result<Envelope, BadEvent>) -> Read<S::Input> {
        let mut event = match event {
            Ok(event) => event,
            Err(bad) => {
                return Read::Dead { cause: Cause::Undecodable, error: bad.problem, raw: bad.raw, traced: None };
            }
        };
        let Some(kind) = event.kind() else {
            let error = format!("unknown event type {}", event.type_name);
            return Read::Dead { cause: Cause::Newer, error, raw: event.raw, traced: None };
        };
        let traced = self.enter(&mut event);
        match service.hear(kind, &event) {
            Ok(Some(input)) => Read::Input { input, raw: event.raw, traced },
            Ok(None) => Read::Passed,
            Err(Unreadable::Undecodable(error)) => {
                Read::Dead { cause: Cause::Undecodable, error, raw: event.raw, traced }
            }
            Err(Unreadable::Newer(error)) => Read::Dead { cause: Cause::Newer, error, raw: event.raw, traced },
        }
    }

    /// From here on the event's trace context is that of the step that takes it, so that what follows names its cause.
    /// A wait over a second may raise what was not sampled; after one over an hour a trace of its own begins.
    fn enter(&self, event: &mut Envelope) -> Option<Box<Traced>> {
        let span = step_span(self.listener, event.id);
        let was_sampled = trace::is_sampled(&event.traceparent);
        let delay = Delay::between(event.time, self.now);
        if !was_sampled && delay == Delay::Usual && !self.is_redriven {
            trace::put_span(&mut event.traceparent, span);
            return None;
        }
        let cause = TraceContext::parse(&event.traceparent)?;
        let is_renewed = self.is_redriven || delay == Delay::TooLongForOneTrace;
        let context = if is_renewed { cause.at(span).renewed() } else { cause.at(span) };
        let context = context.sampled(was_sampled || self.tracer.raise(event.subject.order()));
        event.traceparent = context.to_string();
        let is_told = self.tracer.is_on() && context.is_sampled();
        is_told.then(|| {
            Box::new(Traced {
                context,
                cause,
                event: event.id,
                type_name: event.type_name.clone(),
                subject: event.subject.clone(),
                said: event.time,
                read: self.now,
                is_recorded: !was_sampled && !is_renewed,
            })
        })
    }
}

#[cfg(test)]
mod tests;
