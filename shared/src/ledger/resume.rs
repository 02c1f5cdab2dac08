//! What is due, taken up again in its trace.

use spillway_proto::time;
use spillway_proto::trace::{self, Part, part_span};
use spillway_proto::{OrderId, TraceContext};

use super::says::Due;
use super::work::Wait;
use crate::telemetry::{Delay, Span, Tracer};

impl Wait {
    /// Tells of the wait, and answers where in its trace the work goes on; none where that is not sampled. A wait of over a
    /// second may raise what was not; after one of over an hour a trace of its own begins, which `traceparent` names
    /// from then on.
    pub fn resume(&self, tracer: &Tracer, due: &Due, order: OrderId, traceparent: &mut String) -> Option<TraceContext> {
        let delay = Delay::between(self.due, self.taken);
        let was_sampled = trace::is_sampled(traceparent);
        if !was_sampled && delay == Delay::Usual {
            return None;
        }
        let before = TraceContext::parse(traceparent)?;
        let is_renewed = delay == Delay::TooLongForOneTrace;
        let context = if is_renewed { before.renewed() } else { before };
        let context = context.sampled(was_sampled || tracer.raise(Some(order)));
        if context != before {
            *traceparent = context.to_string();
        }
        let here = if is_renewed { context } else { part(context, Part::Wait(time::to_micros(self.taken))) };
        let span = Span::new(here, format!("wait {}", due.kind), self.due, self.taken)
            .with("spillway.wait.held_by", self.held.name())
            .with("spillway.attempt", due.attempt);
        tracer.end(if is_renewed { span.linked([before]) } else { span.under(context) });
        context.is_sampled().then_some(context)
    }
}

fn part(context: TraceContext, part: Part) -> TraceContext {
    context.at(part_span(context.span_id, part))
}
