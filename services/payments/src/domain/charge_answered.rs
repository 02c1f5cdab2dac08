//! The provider answered for a charge, or did not.

use spillway_proto::Event;
use spillway_proto::pb::events::PaymentDeclined;
use spillway_proto::time::Timestamp;

use super::answer::{Answered, Outcome, Receipt};
use super::key::Purpose;
use super::order_ended::give_back;
use super::payment::{Payment, Reason, State};
use super::policy::Policy;
use super::stock_held::captured;
use super::task::Step;
use super::waiting;
use super::{Decision, DueStep, Say};

/// Where a payment stands towards an answer for its charge.
enum Standing {
    /// It waits for it.
    Open,
    /// It stands, but what turns up of the charge still counts.
    Rechecked,
    /// Refused once; a charge that turns up all the same goes back.
    Refused,
    /// Nothing that is said of the charge changes anything.
    Settled,
}

impl Standing {
    fn of(payment: &Payment) -> Self {
        match payment.state {
            State::Charging | State::Unknown | State::Pending => Standing::Open,
            State::Parked if payment.reason.is_some_and(Reason::leaves_the_charge_open) => Standing::Rechecked,
            State::Cancelled => Standing::Rechecked,
            State::Declined => Standing::Refused,
            State::Parked | State::Captured | State::Compensating | State::Refunded => Standing::Settled,
        }
    }
}

/// An answer for another charge than the payment's own is recorded by the caller and changes nothing.
pub fn charge_answered(payment: &Payment, answered: &Answered, at: Timestamp, policy: &Policy) -> Decision {
    if answered.task.attempt != payment.attempt {
        return Decision::nothing();
    }
    match &answered.outcome {
        Outcome::Approved(receipt) => approved(payment, answered, receipt, at, policy),
        Outcome::Declined { provider_reference, code } => {
            declined(payment, answered, (provider_reference, code, false), at)
        }
        Outcome::ActionRequired { provider_reference, code } => {
            declined(payment, answered, (provider_reference, code, true), at)
        }
        Outcome::Pending { provider_reference } => pending(payment, answered, provider_reference, at, policy),
        Outcome::Rejected { .. } if answered.step == Step::Send => rejected(payment, answered, at, policy),
        Outcome::Several => several(payment, at),
        Outcome::Absent => absent(payment, answered, at, policy),
        Outcome::Rejected { .. }
        | Outcome::Throttled { .. }
        | Outcome::Unavailable
        | Outcome::InFlight
        | Outcome::Unknown => unanswered(payment, answered, at, policy),
    }
}

/// The capture, if the order still waits for one; else it goes back.
fn approved(payment: &Payment, answered: &Answered, receipt: &Receipt, at: Timestamp, policy: &Policy) -> Decision {
    let is_told = match Standing::of(payment) {
        Standing::Open | Standing::Rechecked => true,
        // It was told as declined: an event that says otherwise could overtake that one.
        Standing::Refused => false,
        Standing::Settled => return Decision::nothing(),
    };
    let Some(amount) = payment.amount else {
        return Decision::nothing();
    };
    let named = Payment { provider_reference: receipt.provider_reference.clone(), ..payment.clone() };
    if receipt.minor != amount.minor || receipt.currency != amount.currency.code() {
        let named = if is_told { named } else { over(&named, at) };
        return Decision::to(named.parked(Reason::WrongAmount, at)).then(DueStep::Done(Purpose::Charge));
    }
    let traceparent = &answered.task.traceparent;
    let mut paid = Payment { captured_minor: amount.minor, ..named.in_state(State::Captured, at) };
    if !is_told {
        paid = over(&paid, at);
    }
    let say = is_told.then(|| captured(&paid, answered.charge_id, amount, traceparent));
    let mut decision =
        if paid.ended.is_some() { give_back(&paid, traceparent, at, policy) } else { Decision::to(paid) };
    decision.due.insert(0, DueStep::Done(Purpose::Charge));
    decision.says.extend(say);
    decision
}

/// What was told as declined is over, whether or not its order has said so yet.
fn over(payment: &Payment, at: Timestamp) -> Payment {
    Payment { ended: payment.ended.or(Some(at)), ..payment.clone() }
}

fn declined(payment: &Payment, answered: &Answered, refusal: (&str, &str, bool), at: Timestamp) -> Decision {
    let (provider_reference, code, action_required) = refusal;
    match (Standing::of(payment), payment.state) {
        (Standing::Rechecked, State::Cancelled) => Decision::nothing().then(DueStep::Done(Purpose::Charge)),
        (Standing::Open | Standing::Rechecked, _) => {
            let event = PaymentDeclined {
                charge_id: answered.charge_id.to_string(),
                code: code.to_owned(),
                action_required,
                attempt: payment.attempt,
            };
            let traceparent = answered.task.traceparent.clone();
            let say = Say { event: Event::from(event), occurrence: String::new(), traceparent };
            let named = Payment { provider_reference: provider_reference.to_owned(), ..payment.clone() };
            Decision::to(named.in_state(State::Declined, at)).saying(say).then(DueStep::Done(Purpose::Charge))
        }
        (Standing::Refused | Standing::Settled, _) => looked_at_again(answered),
    }
}

/// What stands is only looked at once more, and this was it.
fn looked_at_again(answered: &Answered) -> Decision {
    match answered.task.recheck {
        0 => Decision::nothing(),
        _of_what_was_absent => Decision::nothing().then(DueStep::Done(Purpose::Charge)),
    }
}

fn pending(payment: &Payment, answered: &Answered, name: &str, at: Timestamp, policy: &Policy) -> Decision {
    match Standing::of(payment) {
        // It was tried long enough: it stays with the human until the provider has decided.
        Standing::Rechecked if payment.reason == Some(Reason::TriesSpent) => {
            waiting::unanswered_recheck(payment, answered, at, policy)
        }
        Standing::Open | Standing::Rechecked => {
            let named = Payment { provider_reference: name.to_owned(), ..payment.clone() };
            waiting::pending(&named, answered, State::Pending, at, policy)
        }
        Standing::Refused if answered.task.recheck > 0 => waiting::unanswered_recheck(payment, answered, at, policy),
        Standing::Refused | Standing::Settled => looked_at_again(answered),
    }
}

/// Our request is at fault: trying it again helps nobody. Whether an earlier call was carried out is looked up, also
/// where none is known of: its process may have ended before it could tell.
fn rejected(payment: &Payment, answered: &Answered, at: Timestamp, policy: &Policy) -> Decision {
    match Standing::of(payment) {
        Standing::Open if payment.ended.is_some() => waiting::unanswered(payment, answered, at, policy),
        Standing::Open => waiting::park_and_look_up(payment, answered, Reason::Rejected, at),
        Standing::Rechecked | Standing::Refused | Standing::Settled => Decision::nothing(),
    }
}

fn several(payment: &Payment, at: Timestamp) -> Decision {
    match Standing::of(payment) {
        Standing::Open | Standing::Rechecked => {
            Decision::to(payment.parked(Reason::Several, at)).then(DueStep::Done(Purpose::Charge))
        }
        Standing::Refused => {
            Decision::to(over(payment, at).parked(Reason::Several, at)).then(DueStep::Done(Purpose::Charge))
        }
        Standing::Settled => Decision::nothing(),
    }
}

fn absent(payment: &Payment, answered: &Answered, at: Timestamp, policy: &Policy) -> Decision {
    match Standing::of(payment) {
        Standing::Open => waiting::absent(payment, answered, Reason::Absent, at, policy),
        Standing::Rechecked => waiting::still_absent(payment, answered, at, policy),
        Standing::Refused if answered.task.recheck > 0 => waiting::still_absent(payment, answered, at, policy),
        Standing::Refused | Standing::Settled => looked_at_again(answered),
    }
}

fn unanswered(payment: &Payment, answered: &Answered, at: Timestamp, policy: &Policy) -> Decision {
    match Standing::of(payment) {
        Standing::Open => waiting::unanswered(payment, answered, at, policy),
        Standing::Rechecked => waiting::unanswered_recheck(payment, answered, at, policy),
        Standing::Refused if answered.task.recheck > 0 => waiting::unanswered_recheck(payment, answered, at, policy),
        Standing::Refused | Standing::Settled => looked_at_again(answered),
    }
}
