//! A human says what became of a payment that no rule could settle. The provider was asked first, and its word stands:
//! what it contradicts is refused.

use spillway_proto::pb::events::{PaymentDeclined, PaymentRefunded, PaymentSettled};
use spillway_proto::time::Timestamp;
use spillway_proto::{Event, Money, OrderId};
use uuid::Uuid;

use super::answer::{Outcome, Receipt};
use super::key::{Key, Purpose, refund_id};
use super::order_ended::give_back;
use super::payment::{Payment, State};
use super::policy::Policy;
use super::stock_held::captured;
use super::task::{Step, Task};
use super::waiting::{conclusive_from, recheck_of};
use super::{Decision, DueStep, Say};

/// What a payment is settled as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SettleAs {
    /// The charge was carried out, and the money is ours.
    Captured,
    /// It was never carried out. Of a charge: the order goes without. Of a refund: it is tried anew.
    Absent,
    /// The charge was carried out, and its money went back.
    Refunded,
}

impl SettleAs {
    pub fn name(self) -> &'static str {
        match self {
            SettleAs::Captured => "captured",
            SettleAs::Absent => "absent",
            SettleAs::Refunded => "refunded",
        }
    }
}

/// One charge or refund by the provider's own name, as it shows it.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// `reference` is ours; `charge` is the charge that a refund was taken from, empty of a charge.
    Shown { outcome: Outcome, reference: String, charge: String },
    /// The provider knows none of that name.
    Nothing,
}

/// What the provider says, asked for what the human says.
#[derive(Clone, Debug, PartialEq)]
pub enum Proof {
    /// Captured: the charge of that name.
    Charge(Sight),
    /// Absent: what a lookup by our reference found.
    ByReference(Outcome),
    /// Refunded: the refund of that name, and the charge that it names.
    Refund { refund: Sight, charge: Sight },
}

/// A human's word, with the provider's beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settle {
    pub order: OrderId,
    pub request_id: Uuid,
    pub settle_as: SettleAs,
    /// The provider's name for the charge or refund, as the human gives it.
    pub provider_reference: String,
    pub reason: String,
    pub traceparent: String,
    pub proof: Proof,
    /// When the provider was asked.
    pub called: Timestamp,
}

/// Why a payment is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No payment of this order is known.
    Unknown,
    /// There is nothing to settle: rules do it, or did.
    NotOpen(State),
    /// The provider says otherwise.
    Contradicted(String),
    /// A call may still be under way until then.
    TooEarly(Timestamp),
    /// The request id was used for something else.
    RequestIdReused,
}

/// What follows, or why nothing does.
pub fn settle(payment: &Payment, settle: &Settle, at: Timestamp, policy: &Policy) -> Result<Decision, Refused> {
    let way_back = payment.is_parked_refund() || payment.state == State::Compensating;
    let is_open = match payment.state {
        State::Unknown | State::Pending | State::Parked => true,
        State::Compensating => settle.settle_as == SettleAs::Refunded,
        State::Charging | State::Captured | State::Declined | State::Cancelled | State::Refunded => false,
    };
    // On its way back it is known to be captured.
    if !is_open || (way_back && settle.settle_as == SettleAs::Captured) {
        return Err(Refused::NotOpen(payment.state));
    }
    let decision = match &settle.proof {
        Proof::Charge(charge) => settled_captured(payment, settle, charge, at, policy),
        Proof::ByReference(found) if way_back => refund_anew(payment, settle, found, at, policy),
        Proof::ByReference(found) => settled_absent(payment, settle, found, at, policy),
        Proof::Refund { refund, charge } => settled_refunded(payment, settle, (refund, charge), at),
    }?;
    let told = Say {
        event: Event::from(PaymentSettled {
            charge_id: payment.charge_id().map(|id| id.to_string()).unwrap_or_default(),
            settled_as: settle.settle_as.name().to_owned(),
            provider_reference: settle.provider_reference.clone(),
            reason: settle.reason.clone(),
        }),
        occurrence: settle.request_id.to_string(),
        traceparent: settle.traceparent.clone(),
    };
    Ok(Decision { says: std::iter::once(told).chain(decision.says).collect(), ..decision })
}

fn settled_captured(
    payment: &Payment,
    settle: &Settle,
    charge: &Sight,
    at: Timestamp,
    policy: &Policy,
) -> Result<Decision, Refused> {
    let receipt = charge_of(payment, charge, &settle.provider_reference)?;
    let Some(amount) = payment.amount else {
        return Err(Refused::NotOpen(payment.state));
    };
    if receipt.minor != amount.minor || receipt.currency != amount.currency.code() {
        return Err(Refused::Contradicted(format!(
            "the provider says that {} was captured, and the order costs {}: give it back at the provider, and settle \
             it as refunded",
            sum(receipt),
            minor_units(amount.minor, amount.currency.code())
        )));
    }
    let named = Payment { provider_reference: receipt.provider_reference.clone(), ..payment.clone() };
    let paid = Payment { captured_minor: amount.minor, ..named.in_state(State::Captured, at) };
    let charge_id = Key::charge(payment.order, payment.attempt).id;
    let say = captured(&paid, charge_id, amount, &settle.traceparent);
    let mut decision =
        if paid.ended.is_some() { give_back(&paid, &settle.traceparent, at, policy) } else { Decision::to(paid) };
    decision.due.insert(0, DueStep::Done(Purpose::Charge));
    Ok(decision.saying(say))
}

/// Nothing was charged: the order goes without. A charge that turns up all the same goes back.
fn settled_absent(
    payment: &Payment,
    settle: &Settle,
    found: &Outcome,
    at: Timestamp,
    policy: &Policy,
) -> Result<Decision, Refused> {
    prove_absent(payment, settle, found, Purpose::Charge, policy)?;
    let Some(task) = Task::charge(payment, &settle.traceparent, Step::LookUp) else {
        return Err(Refused::NotOpen(payment.state));
    };
    let due = recheck_of(&task, 0, at);
    if payment.ended.is_some() {
        return Ok(Decision::to(payment.in_state(State::Cancelled, at)).then(due));
    }
    let say = declined(payment, "settled_absent", settle);
    Ok(Decision::to(payment.in_state(State::Declined, at)).saying(say).then(due))
}

/// The provider knows nothing of a refund, or refused it: it is tried once more, as if for the first time.
fn refund_anew(
    payment: &Payment,
    settle: &Settle,
    found: &Outcome,
    at: Timestamp,
    policy: &Policy,
) -> Result<Decision, Refused> {
    prove_absent(payment, settle, found, Purpose::Compensate, policy)?;
    Ok(give_back(&Payment { reason: None, ..payment.clone() }, &settle.traceparent, at, policy))
}

fn prove_absent(
    payment: &Payment,
    settle: &Settle,
    found: &Outcome,
    purpose: Purpose,
    policy: &Policy,
) -> Result<(), Refused> {
    let what = match purpose {
        Purpose::Charge => "charge of this order",
        Purpose::Compensate => "refund of this order's charge",
    };
    match found {
        Outcome::Declined { .. } | Outcome::ActionRequired { .. } => Ok(()),
        Outcome::Absent => match conclusive_from(payment, purpose, policy) {
            Some(from) if settle.called < from => Err(Refused::TooEarly(from)),
            Some(_) | None => Ok(()),
        },
        Outcome::Approved(receipt) => {
            let (sum, name) = (sum(receipt), &receipt.provider_reference);
            Err(Refused::Contradicted(format!("the provider shows a {what}: {name}, {sum}")))
        }
        Outcome::Pending { .. }
        | Outcome::Rejected { .. }
        | Outcome::Throttled { .. }
        | Outcome::Unavailable
        | Outcome::InFlight
        | Outcome::Unknown
        | Outcome::Several => Err(Refused::Contradicted(format!("of a {what} the provider says: {}", found.words()))),
    }
}

/// The money went back by a human's hand.
fn settled_refunded(
    payment: &Payment,
    settle: &Settle,
    (refund, charge): (&Sight, &Sight),
    at: Timestamp,
) -> Result<Decision, Refused> {
    let (returned, of_charge) = match refund {
        Sight::Shown { outcome: Outcome::Approved(receipt), charge, .. } => (receipt, charge),
        Sight::Shown { outcome, .. } => {
            let (name, words) = (&settle.provider_reference, outcome.words());
            return Err(Refused::Contradicted(format!("of the refund {name} the provider says: {words}")));
        }
        Sight::Nothing => {
            let name = &settle.provider_reference;
            return Err(Refused::Contradicted(format!("the provider knows no refund {name}")));
        }
    };
    let charged = charge_of(payment, charge, of_charge)?;
    let owed = if payment.captured_minor > 0 { payment.captured_minor - payment.refunded_minor } else { charged.minor };
    if returned.minor != owed || returned.currency != charged.currency {
        return Err(Refused::Contradicted(format!(
            "the provider says that {} went back, and {} are to",
            sum(returned),
            minor_units(owed, &charged.currency)
        )));
    }
    let (was_told, charge_id) = (payment.captured_minor > 0, Key::charge(payment.order, payment.attempt).id);
    let minor = if was_told { payment.captured_minor } else { charged.minor };
    let back = Payment {
        ended: payment.ended.or(Some(at)),
        captured_minor: minor,
        refunded_minor: minor,
        provider_reference: charged.provider_reference.clone(),
        ..payment.in_state(State::Refunded, at)
    };
    let decision = Decision::to(back).then(DueStep::Done(Purpose::Charge)).then(DueStep::Done(Purpose::Compensate));
    let Some(charged) = payment.amount.filter(|_| was_told) else {
        // Of this charge nothing was ever said. An order that still waits for it goes without.
        let waits = payment.ended.is_none();
        return Ok(if waits { decision.saying(declined(payment, "settled_refunded", settle)) } else { decision });
    };
    let said = PaymentRefunded {
        refund_id: refund_id(charge_id),
        charge_id: charge_id.to_string(),
        amount: Some(Money::new(owed, charged.currency).to_wire()),
        provider_reference: settle.provider_reference.clone(),
    };
    let (occurrence, traceparent) = (refund_id(charge_id), settle.traceparent.clone());
    Ok(decision.saying(Say { event: Event::from(said), occurrence, traceparent }))
}

/// The charge of this payment under that name, carried out.
fn charge_of<'a>(payment: &Payment, charge: &'a Sight, name: &str) -> Result<&'a Receipt, Refused> {
    match charge {
        Sight::Shown { outcome: Outcome::Approved(receipt), reference, .. } => {
            if *reference == payment.order.to_string() {
                return Ok(receipt);
            }
            Err(Refused::Contradicted(format!("the provider says that {name} is a charge of {reference}")))
        }
        Sight::Shown { outcome, .. } => {
            Err(Refused::Contradicted(format!("of the charge {name} the provider says: {}", outcome.words())))
        }
        Sight::Nothing => Err(Refused::Contradicted(format!("the provider knows no charge {name}"))),
    }
}

fn declined(payment: &Payment, code: &str, settle: &Settle) -> Say {
    let charge_id = Key::charge(payment.order, payment.attempt).id;
    let event = PaymentDeclined {
        charge_id: charge_id.to_string(),
        code: code.to_owned(),
        action_required: false,
        attempt: payment.attempt,
    };
    Say { event: Event::from(event), occurrence: String::new(), traceparent: settle.traceparent.clone() }
}

fn sum(receipt: &Receipt) -> String {
    minor_units(receipt.minor, &receipt.currency)
}

fn minor_units(minor: i64, currency: &str) -> String {
    format!("{minor} minor units of {currency}")
}
