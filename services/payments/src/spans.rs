//! The spans of calls to the provider.

use spillway_proto::TraceContext;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::trace::{Part, part_span};
use spillway_shared::ledger::{Due, Wait};
use spillway_shared::telemetry::{Span, SpanKind, Tracer, attribute as attr};

use crate::counters;
use crate::domain::{Outcome, Purpose, Step, Task};
use crate::provider::ProviderCall;

/// One piece of work in its trace.
pub struct Work<'a> {
    tracer: &'a Tracer,
    /// The step that made it due; none where it is not sampled.
    context: Option<TraceContext>,
    began: Timestamp,
}

impl<'a> Work<'a> {
    /// Takes it up again after its wait. The task carries its trace from here on, and the call a span of its own in it.
    pub fn begin(
        tracer: &'a Tracer,
        due: &Due,
        wait: &Wait,
        task: &mut Task,
        began: Timestamp,
    ) -> (Work<'a>, ProviderCall) {
        let context = wait.resume(tracer, due, task.order, &mut task.traceparent);
        let call = match context {
            Some(context) => ProviderCall::within(call_span(context, began).to_string()),
            None => ProviderCall::within(task.traceparent.clone()),
        };
        (Work { tracer, context, began }, call)
    }

    /// What came of the call. A failure may raise what was not sampled: the task carries it from then on.
    pub fn end(
        &self,
        task: &mut Task,
        step: Step,
        tries: i64,
        call: &ProviderCall,
        outcome: &Outcome,
        ended: Timestamp,
    ) {
        let Some(context) = self.context.or_else(|| self.raised(task, outcome)) else { return };
        let (method, path) = (call.method(), call.path());
        let span = Span::new(call_span(context, self.began), format!("{method} {path}"), self.began, ended)
            .under(context)
            .kind(SpanKind::Client)
            .with(attr::HTTP_REQUEST_METHOD, method)
            .with(attr::URL_TEMPLATE, path)
            .with(attr::SERVER_ADDRESS, call.server().0)
            .with(attr::SERVER_PORT, i64::from(call.server().1))
            .with(attr::MESSAGING_MESSAGE_CONVERSATION_ID, task.order.to_string())
            .with("spillway.attempt", tries)
            .with("spillway.provider.call", counters::kind(task.purpose, step))
            .with("spillway.provider.class", outcome.class());
        let span = match call.status() {
            Some(status) => span.with(attr::HTTP_RESPONSE_STATUS_CODE, i64::from(status)),
            None => span,
        };
        self.tracer.end(if outcome.is_failure() { span.failed(outcome.class()) } else { span });
    }
}

impl Work<'_> {
    fn raised(&self, task: &mut Task, outcome: &Outcome) -> Option<TraceContext> {
        let is_worth = outcome.is_failure() && self.tracer.is_on();
        let before = TraceContext::parse(&task.traceparent).filter(|_| is_worth)?;
        let context = before.sampled(self.tracer.raise(Some(task.order)));
        task.traceparent = context.to_string();
        context.is_sampled().then_some(context)
    }
}

/// A call has its own span each time, whatever the try is called.
fn call_span(context: TraceContext, began: Timestamp) -> TraceContext {
    context.at(part_span(context.span_id, Part::Call(time::to_micros(began))))
}

/// What the wait for another try of this is called.
pub fn retry_name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Charge => "retry charge",
        Purpose::Compensate => "retry refund",
    }
}
