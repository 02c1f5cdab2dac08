//! What becomes of a payment: plain functions, one for each event and each kind of answer.
//!
//! Absent here: a clock, randomness, I/O, SQL. Time comes in as an argument, jitter follows from the charge's id.

mod answer;
mod charge_answered;
mod deferred;
mod key;
mod order_ended;
mod payment;
mod policy;
mod refund_answered;
mod settle;
mod stock_held;
mod task;
mod waiting;

pub use answer::{Answered, Outcome, Receipt};
pub use charge_answered::charge_answered;
pub use deferred::{Deferred, deferred};
pub use key::{Key, Purpose};
pub use order_ended::{OrderEnded, order_ended};
pub use payment::{Payment, Reason, State};
pub use policy::{Policy, Retry};
pub use refund_answered::refund_answered;
pub use settle::{Proof, Refused, Settle, SettleAs, Sight, settle};
pub use stock_held::{StockHeld, stock_held};
pub use task::{Step, Task, UnreadableTask};
pub use waiting::due_again;

use spillway_proto::Event;
use spillway_proto::time::Timestamp;

/// What follows from an input. Nothing in it means that nothing changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The payment as it is from now on.
    pub payment: Option<Payment>,
    pub says: Vec<Say>,
    pub due: Vec<DueStep>,
}

/// What became of something unknown, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nothing of that kind happened.
    Nothing,
    /// A call went unanswered: whether it was carried out is not known.
    BecameUnknown,
    /// The same call under the same key was answered.
    SameKey,
    /// A lookup showed it.
    Lookup,
    /// No rule could settle it.
    Parked,
    /// A human settled it.
    Human,
}

impl Settled {
    /// By what an answer made of a payment.
    pub fn by_answer(before: &Payment, after: &Payment, step: Step) -> Self {
        match (before.is_unknown(), after.is_unknown(), after.state) {
            (false, true, _) => Settled::BecameUnknown,
            (true, false, State::Parked) => Settled::Parked,
            (true, false, _) if step == Step::LookUp => Settled::Lookup,
            (true, false, _) => Settled::SameKey,
            (false, false, _) | (true, true, _) => Settled::Nothing,
        }
    }
}

/// An event about the order.
#[derive(Clone, Debug, PartialEq)]
pub struct Say {
    pub event: Event,
    /// Empty where an order can have only one of its kind.
    pub occurrence: String,
    pub traceparent: String,
}

/// What becomes of the work that waits for the provider.
#[derive(Clone, Debug, PartialEq)]
pub enum DueStep {
    /// It is to be done at this time; `tries` counts from 1.
    Set { task: Task, at: Timestamp, tries: i64 },
    /// Nothing is left to be done.
    Done(Purpose),
}

impl Decision {
    /// Nothing changes.
    pub fn nothing() -> Self {
        Decision::default()
    }

    fn to(payment: Payment) -> Self {
        Decision { payment: Some(payment), ..Decision::default() }
    }

    fn saying(mut self, say: Say) -> Self {
        self.says.push(say);
        self
    }

    fn then(mut self, step: DueStep) -> Self {
        self.due.push(step);
        self
    }
}
