//! What holds for every payment and every input: over all pairs, and over generated lives of an order.

mod lives;
mod pairs;
mod settlements;
mod world;

use std::time::Duration;

use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Currency, Money, OrderId};

use crate::domain::{
    Answered, Decision, Deferred, OrderEnded, Payment, Policy, Purpose, Retry, StockHeld, charge_answered, deferred,
    order_ended, refund_answered, settle, stock_held,
};
use crate::service::Input;

pub(crate) const POLICY: Policy = Policy {
    key_window: Duration::from_secs(24 * 3600),
    in_flight: Duration::from_secs(600),
    call_timeout: Duration::from_secs(10),
    unavailable: FOR_EVER,
    throttled: FOR_EVER,
    unknown: FOR_EVER,
    pending: FOR_EVER,
};

const FOR_EVER: Retry = Retry { base: Duration::from_millis(500), max: Duration::from_secs(60), tries: 0 };

/// The same, but it gives up soon.
pub(crate) const IMPATIENT: Policy =
    Policy { unavailable: SHORT, throttled: SHORT, unknown: SHORT, pending: SHORT, ..POLICY };

const SHORT: Retry = Retry { tries: 3, ..FOR_EVER };

pub(crate) fn order() -> OrderId {
    "0190a000-0000-7000-8000-000000000000".parse().expect("a UUID")
}

pub(crate) fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").expect("a currency"))
}

pub(crate) fn seconds(at: i64) -> Timestamp {
    time::from_micros((1_800_000_000 + at) * 1_000_000)
}

pub(crate) fn held(minor: i64, payment_method: &str) -> Input {
    Input::StockHeld(StockHeld {
        order: order(),
        shop: "default".to_owned(),
        traceparent: String::new(),
        total: eur(minor),
        payment_method: payment_method.to_owned(),
    })
}

pub(crate) fn ended() -> Input {
    Input::OrderEnded(OrderEnded { order: order(), shop: "default".to_owned(), traceparent: String::new() })
}

pub(crate) fn outage(since: Timestamp) -> Input {
    Input::Deferred(Deferred { order: order(), traceparent: String::new(), since })
}

pub(crate) fn decide(payment: Option<&Payment>, input: &Input, at: Timestamp) -> Decision {
    decide_by(&POLICY, payment, input, at)
}

pub(crate) fn decide_by(policy: &Policy, payment: Option<&Payment>, input: &Input, at: Timestamp) -> Decision {
    match (input, payment) {
        (Input::StockHeld(event), _) => stock_held(payment, event, at, policy),
        (Input::OrderEnded(event), _) => order_ended(payment, event, at, policy),
        (Input::Answered(answered), Some(payment)) => decide_answered(policy, payment, answered, at),
        (Input::Deferred(event), Some(payment)) => deferred(payment, event),
        (Input::Settle(word), Some(payment)) => settle(payment, word, at, policy).unwrap_or_default(),
        (Input::Answered(_) | Input::Deferred(_) | Input::Settle(_), None) | (Input::Unreadable { .. }, _) => {
            Decision::nothing()
        }
    }
}

fn decide_answered(policy: &Policy, payment: &Payment, answered: &Answered, at: Timestamp) -> Decision {
    match answered.task.purpose {
        Purpose::Charge => charge_answered(payment, answered, at, policy),
        Purpose::Compensate => refund_answered(payment, answered, at, policy),
    }
}
