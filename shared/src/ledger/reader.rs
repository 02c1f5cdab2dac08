//! Reading what came, and the step in its trace that each event becomes.

use spillway_proto::time::{self, Timestamp};
use spillway_proto::trace::{self, Part, part_span, step_span};
use spillway_proto::{BadEvent, Envelope, EventId, Ledger as Source, Subject, TraceContext};

use super::service::{Cause, Read, Service, Unreadable};
use crate::telemetry::{LONG_WAIT, LONGEST_IN_ONE, Tracer};

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
}

impl Traced {
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
        let waited_us = time::to_micros(self.now) - time::to_micros(event.time);
        let is_usual = waited_us < i64::try_from(LONG_WAIT.as_micros()).unwrap_or(i64::MAX) && !self.is_redriven;
        if !was_sampled && is_usual {
            trace::put_span(&mut event.traceparent, span);
            return None;
        }
        let cause = TraceContext::parse(&event.traceparent)?;
        let is_renewed = self.is_redriven || waited_us > i64::try_from(LONGEST_IN_ONE.as_micros()).unwrap_or(i64::MAX);
        let context = if is_renewed { cause.at(span).renewed() } else { cause.at(span) };
        let context = context.sampled(was_sampled || self.tracer.raise(event.subject.order()));
        event.traceparent = context.to_string();
        // A step that was raised is told of by whoever keeps the record, like those before it.
        let is_told_here = self.tracer.is_on() && context.is_sampled() && (was_sampled || is_renewed);
        is_told_here.then(|| {
            Box::new(Traced {
                context,
                cause,
                event: event.id,
                type_name: event.type_name.clone(),
                subject: event.subject.clone(),
                said: event.time,
                read: self.now,
            })
        })
    }
}

#[cfg(test)]
mod tests;
