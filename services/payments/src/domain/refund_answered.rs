//! The provider answered for the refund of a compensation, or did not.

use spillway_proto::pb::events::PaymentRefunded;
use spillway_proto::time::Timestamp;
use spillway_proto::{Event, Money};

use super::answer::{Answered, Outcome, Receipt};
use super::key::{Key, Purpose, refund_id};
use super::payment::{Payment, Reason, State};
use super::policy::Policy;
use super::task::Step;
use super::waiting;
use super::{Decision, DueStep, Say};

/// Where a payment stands towards an answer for its refund.
enum Standing {
    /// It waits for it.
    Open,
    /// Parked, but what turns up of the refund still counts.
    Rechecked,
    /// Nothing that is said of the refund changes anything.
    Settled,
}

impl Standing {
    fn of(payment: &Payment) -> Self {
        match payment.state {
            State::Compensating => Standing::Open,
            State::Parked if payment.reason.is_some_and(Reason::leaves_the_refund_open) => Standing::Rechecked,
            State::Parked
            | State::Charging
            | State::Unknown
            | State::Pending
            | State::Captured
            | State::Declined
            | State::Cancelled
            | State::Refunded => Standing::Settled,
        }
    }
}

/// An answer for another refund than the payment's own is recorded by the caller and changes nothing.
pub fn refund_answered(payment: &Payment, answered: &Answered, at: Timestamp, policy: &Policy) -> Decision {
    if answered.task.attempt != payment.attempt {
        return Decision::nothing();
    }
    match &answered.outcome {
        Outcome::Approved(receipt) => approved(payment, answered, receipt, at),
        Outcome::Declined { .. } | Outcome::ActionRequired { .. } => park(payment, Reason::RefundDeclined, at),
        Outcome::Several => park(payment, Reason::RefundSeveral, at),
        Outcome::Pending { .. } => match Standing::of(payment) {
            Standing::Open => waiting::pending(payment, answered, State::Compensating, at, policy),
            Standing::Rechecked => waiting::unanswered_recheck(payment, answered, at, policy),
            Standing::Settled => Decision::nothing(),
        },
        Outcome::Rejected { .. } if answered.step == Step::Send => rejected(payment, answered, at),
        Outcome::Absent => match Standing::of(payment) {
            Standing::Open => waiting::absent(payment, answered, Reason::RefundAbsent, at, policy),
            Standing::Rechecked => waiting::still_absent(payment, answered, at, policy),
            Standing::Settled => Decision::nothing(),
        },
        Outcome::Rejected { .. }
        | Outcome::Throttled { .. }
        | Outcome::Unavailable
        | Outcome::InFlight
        | Outcome::Unknown => match Standing::of(payment) {
            Standing::Open => waiting::unanswered(payment, answered, at, policy),
            Standing::Rechecked => waiting::unanswered_recheck(payment, answered, at, policy),
            Standing::Settled => Decision::nothing(),
        },
    }
}

fn approved(payment: &Payment, answered: &Answered, receipt: &Receipt, at: Timestamp) -> Decision {
    match Standing::of(payment) {
        Standing::Open | Standing::Rechecked => {}
        Standing::Settled => return Decision::nothing(),
    }
    let Some(charged) = payment.amount else {
        return Decision::nothing();
    };
    let amount = Money::new(payment.captured_minor - payment.refunded_minor, charged.currency);
    if receipt.minor != amount.minor || receipt.currency != amount.currency.code() {
        return park(payment, Reason::RefundWrongAmount, at);
    }
    let charge_id = Key::charge(payment.order, payment.attempt).id;
    let event = PaymentRefunded {
        refund_id: refund_id(charge_id),
        charge_id: charge_id.to_string(),
        amount: Some(amount.to_wire()),
        provider_reference: receipt.provider_reference.clone(),
    };
    let traceparent = answered.task.traceparent.clone();
    let say = Say { event: Event::from(event), occurrence: refund_id(charge_id), traceparent };
    let refunded = Payment { refunded_minor: payment.captured_minor, ..payment.in_state(State::Refunded, at) };
    Decision::to(refunded).saying(say).then(DueStep::Done(Purpose::Compensate))
}

fn park(payment: &Payment, reason: Reason, at: Timestamp) -> Decision {
    match Standing::of(payment) {
        // Told twice changes nothing.
        Standing::Rechecked if payment.reason == Some(reason) => {
            Decision::nothing().then(DueStep::Done(Purpose::Compensate))
        }
        Standing::Open | Standing::Rechecked => {
            Decision::to(payment.parked(reason, at)).then(DueStep::Done(Purpose::Compensate))
        }
        Standing::Settled => Decision::nothing(),
    }
}

fn rejected(payment: &Payment, answered: &Answered, at: Timestamp) -> Decision {
    match Standing::of(payment) {
        Standing::Open => waiting::park_and_look_up(payment, answered, Reason::RefundRejected, at),
        Standing::Rechecked | Standing::Settled => Decision::nothing(),
    }
}
