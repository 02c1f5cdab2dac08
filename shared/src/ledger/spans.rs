//! The spans of what a ledger heard: worked out after the commit, from times that are known by then.

use bytes::Bytes;
use opentelemetry_semantic_conventions::attribute as attr;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::trace::{Part, sampled_in};
use spillway_proto::{Subject, TraceContext, batch};

use super::commit::{Committed, Position};
use super::handle::Shared;
use super::job::Job;
use super::reader::Traced;
use super::redrive::Redriven;
use super::service::{Cause, Heard, Read, Service};
use super::spec;
use crate::telemetry::{Span, SpanKind, Tracer};

/// What the semantic conventions have no name for yet.
const SYSTEM: &str = "nats";

/// One commit, as its spans show it.
#[derive(Clone, Copy, Debug)]
struct Commit {
    from: Timestamp,
    until: Timestamp,
    inputs: usize,
}

/// Tells of every event that was decided or became a dead letter in a commit that began at this time.
pub(super) fn tell<S: Service>(
    shared: &Shared,
    service: &S,
    group: &[Job<S>],
    committed: &Committed<S::Answer>,
    from: Timestamp,
) {
    if !shared.tracer.is_on() {
        return;
    }
    let commit = Commit { from, until: spec::now(shared.clock.as_ref()), inputs: committed.answers.len() };
    for (at, _) in &committed.answers {
        let Some((heard, read)) = event_at(group, *at) else { continue };
        match read {
            Read::Input { traced: Some(traced), .. } if traced.is_recorded => {}
            Read::Input { traced: Some(traced), .. } => tell_step(shared, heard, traced, commit, None),
            Read::Input { raw, .. } if service.keeps_batches_whole() => tell_batch(shared, heard, raw, commit),
            Read::Input { .. } | Read::Passed | Read::Dead { .. } => {}
        }
    }
    let written = committed.dead.iter().filter_map(|(at, _)| *at);
    // One that was handed in again and is still dead is no new one.
    let still = committed.redriven.iter().filter(|(_, outcome)| matches!(outcome, Redriven::StillDead(..)));
    for at in written.chain(still.map(|(job, _)| Position { job: *job, batch: 0, event: 0 })) {
        if let Some((heard, Read::Dead { cause, raw, traced, .. })) = event_at(group, at) {
            match traced {
                Some(traced) => tell_step(shared, heard, traced, commit, Some(cause.name())),
                None if matches!(group.get(at.job), Some(Job::Redrive(_))) => {}
                None => tell_untraced(shared, service, heard, raw, (commit, *cause)),
            }
        }
    }
}

/// A dead letter that nobody meant to trace raises its order's trace; that of a whole batch those of all its orders.
fn tell_untraced<S: Service>(
    shared: &Shared,
    service: &S,
    heard: &Heard<S::Input>,
    raw: &Bytes,
    (commit, cause): (Commit, Cause),
) {
    let listener = shared.identity.id.ledger;
    let said = if heard.time_us > 0 { time::from_micros(heard.time_us) } else { commit.from };
    let events = if service.keeps_batches_whole() { batch::split(raw.clone()) } else { Ok(vec![raw.clone()]) };
    for event in events.unwrap_or_default() {
        if let Some(traced) = Traced::of_dead(listener, &event, (said, commit.from), &shared.tracer) {
            tell_step(shared, heard, &traced, commit, Some(cause.name()));
        }
    }
}

fn heard_by<S: Service>(job: &Job<S>) -> &[Heard<S::Input>] {
    match job {
        Job::Heard(heard) => &heard.batches,
        Job::Redrive(redrive) => std::slice::from_ref(&redrive.heard),
        Job::Command(_) | Job::Number(_) | Job::Marks(_) | Job::Act(..) | Job::Flush(_) => &[],
    }
}

/// An event, and the batch that it came in.
type Located<'a, I> = (&'a Heard<I>, &'a Read<I>);

fn event_at<S: Service>(group: &[Job<S>], at: Position) -> Option<Located<'_, S::Input>> {
    let heard = heard_by(group.get(at.job)?).get(at.batch)?;
    Some((heard, heard.events.get(at.event)?))
}

/// The wait in the queue, the step, and the commit in it.
fn tell_step<I>(shared: &Shared, heard: &Heard<I>, traced: &Traced, commit: Commit, dead: Option<&'static str>) {
    let stream = stream(heard);
    let step = Span::new(traced.context, format!("process {stream}"), traced.read, commit.until);
    let step = processing(step, shared, &stream)
        .with(attr::MESSAGING_MESSAGE_ID, traced.event.to_string())
        .with("spillway.event.type", traced.type_name.clone());
    let step = about(step, &traced.subject);
    let step = match dead {
        Some(cause) => step.failed(cause).event("dead letter", commit.until),
        None => step,
    };
    let step = if traced.is_renewed() {
        let waited_us = time::to_micros(traced.read) - time::to_micros(traced.said);
        step.linked([traced.cause]).with("spillway.waited_s", waited_us / 1_000_000)
    } else {
        let queue = Span::new(traced.part(Part::Queue), format!("queue {stream}"), traced.said, traced.read);
        let queue = queue.with(attr::MESSAGING_SYSTEM, SYSTEM).with(attr::MESSAGING_DESTINATION_NAME, stream);
        shared.tracer.end(queue.under(traced.cause));
        step.under(traced.cause)
    };
    let inputs = i64::try_from(commit.inputs).unwrap_or(i64::MAX);
    let committed = Span::new(traced.part(Part::Commit), "commit", commit.from, commit.until);
    shared.tracer.end(committed.under(traced.context).with("spillway.commit.inputs", inputs));
    shared.tracer.end(step);
}

/// A batch that is kept whole: one step for all orders in it.
fn tell_batch<I>(shared: &Shared, heard: &Heard<I>, raw: &[u8], commit: Commit) {
    let stream = stream(heard);
    let said = time::from_micros(heard.time_us);
    let Some(span) = of_batch(&sampled_in(raw), format!("process {stream}"), commit.from, commit.until) else { return };
    let queued_us = time::to_micros(commit.from) - heard.time_us;
    let span = processing(span, shared, &stream).with("spillway.queue.wait_us", queued_us).event("said", said);
    shared.tracer.end(span);
}

/// The span of work that was done for all of these at once: under the one, or in a trace of its own that links them all.
/// None where there is nothing to tell of.
fn of_batch(carried: &[TraceContext], name: String, from: Timestamp, until: Timestamp) -> Option<Span> {
    match carried {
        [] => None,
        [one] => Some(Span::new(one.at(rand::random()), name, from, until).under(*one)),
        many => {
            let context = TraceContext::new(rand::random(), rand::random(), true);
            Some(Span::new(context, name, from, until).linked(many.iter().copied()))
        }
    }
}

/// A batch on its way to its stream: what it carries, and since when.
#[derive(Debug)]
pub(crate) struct Sent {
    carried: Vec<TraceContext>,
    at: Timestamp,
    bytes: usize,
}

impl Sent {
    /// None where nothing in it is traced.
    pub fn of(tracer: &Tracer, body: &[u8], at: Timestamp) -> Option<Self> {
        let carried = if tracer.is_on() { sampled_in(body) } else { Vec::new() };
        (!carried.is_empty()).then_some(Sent { carried, at, bytes: body.len() })
    }

    /// The stream has it.
    pub fn taken(self, tracer: &Tracer, stream: &str, message_id: String, at: Timestamp) {
        let Some(span) = of_batch(&self.carried, format!("publish {stream}"), self.at, at) else { return };
        let span = messaging(span.kind(SpanKind::Producer), ("publish", "send"), stream)
            .with(attr::MESSAGING_MESSAGE_ID, message_id)
            .with(attr::MESSAGING_MESSAGE_BODY_SIZE, i64::try_from(self.bytes).unwrap_or(i64::MAX));
        tracer.end(span);
    }
}

/// Work on what was heard from a stream.
fn processing(span: Span, shared: &Shared, stream: &str) -> Span {
    messaging(span.kind(SpanKind::Consumer), ("process", "process"), stream)
        .with(attr::MESSAGING_CONSUMER_GROUP_NAME, shared.identity.id.name())
}

/// An operation on a stream, with the name and the type that the conventions give it.
fn messaging(span: Span, (name, kind): (&'static str, &'static str), stream: &str) -> Span {
    span.with(attr::MESSAGING_SYSTEM, SYSTEM)
        .with(attr::MESSAGING_OPERATION_NAME, name)
        .with(attr::MESSAGING_OPERATION_TYPE, kind)
        .with(attr::MESSAGING_DESTINATION_NAME, stream.to_owned())
}

fn stream<I>(heard: &Heard<I>) -> String {
    heard.origin.as_ref().map_or_else(|| heard.source.name().to_owned(), |origin| origin.stream().to_owned())
}

fn about(span: Span, subject: &Subject) -> Span {
    match subject.order() {
        Some(order) => span.with(attr::MESSAGING_MESSAGE_CONVERSATION_ID, order.to_string()),
        None => span,
    }
}
