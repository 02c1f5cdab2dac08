//! What is not settled yet: when the provider is asked again, and how.
//!
//! The same key may be sent again as long as the provider knows it. Where a call went unanswered, sending and looking
//! up take turns: some providers keep an error for the key, and only a lookup shows what became of it.

use std::time::Duration;

use spillway_proto::time::Timestamp;

use super::answer::{Answered, Outcome};
use super::key::Purpose;
use super::payment::{Payment, Reason, State};
use super::policy::{Policy, RECHECKS, after};
use super::task::{Step, Task};
use super::{Decision, DueStep};

/// From this try on, every second one is a lookup where a call went unanswered: two calls under the same key come first.
const FIRST_LOOKUP: i64 = 3;

/// No answer that settles an open charge or refund.
pub(super) fn unanswered(payment: &Payment, answered: &Answered, at: Timestamp, policy: &Policy) -> Decision {
    let noted = may_be_under_way(answered).then(|| {
        let state = if payment.state == State::Charging { State::Unknown } else { payment.state };
        sent(payment, state, answered, at)
    });
    let current = noted.as_ref().unwrap_or(payment);
    if policy.retry(&answered.outcome).is_spent(answered.tries) {
        return spent(current, answered, at);
    }
    let (when, tries) = next_try(answered, at, policy);
    let step = next_step(current, answered.task.purpose, tries, when, policy);
    let due = again(current, answered, step, when, tries);
    Decision { payment: noted, due, ..Decision::nothing() }
}

/// It was tried as often as it may be. What the provider says of it later still counts, and it is looked at once more.
fn spent(payment: &Payment, answered: &Answered, at: Timestamp) -> Decision {
    let reason = match answered.task.purpose {
        Purpose::Charge => Reason::TriesSpent,
        Purpose::Compensate => Reason::RefundTriesSpent,
    };
    Decision::to(payment.parked(reason, at)).then(recheck(answered, 0, at))
}

/// The provider has it and has not decided.
pub(super) fn pending(
    payment: &Payment,
    answered: &Answered,
    state: State,
    at: Timestamp,
    policy: &Policy,
) -> Decision {
    let noted = sent(payment, state, answered, at);
    if policy.retry(&answered.outcome).is_spent(answered.tries) {
        return spent(&noted, answered, at);
    }
    let (when, tries) = next_try(answered, at, policy);
    let due = again(&noted, answered, Step::LookUp, when, tries);
    Decision { payment: Some(noted), due, ..Decision::nothing() }
}

/// No answer about what is settled and only looked at once more.
pub(super) fn unanswered_recheck(payment: &Payment, answered: &Answered, at: Timestamp, policy: &Policy) -> Decision {
    match answered.step {
        Step::LookUp => {
            let (when, tries) = next_try(answered, at, policy);
            Decision::nothing().then(DueStep::Set { task: answered.task.clone(), at: when, tries })
        }
        // A call that was in hand: what came of it is to be found out.
        Step::Send if may_be_under_way(answered) => {
            let noted = sent(payment, payment.state, answered, at);
            let due = again(&noted, answered, Step::LookUp, at, 1);
            Decision { payment: Some(Payment { reason: payment.reason, ..noted }), due, ..Decision::nothing() }
        }
        Step::Send => Decision::nothing(),
    }
}

/// The provider knows nothing of an open charge or refund.
pub(super) fn absent(
    payment: &Payment,
    answered: &Answered,
    reason: Reason,
    at: Timestamp,
    policy: &Policy,
) -> Decision {
    let purpose = answered.task.purpose;
    let is_over = is_over(payment, purpose);
    let Some(conclusive) = conclusive_from(payment, purpose, policy) else {
        return send_anew(payment, answered, at, policy);
    };
    let (when, tries) = next_try(answered, at, policy);
    if next_step(payment, purpose, FIRST_LOOKUP - 1, when, policy) == Step::Send {
        return Decision { due: again(payment, answered, Step::Send, when, tries), ..Decision::nothing() };
    }
    if answered.called < conclusive {
        let when = if payment.state == State::Pending { when } else { when.max(conclusive) };
        return Decision { due: again(payment, answered, Step::LookUp, when, tries), ..Decision::nothing() };
    }
    let settled = if is_over { payment.in_state(State::Cancelled, at) } else { payment.parked(reason, at) };
    Decision::to(settled).then(recheck(answered, 0, at))
}

/// What was found absent, or is parked, is still unknown to the provider. Looked at once more after 1 h and after 24 h.
pub(super) fn still_absent(payment: &Payment, answered: &Answered, at: Timestamp, policy: &Policy) -> Decision {
    let purpose = answered.task.purpose;
    let is_known = conclusive_from(payment, purpose, policy).is_none_or(|from| answered.called >= from);
    let ends = payment.state == State::Parked && is_over(payment, purpose) && is_known;
    let payment = ends.then(|| payment.in_state(State::Cancelled, at));
    let step = recheck(answered, answered.task.recheck, at);
    Decision { payment, due: vec![step], ..Decision::nothing() }
}

/// Work whose due row cannot be read is made anew from the payment.
pub fn due_again(payment: Option<&Payment>, purpose: Purpose, at: Timestamp, policy: &Policy) -> DueStep {
    let open = payment.filter(|payment| match payment.state {
        State::Charging | State::Unknown | State::Pending => purpose == Purpose::Charge,
        State::Compensating => purpose == Purpose::Compensate,
        State::Captured | State::Declined | State::Parked | State::Cancelled | State::Refunded => false,
    });
    let when = after(at, policy.unknown.max);
    let task = open.and_then(|payment| task_of(payment, purpose, "", next_step(payment, purpose, 1, when, policy)));
    task.map_or(DueStep::Done(purpose), |task| DueStep::Set { task, at: when, tries: 1 })
}

/// What helps nobody to be tried again is looked up, at once and later.
pub(super) fn park_and_look_up(payment: &Payment, answered: &Answered, reason: Reason, at: Timestamp) -> Decision {
    let parked = payment.parked(reason, at);
    let due = again(&parked, answered, Step::LookUp, at, 1);
    Decision { payment: Some(parked), due, ..Decision::nothing() }
}

/// Every call so far was answered with "not carried out", or none was made; only a process that ended in the middle of
/// one could have hidden another. The lookup would have found it if the provider has forgotten its key by now, so it
/// may be sent, as long as both cannot be wrong together.
fn send_anew(payment: &Payment, answered: &Answered, at: Timestamp, policy: &Policy) -> Decision {
    let key_until = after(answered.called, policy.key_window.saturating_sub(policy.in_flight));
    let renewed = Payment { key_until, updated: at, ..payment.clone() };
    let due = again(&renewed, answered, Step::Send, at, answered.tries);
    Decision { payment: Some(renewed), due, ..Decision::nothing() }
}

/// From when on a lookup that finds nothing proves that there is nothing. `None` where nothing can be under way.
pub(super) fn conclusive_from(payment: &Payment, purpose: Purpose, policy: &Policy) -> Option<Timestamp> {
    let ended = payment.ended.filter(|_| purpose == Purpose::Charge);
    payment.sent.max(ended).map(|last| after(last, policy.in_flight))
}

/// Nothing is charged any more. A refund is carried out all the same.
fn is_over(payment: &Payment, purpose: Purpose) -> bool {
    purpose == Purpose::Charge && payment.ended.is_some()
}

fn next_step(payment: &Payment, purpose: Purpose, tries: i64, when: Timestamp, policy: &Policy) -> Step {
    let is_key_old = after(when, policy.call_timeout) >= payment.key_until;
    if is_over(payment, purpose) || is_key_old || payment.state == State::Pending {
        return Step::LookUp;
    }
    let is_turn = tries >= FIRST_LOOKUP && tries % 2 == FIRST_LOOKUP % 2;
    if payment.sent.is_some() && is_turn { Step::LookUp } else { Step::Send }
}

/// When, and as which try.
fn next_try(answered: &Answered, at: Timestamp, policy: &Policy) -> (Timestamp, i64) {
    let tries = answered.tries + 1;
    let wait = policy.retry(&answered.outcome).backoff(answered.charge_id, tries);
    let from = match &answered.outcome {
        Outcome::Throttled { after: told } => after(at, *told),
        Outcome::Approved(_)
        | Outcome::Declined { .. }
        | Outcome::ActionRequired { .. }
        | Outcome::Pending { .. }
        | Outcome::Rejected { .. }
        | Outcome::Unavailable
        | Outcome::InFlight
        | Outcome::Unknown
        | Outcome::Absent
        | Outcome::Several => at,
    };
    (after(from, wait), tries)
}

fn recheck(answered: &Answered, done: u32, at: Timestamp) -> DueStep {
    recheck_of(&answered.task, done, at)
}

/// The next look at what was found absent, after so many.
pub(super) fn recheck_of(task: &Task, done: u32, at: Timestamp) -> DueStep {
    let [first, second] = RECHECKS;
    let (wait, number): (Duration, u32) = match done {
        0 => (first, 1),
        1 => (second.saturating_sub(first), 2),
        2.. => return DueStep::Done(task.purpose),
    };
    let task = Task { step: Step::LookUp, recheck: number, ..task.clone() };
    DueStep::Set { task, at: after(at, wait), tries: 1 }
}

fn again(payment: &Payment, answered: &Answered, step: Step, when: Timestamp, tries: i64) -> Vec<DueStep> {
    let task = task_of(payment, answered.task.purpose, &answered.task.traceparent, step);
    let began = answered.task.began.or(Some(answered.called));
    task.map(|task| DueStep::Set { task: Task { began, ..task }, at: when, tries }).into_iter().collect()
}

fn task_of(payment: &Payment, purpose: Purpose, traceparent: &str, step: Step) -> Option<Task> {
    match purpose {
        Purpose::Charge => Task::charge(payment, traceparent, step),
        Purpose::Compensate => Task::compensate(payment, traceparent, step),
    }
}

/// A call went out and its end is not known.
fn may_be_under_way(answered: &Answered) -> bool {
    answered.step == Step::Send && matches!(answered.outcome, Outcome::Unknown | Outcome::InFlight)
}

fn sent(payment: &Payment, state: State, answered: &Answered, at: Timestamp) -> Payment {
    let current = payment.in_state(state, at);
    let unknown = current.unknown.or(Some(answered.called).filter(|_| state.leaves_the_end_open()));
    Payment { sent: payment.sent.max(Some(answered.called)), unknown, ..current }
}
