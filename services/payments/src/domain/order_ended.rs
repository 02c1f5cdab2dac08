//! An order is over: rejected, cancelled, or past its deadline. Nothing more is charged, and what was charged goes back.

use spillway_proto::OrderId;
use spillway_proto::time::Timestamp;

use super::payment::{Payment, Reason, State};
use super::policy::{Policy, after};
use super::task::{Step, Task};
use super::{Decision, DueStep};

/// Said by orders: rejected or cancelled.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderEnded {
    pub order: OrderId,
    pub shop: String,
    pub traceparent: String,
}

/// An end that comes before the hold leaves a tombstone. Of a charge under way it is not known whether it reached the
/// provider: it is not sent again, only looked up until that is known.
pub fn order_ended(payment: Option<&Payment>, event: &OrderEnded, at: Timestamp, policy: &Policy) -> Decision {
    let Some(payment) = payment else {
        return Decision::to(tombstone(event, at));
    };
    match payment.state {
        // A call in hand has its answer by then, and nothing is left to be looked up.
        State::Charging | State::Unknown | State::Pending if payment.ended.is_none() => {
            settle(payment, event, after(at, policy.call_timeout), at)
        }
        State::Captured => give_back(payment, &event.traceparent, at, policy),
        State::Parked if payment.ended.is_none() => end_parked(payment, event, at, policy),
        State::Charging
        | State::Unknown
        | State::Pending
        | State::Parked
        | State::Declined
        | State::Cancelled
        | State::Compensating
        | State::Refunded => Decision::nothing(),
    }
}

fn tombstone(event: &OrderEnded, at: Timestamp) -> Payment {
    Payment {
        order: event.order,
        shop: event.shop.clone(),
        state: State::Cancelled,
        ended: Some(at),
        amount: None,
        payment_method: String::new(),
        attempt: 0,
        provider_reference: String::new(),
        reason: None,
        key_until: at,
        sent: None,
        captured_minor: 0,
        refunded_minor: 0,
        unknown: None,
        deferred: None,
        created: at,
        updated: at,
    }
}

/// Looks up what became of the charge.
fn settle(payment: &Payment, event: &OrderEnded, when: Timestamp, at: Timestamp) -> Decision {
    let ended = Payment { ended: Some(at), updated: at, ..payment.clone() };
    let task = Task::charge(&ended, &event.traceparent, Step::LookUp);
    let set = task.map(|task| DueStep::Set { task, at: when, tries: 1 });
    set.into_iter().fold(Decision::to(ended), Decision::then)
}

fn end_parked(payment: &Payment, event: &OrderEnded, at: Timestamp, policy: &Policy) -> Decision {
    let ended = Payment { ended: Some(at), updated: at, ..payment.clone() };
    match payment.reason {
        // The provider has nothing of it. What may still be due goes on: it looks once more.
        Some(Reason::Absent) => Decision::to(ended.in_state(State::Cancelled, at)),
        // Once nothing can be under way any more, a lookup tells.
        Some(Reason::Rejected | Reason::TriesSpent) => settle(payment, event, after(at, policy.in_flight), at),
        Some(
            Reason::WrongAmount
            | Reason::Several
            | Reason::RefundWrongAmount
            | Reason::RefundRejected
            | Reason::RefundAbsent
            | Reason::RefundSeveral
            | Reason::RefundDeclined
            | Reason::RefundTriesSpent,
        )
        | None => Decision::to(ended),
    }
}

/// Starts the refund of what was captured, under a key of its own.
pub(super) fn give_back(payment: &Payment, traceparent: &str, at: Timestamp, policy: &Policy) -> Decision {
    let ended = Payment { ended: payment.ended.or(Some(at)), ..payment.clone() };
    let begun = Payment { key_until: after(at, policy.key_window), sent: None, ..ended };
    match Task::compensate(&begun, traceparent, Step::Send) {
        Some(task) => {
            let set = DueStep::Set { task, at, tries: 1 };
            Decision::to(begun.in_state(State::Compensating, at)).then(set)
        }
        // It cost nothing, so nothing goes back.
        None => Decision::to(begun.in_state(State::Cancelled, at)),
    }
}
