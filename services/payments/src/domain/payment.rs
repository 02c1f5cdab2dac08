//! The payment of an order.

use spillway_proto::time::Timestamp;
use spillway_proto::{Money, OrderId};
use uuid::Uuid;

use super::key::Key;

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// The intent is committed; no call went unanswered.
    Charging,
    /// A call went unanswered: the provider may have charged or not.
    Unknown,
    /// The provider has taken the charge and has not decided it yet.
    Pending,
    /// The money is ours.
    Captured,
    /// The provider refused for good.
    Declined,
    /// No rule can settle it: a human must look.
    Parked,
    /// The order was over before anything was charged.
    Cancelled,
    /// The order was over, and its charge is being given back.
    Compensating,
    /// The charge was given back.
    Refunded,
}

impl State {
    pub const ALL: [State; 9] = [
        State::Charging,
        State::Unknown,
        State::Pending,
        State::Captured,
        State::Declined,
        State::Parked,
        State::Cancelled,
        State::Compensating,
        State::Refunded,
    ];

    pub fn name(self) -> &'static str {
        match self {
            State::Charging => "CHARGING",
            State::Unknown => "UNKNOWN",
            State::Pending => "PENDING",
            State::Captured => "CAPTURED",
            State::Declined => "DECLINED",
            State::Parked => "PARKED",
            State::Cancelled => "CANCELLED",
            State::Compensating => "COMPENSATING",
            State::Refunded => "REFUNDED",
        }
    }

    /// A call may be under way, and the provider is asked what became of it.
    pub(super) fn leaves_the_end_open(self) -> bool {
        match self {
            State::Unknown | State::Pending | State::Compensating => true,
            State::Charging
            | State::Captured
            | State::Declined
            | State::Parked
            | State::Cancelled
            | State::Refunded => false,
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Why a payment is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The provider captured another amount or currency than it was asked for.
    WrongAmount,
    /// The provider calls our request invalid.
    Rejected,
    /// A call went unanswered, and the provider knows nothing of it after the longest in-flight time.
    Absent,
    /// The provider shows several charges under one reference.
    Several,
    RefundWrongAmount,
    RefundRejected,
    RefundAbsent,
    RefundSeveral,
    /// The provider refuses to give the money back.
    RefundDeclined,
    /// It was tried as often as the configuration allows, and nothing came of it.
    TriesSpent,
    RefundTriesSpent,
}

impl Reason {
    pub const ALL: [Reason; 11] = [
        Reason::WrongAmount,
        Reason::Rejected,
        Reason::Absent,
        Reason::Several,
        Reason::RefundWrongAmount,
        Reason::RefundRejected,
        Reason::RefundAbsent,
        Reason::RefundSeveral,
        Reason::RefundDeclined,
        Reason::TriesSpent,
        Reason::RefundTriesSpent,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Reason::WrongAmount => "WRONG_AMOUNT",
            Reason::Rejected => "REJECTED",
            Reason::Absent => "ABSENT",
            Reason::Several => "SEVERAL",
            Reason::RefundWrongAmount => "REFUND_WRONG_AMOUNT",
            Reason::RefundRejected => "REFUND_REJECTED",
            Reason::RefundAbsent => "REFUND_ABSENT",
            Reason::RefundSeveral => "REFUND_SEVERAL",
            Reason::RefundDeclined => "REFUND_DECLINED",
            Reason::TriesSpent => "TRIES_SPENT",
            Reason::RefundTriesSpent => "REFUND_TRIES_SPENT",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Reason::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// It is the way back that is stuck, not the charge.
    pub fn is_of_refund(self) -> bool {
        match self {
            Reason::WrongAmount | Reason::Rejected | Reason::Absent | Reason::Several | Reason::TriesSpent => false,
            Reason::RefundWrongAmount
            | Reason::RefundRejected
            | Reason::RefundAbsent
            | Reason::RefundSeveral
            | Reason::RefundDeclined
            | Reason::RefundTriesSpent => true,
        }
    }

    /// For a human.
    pub fn words(self) -> &'static str {
        match self {
            Reason::WrongAmount => "the provider captured another amount or currency than it was asked for",
            Reason::Rejected => "the provider calls our request for the charge invalid",
            Reason::Absent => {
                "a call to charge went unanswered, and long after it the provider still knows nothing of a charge"
            }
            Reason::Several => "the provider shows several charges for this order",
            Reason::TriesSpent => "the charge was tried as often as the configuration allows, and nothing came of it",
            Reason::RefundWrongAmount => "the provider gave back another amount or currency than it was asked for",
            Reason::RefundRejected => "the provider calls our request for the refund invalid",
            Reason::RefundAbsent => {
                "a call to refund went unanswered, and long after it the provider still knows nothing of a refund"
            }
            Reason::RefundSeveral => "the provider shows several refunds of this charge",
            Reason::RefundDeclined => "the provider refuses to give the money back",
            Reason::RefundTriesSpent => {
                "the refund was tried as often as the configuration allows, and nothing came of it"
            }
        }
    }

    /// What the provider says later of the charge still counts: all that is known so far is that it has none.
    pub(super) fn leaves_the_charge_open(self) -> bool {
        match self {
            Reason::Rejected | Reason::Absent | Reason::TriesSpent => true,
            Reason::WrongAmount
            | Reason::Several
            | Reason::RefundWrongAmount
            | Reason::RefundRejected
            | Reason::RefundAbsent
            | Reason::RefundSeveral
            | Reason::RefundDeclined
            | Reason::RefundTriesSpent => false,
        }
    }

    /// What the provider says later of the refund still counts.
    pub(super) fn leaves_the_refund_open(self) -> bool {
        match self {
            Reason::RefundRejected | Reason::RefundAbsent | Reason::RefundDeclined | Reason::RefundTriesSpent => true,
            Reason::WrongAmount
            | Reason::Rejected
            | Reason::Absent
            | Reason::Several
            | Reason::TriesSpent
            | Reason::RefundWrongAmount
            | Reason::RefundSeveral => false,
        }
    }
}

/// The payment of an order: one charge, and its way back.
#[derive(Clone, Debug, PartialEq)]
pub struct Payment {
    pub order: OrderId,
    pub shop: String,
    pub state: State,
    /// When it was heard that the order is over: nothing more is charged, and what was charged goes back.
    pub ended: Option<Timestamp>,
    /// What is to be charged. `None` where the order was over before its stock was held.
    pub amount: Option<Money>,
    /// The provider's token for the customer's means of payment.
    pub payment_method: String,
    /// Counts the charges tried, from 1; 0 where there is none to try.
    pub attempt: i32,
    /// The provider's name for the charge; empty where it is not known.
    pub provider_reference: String,
    /// Why it is parked.
    pub reason: Option<Reason>,
    /// Until then the provider knows the key of what is under way, so that the same call again cannot charge twice.
    pub key_until: Timestamp,
    /// When the last call went out that may have been carried out and was not answered with its end.
    pub sent: Option<Timestamp>,
    /// Since when it is under way with its end not known: the first of those calls.
    pub unknown: Option<Timestamp>,
    /// Minor units that are or were ours.
    pub captured_minor: i64,
    /// Minor units that went back.
    pub refunded_minor: i64,
    /// The outage for which it was last said that the order waits: when that began.
    pub deferred: Option<Timestamp>,
    pub created: Timestamp,
    pub updated: Timestamp,
}

impl Payment {
    /// The id of the charge; `None` where there is none to try.
    pub fn charge_id(&self) -> Option<Uuid> {
        (self.attempt > 0).then(|| Key::charge(self.order, self.attempt).id)
    }

    /// A call went out whose end is not known.
    pub fn is_unknown(&self) -> bool {
        match self.state {
            State::Unknown => true,
            State::Compensating => self.sent.is_some(),
            State::Charging
            | State::Pending
            | State::Captured
            | State::Declined
            | State::Parked
            | State::Cancelled
            | State::Refunded => false,
        }
    }

    /// Parked on its way back: what was captured is still to be refunded.
    pub fn is_parked_refund(&self) -> bool {
        self.state == State::Parked && self.reason.is_some_and(Reason::is_of_refund)
    }

    pub(super) fn in_state(&self, state: State, at: Timestamp) -> Self {
        let unknown = self.unknown.filter(|_| state.leaves_the_end_open());
        Payment { state, reason: None, unknown, updated: at, ..self.clone() }
    }

    pub(super) fn parked(&self, reason: Reason, at: Timestamp) -> Self {
        Payment { reason: Some(reason), ..self.in_state(State::Parked, at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_reasons_are_found_by_their_own_names_alone() {
        assert!(State::ALL.iter().all(|state| State::from_name(state.name()) == Some(*state)));
        assert!(Reason::ALL.iter().all(|reason| Reason::from_name(reason.name()) == Some(*reason)));
    }
}
