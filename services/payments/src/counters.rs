//! What is counted, by its name on `/metrics`. Every name here begins with `spillway_` and carries the role.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, gauge, histogram};

use crate::breaker::BreakerState;
use crate::domain::{Outcome, Purpose, Settled, Step};
use crate::figures::{CLASSES, KINDS, STATUSES};

const ROLE: &str = "payments";

/// What is counted and measured of every call to the provider: its series are looked up once.
#[derive(Default)]
pub struct Calls {
    /// By kind and class, as they stand in the catalogue.
    answers: [[OnceLock<(Counter, Histogram)>; CLASSES.len()]; KINDS.len()],
    /// By status.
    processed: [OnceLock<Histogram>; STATUSES.len()],
}

impl Calls {
    /// A call that took so long, and how it ended.
    pub fn called(&self, purpose: Purpose, step: Step, outcome: &Outcome, took: Duration) {
        let kind = kind_of(purpose, step);
        let class = outcome.class();
        let Some(series) = CLASSES.iter().position(|known| *known == class).map(|at| &self.answers[kind][at]) else {
            return;
        };
        let (count, seconds) = series.get_or_init(|| {
            let kind = KINDS[kind];
            (
                counter!("spillway_provider_calls_total", "role" => ROLE, "kind" => kind, "class" => class),
                histogram!("spillway_provider_call_duration_seconds", "role" => ROLE, "kind" => kind, "class" => class),
            )
        });
        count.increment(1);
        seconds.record(took);
    }

    /// An answer to a charge, so long after the first call for it.
    pub fn processed(&self, outcome: &Outcome, after: Duration) {
        let status = status(outcome);
        let series = STATUSES.iter().position(|known| *known == status).map(|at| &self.processed[at]);
        let series = series.map(|series| {
            series.get_or_init(|| histogram!("payment_process_duration_seconds", "role" => ROLE, "status" => status))
        });
        if let Some(series) = series {
            series.record(after);
        }
    }
}

/// What a charge's answer is in the one metric that whoever placed the order looks at.
fn status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Approved(_) => "captured",
        Outcome::Declined { .. } | Outcome::ActionRequired { .. } => "declined",
        Outcome::Unavailable => "unavailable",
        Outcome::Throttled { .. } => "throttled",
        Outcome::Rejected { .. } => "rejected",
        Outcome::Unknown | Outcome::Pending { .. } | Outcome::InFlight | Outcome::Absent | Outcome::Several => {
            "unknown"
        }
    }
}

/// Where the kind of a call stands in the catalogue.
fn kind_of(purpose: Purpose, step: Step) -> usize {
    match (purpose, step) {
        (Purpose::Charge, Step::Send) => 0,
        (Purpose::Compensate, Step::Send) => 1,
        (Purpose::Charge, Step::LookUp) => 2,
        (Purpose::Compensate, Step::LookUp) => 3,
    }
}

/// What a call to the provider is called.
pub fn kind(purpose: Purpose, step: Step) -> &'static str {
    match KINDS.get(kind_of(purpose, step)) {
        Some(name) => name,
        None => "",
    }
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
