//! What is counted, by its name on `/metrics`. Every name here begins with `spillway_` and carries the role.

use metrics::{counter, gauge};

use crate::breaker::BreakerState;
use crate::domain::{Purpose, Settled, Step};

const ROLE: &str = "payments";

/// A call to the provider and its class.
pub fn call(purpose: Purpose, step: Step, class: &'static str) {
    let kind = match (purpose, step) {
        (Purpose::Charge, Step::Send) => "charge",
        (Purpose::Compensate, Step::Send) => "refund",
        (Purpose::Charge, Step::LookUp) => "charge_lookup",
        (Purpose::Compensate, Step::LookUp) => "refund_lookup",
    };
    counter!("spillway_provider_calls_total", "role" => ROLE, "kind" => kind, "class" => class).increment(1);
}

/// 0 closed, 1 probing, 2 open.
pub fn breaker(state: BreakerState) {
    let level = match state {
        BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open { .. } => 2.0,
    };
    gauge!("spillway_provider_breaker_state", "role" => ROLE).set(level);
    if let BreakerState::Open { .. } = state {
        counter!("spillway_provider_breaker_openings_total", "role" => ROLE).increment(1);
    }
}

/// Somebody wanted to call and was turned away.
pub fn rejection() {
    counter!("spillway_provider_breaker_rejections_total", "role" => ROLE).increment(1);
}

/// A call that finds out whether the provider is well again.
pub fn probe() {
    counter!("spillway_provider_breaker_probes_total", "role" => ROLE).increment(1);
}

/// Calls a second that are let through while the backlog of an outage is worked off; 0 where nothing holds them back.
pub fn drain_rate(per_second: f64) {
    gauge!("spillway_payments_drain_rate", "role" => ROLE).set(per_second);
}

/// Orders told that the provider cannot be reached.
pub fn deferred(orders: u64) {
    counter!("spillway_payments_deferred_total", "role" => ROLE).increment(orders);
}

/// Something became unknown, or is not so any more.
pub fn settled(how: Settled) {
    match how {
        Settled::Nothing => {}
        Settled::BecameUnknown => counter!("spillway_payments_unknown_total", "role" => ROLE).increment(1),
        Settled::SameKey => unknown_settled("same_key"),
        Settled::Lookup => unknown_settled("lookup"),
        Settled::Parked => unknown_settled("parked"),
        Settled::Human => unknown_settled("human"),
    }
}

fn unknown_settled(how: &'static str) {
    counter!("spillway_payments_unknown_settled_total", "role" => ROLE, "how" => how).increment(1);
}

/// A payment was parked for a human.
pub fn parked(reason: &'static str) {
    counter!("spillway_payments_parked_total", "role" => ROLE, "reason" => reason).increment(1);
}
