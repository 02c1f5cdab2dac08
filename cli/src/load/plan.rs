//! What a load run is to do.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

/// How orders come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many a second, whatever becomes of them: latency counts from when an order should have been sent. Then perhaps
    /// another number, to see what the first has left behind.
    Open { per_second: f64, then: Option<(f64, Duration)> },
    /// So many placed and not yet at their end (or, where nothing is followed, not yet answered).
    Closed { in_flight: usize },
}

/// What a client does that is refused, or hears nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It gives up.
    Never,
    /// It comes back when it was told to, up to five times.
    Told,
    /// It comes back at once, up to twenty times, whatever it was told.
    Naive,
}

/// How it is learned that an order has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follow {
    /// From the event stream on NATS: one subscription for all orders.
    Events { nats_url: String },
    /// By WatchOrder, one stream for each order.
    Watch,
    /// Not at all: only the answers to PlaceOrder are counted.
    None,
}

/// When it stops sending.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Until {
    Elapsed(Duration),
    Sent(u64),
}

/// A load run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names the run: its customers are `load-<run>-...`.
    pub run: Uuid,
    pub pace: Pace,
    pub until: Until,
    /// Sent before the measuring begins, and not counted.
    pub warmup: Duration,
    pub follow: Follow,
    pub address: String,
    pub connections: usize,
    /// SKUs that orders are spread over.
    pub skus: u32,
    /// Lines of every order.
    pub lines: u32,
    pub payment_method: String,
    /// Customers that orders are spread over.
    pub customers: u32,
    /// How many times as much as each other the first customer places.
    pub hot_customer: u32,
    pub retry: Retry,
    /// After this long a call is given up.
    pub deadline: Duration,
    /// An order that is confirmed in this time is a good one.
    pub within: Duration,
    /// How long orders that are still open when sending ends are waited for.
    pub settle: Duration,
    /// Where every call is written down, for `check --history`.
    pub history: Option<PathBuf>,
}
