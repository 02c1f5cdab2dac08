//! What a load run is to do.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

/// How orders come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many a second, whatever becomes of them: latency counts from when an order should have been sent.
    Open { per_second: f64 },
    /// So many placed and not yet at their end (or, where nothing is followed, not yet answered).
    Closed { in_flight: usize },
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
    /// How long orders that are still open when sending ends are waited for.
    pub settle: Duration,
    /// Where every call is written down, for `check --history`.
    pub history: Option<PathBuf>,
}
