//! What holds for every payment and every input: over all pairs, and over generated lives of an order.

mod lives;
mod pairs;
mod world;

use std::time::Duration;

use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Currency, Money, OrderId};

use crate::domain::{
    Answered, Decision, OrderEnded, Payment, Policy, Purpose, StockHeld, charge_answered, order_ended, refund_answered,
    stock_held,
};
use crate::service::Input;

pub(crate) const POLICY: Policy = Policy {
    key_window: Duration::from_secs(24 * 3600),
    in_flight: Duration::from_secs(600),
    call_timeout: Duration::from_secs(10),
    retry_base: Duration::from_millis(500),
    retry_max: Duration::from_secs(60),
    spread: Duration::from_secs(15),
};

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

pub(crate) fn decide(payment: Option<&Payment>, input: &Input, at: Timestamp) -> Decision {
    match input {
        Input::StockHeld(event) => stock_held(payment, event, at, &POLICY),
        Input::OrderEnded(event) => order_ended(payment, event, at, &POLICY),
        Input::Answered(answered) => match payment {
            Some(payment) => decide_answered(payment, answered, at),
            None => Decision::nothing(),
        },
        Input::Unreadable { .. } => Decision::nothing(),
    }
}

fn decide_answered(payment: &Payment, answered: &Answered, at: Timestamp) -> Decision {
    match answered.task.purpose {
        Purpose::Charge => charge_answered(payment, answered, at, &POLICY),
        Purpose::Compensate => refund_answered(payment, answered, at, &POLICY),
    }
}
