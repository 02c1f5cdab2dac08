//! What is measured of orders that come to their end.

use metrics::{Histogram, histogram};

use crate::domain::State;

/// The end of an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct End {
    pub state: State,
    /// It was told that it waits for the provider.
    pub deferred: bool,
    /// From its acceptance.
    pub seconds: f64,
}

/// The series of `spillway_order_end_seconds`, looked up once.
#[derive(Clone)]
pub(crate) struct Ends {
    /// By state, then told to wait or not.
    confirmed: [Histogram; 2],
    rejected: [Histogram; 2],
}

impl Ends {
    pub fn new() -> Self {
        let of = |state: State| {
            ["false", "true"].map(|deferred| {
                histogram!("spillway_order_end_seconds", "role" => "orders", "state" => self::state(state), "deferred" => deferred)
            })
        };
        Ends { confirmed: of(State::Confirmed), rejected: of(State::Rejected) }
    }

    pub fn record(&self, end: &End) {
        let ends = match end.state {
            State::Confirmed => &self.confirmed,
            State::Rejected => &self.rejected,
            State::Pending => return,
        };
        ends[usize::from(end.deferred)].record(end.seconds);
    }
}

/// The label of a state.
pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Confirmed => "confirmed",
        State::Rejected => "rejected",
    }
}
