//! The spans of an order, worked out from the events of its history alone.

use super::{TraceContext, step_span};
use crate::envelope::Envelope;
use crate::event::EventKind;
use crate::ids::EventId;
use crate::ledgers::Ledger;
use crate::time::Timestamp;

/// An event of a history, as far as its trace goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub id: EventId,
    /// The CloudEvents type.
    pub type_name: String,
    /// Who said it.
    pub source: Ledger,
    /// When it was committed.
    pub at: Timestamp,
    /// The span of the step that said it.
    pub context: TraceContext,
}

impl Said {
    /// `None` where the event has no trace, or is of a ledger that this build does not know.
    pub fn of(event: &Envelope) -> Option<Said> {
        Some(Said {
            id: event.id,
            type_name: event.type_name.clone(),
            source: event.source.parse().ok()?,
            at: event.time,
            context: TraceContext::parse(&event.traceparent)?,
        })
    }

    /// It tells of something that did not go as it should.
    pub fn is_failure(&self) -> bool {
        EventKind::from_type_name(&self.type_name).is_some_and(EventKind::is_failure)
    }
}

/// What a step began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its ledger took this event of the history.
    Took(Said),
    /// Something from outside of the history: a request, an operator.
    Outside,
}

/// One step of an order: a ledger took an event, or a request, and said what followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub ledger: Ledger,
    pub context: TraceContext,
    pub cause: Cause,
    /// What it said, oldest first; at least one event.
    pub said: Vec<Said>,
}

impl Step {
    /// The span that led to it; `None` for one that began outside of the history.
    pub fn parent(&self) -> Option<TraceContext> {
        match &self.cause {
            Cause::Took(cause) => Some(cause.context),
            Cause::Outside => None,
        }
    }

    /// It began a trace of its own, after a long wait or by an operator's hand: its cause is linked, and no parent.
    pub fn is_renewed(&self) -> bool {
        self.parent().is_some_and(|parent| parent.trace_id != self.context.trace_id)
    }

    /// When its cause was said; of a step from outside, when it first said something.
    pub fn began(&self) -> Timestamp {
        match (&self.cause, self.said.first()) {
            (Cause::Took(cause), _) => cause.at,
            (Cause::Outside, Some(first)) => first.at,
            (Cause::Outside, None) => Timestamp::UNIX_EPOCH,
        }
    }

    /// When it last said something.
    pub fn ended(&self) -> Timestamp {
        self.said.last().map_or_else(|| self.began(), |last| last.at)
    }

    /// Its cause was said unsampled, so that no ledger exported it when it was done.
    pub fn is_unexported(&self) -> bool {
        match &self.cause {
            Cause::Took(cause) => !cause.context.is_sampled() && !self.is_renewed(),
            Cause::Outside => self.said.first().is_some_and(|first| !first.context.is_sampled()),
        }
    }
}

/// Every step that said something of a history, in the order in which they began. An event's cause is the one whose
/// step at the event's source has the span that the event carries; it does not matter in which order they come.
pub fn steps(history: &[Said]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut by_time: Vec<&Said> = history.iter().collect();
    by_time.sort_by_key(|said| said.at);
    for said in by_time {
        let is_same = |step: &&mut Step| {
            step.ledger == said.source
                && (step.context.trace_id, step.context.span_id) == (said.context.trace_id, said.context.span_id)
        };
        if let Some(step) = steps.iter_mut().find(is_same) {
            // Whoever raised it did so on the way.
            let is_sampled = step.context.is_sampled() || said.context.is_sampled();
            step.context = said.context.sampled(is_sampled);
            step.said.push(said.clone());
            continue;
        }
        let is_cause = |cause: &&Said| step_span(said.source, cause.id) == said.context.span_id;
        let cause = history.iter().find(is_cause).map_or(Cause::Outside, |cause| Cause::Took(cause.clone()));
        steps.push(Step { ledger: said.source, context: said.context, cause, said: vec![said.clone()] });
    }
    steps.sort_by_key(Step::began);
    steps
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::time;

    const ROOT: TraceContext = TraceContext { trace_id: 7, span_id: 9, flags: 0 };

    fn said(id: u128, source: Ledger, at_us: i64, context: TraceContext) -> Said {
        let type_name = EventKind::OrderPlaced.type_name().to_owned();
        Said { id: EventId(Uuid::from_u128(id)), type_name, source, at: time::from_micros(at_us), context }
    }

    fn follows(id: u128, source: Ledger, at_us: i64, cause: &Said) -> Said {
        said(id, source, at_us, cause.context.at(step_span(source, cause.id)))
    }

    #[test]
    fn every_event_finds_the_step_that_said_it_in_whatever_order_they_come() {
        let placed = said(1, Ledger::Gateway, 10, ROOT);
        let held = follows(2, Ledger::Inventory, 20, &placed);
        let deferred = follows(3, Ledger::Payments, 30, &held);
        let captured = follows(4, Ledger::Payments, 40, &held);
        let confirmed = follows(5, Ledger::Orders, 50, &captured);
        let all = [placed.clone(), held.clone(), deferred.clone(), captured.clone(), confirmed];
        let mut backwards = all.to_vec();
        backwards.reverse();
        let told = steps(&all);
        assert_eq!(told, steps(&backwards));
        let shape: Vec<_> = told.iter().map(|step| (step.ledger, step.said.len(), step.parent())).collect();
        assert_eq!(
            shape,
            [
                (Ledger::Gateway, 1, None),
                (Ledger::Inventory, 1, Some(placed.context)),
                (Ledger::Payments, 2, Some(held.context)),
                (Ledger::Orders, 1, Some(captured.context)),
            ]
        );
        assert_eq!((told[2].began(), told[2].ended()), (held.at, captured.at));
        assert!(told.iter().all(|step| step.is_unexported() && !step.is_renewed()));
    }

    #[test]
    fn what_followed_a_sampled_event_was_exported_when_it_was_done() {
        let placed = said(1, Ledger::Gateway, 10, ROOT);
        let raised = follows(2, Ledger::Inventory, 20, &placed);
        let held = Said { context: raised.context.sampled(true), ..raised };
        let captured = follows(3, Ledger::Payments, 30, &held);
        let unexported: Vec<bool> = steps(&[placed, held, captured]).iter().map(Step::is_unexported).collect();
        assert_eq!(unexported, [true, true, false]);
    }

    #[test]
    fn a_step_in_a_trace_of_its_own_is_still_found_by_its_cause() {
        let placed = said(1, Ledger::Gateway, 10, ROOT);
        let held = follows(2, Ledger::Inventory, 20, &placed);
        let late = Said { context: held.context.renewed(), ..held };
        let told = steps(&[placed.clone(), late]);
        assert_eq!(
            (told[1].parent(), told[1].is_renewed(), told[1].is_unexported()),
            (Some(placed.context), true, false)
        );
    }
}
