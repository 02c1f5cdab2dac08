//! The stock of an order is held: now it is charged, once.

use spillway_proto::pb::events::PaymentCaptured;
use spillway_proto::time::Timestamp;
use spillway_proto::{Event, Money, OrderId};
use uuid::Uuid;

use super::key::Key;
use super::payment::{Payment, State};
use super::policy::{Policy, after};
use super::task::{Step, Task};
use super::{Decision, DueStep, Say};

/// Every line of the order is held.
#[derive(Clone, Debug, PartialEq)]
pub struct StockHeld {
    pub order: OrderId,
    pub shop: String,
    pub traceparent: String,
    /// Not negative.
    pub total: Money,
    pub payment_method: String,
}

/// The intent to charge is committed before the call. A payment that is there already is charged no second time; one
/// whose order was over before (a tombstone) is never charged.
pub fn stock_held(payment: Option<&Payment>, event: &StockHeld, at: Timestamp, policy: &Policy) -> Decision {
    match payment.map(|payment| payment.state) {
        None => begin(event, at, policy),
        Some(
            State::Charging
            | State::Unknown
            | State::Pending
            | State::Captured
            | State::Declined
            | State::Parked
            | State::Cancelled
            | State::Compensating
            | State::Refunded,
        ) => Decision::nothing(),
    }
}

fn begin(event: &StockHeld, at: Timestamp, policy: &Policy) -> Decision {
    let payment = Payment {
        order: event.order,
        shop: event.shop.clone(),
        state: State::Charging,
        ended: None,
        amount: Some(event.total),
        payment_method: event.payment_method.clone(),
        attempt: 1,
        provider_reference: String::new(),
        reason: None,
        key_until: after(at, policy.key_window),
        sent: None,
        captured_minor: 0,
        refunded_minor: 0,
        unknown: None,
        deferred: None,
        created: at,
        updated: at,
    };
    if event.total.minor == 0 {
        // No provider charges nothing.
        let charge_id = Key::charge(event.order, payment.attempt).id;
        let say = captured(&payment, charge_id, event.total, &event.traceparent);
        return Decision::to(payment.in_state(State::Captured, at)).saying(say);
    }
    let task = Task::charge(&payment, &event.traceparent, Step::Send);
    let decision = Decision::to(payment);
    task.into_iter().fold(decision, |decision, task| decision.then(DueStep::Set { task, at, tries: 1 }))
}

/// The money of a payment is ours.
pub(super) fn captured(payment: &Payment, charge_id: Uuid, amount: Money, traceparent: &str) -> Say {
    let event = PaymentCaptured {
        charge_id: charge_id.to_string(),
        amount: Some(amount.to_wire()),
        provider_reference: payment.provider_reference.clone(),
        attempt: payment.attempt,
    };
    Say { event: Event::from(event), occurrence: String::new(), traceparent: traceparent.to_owned() }
}
