//! Who calls, and how long an answer of another ledger is of use to them.

use std::time::Duration;

use http::Extensions;
use spillway_proto::DEFAULT_SHOP;
use spillway_shared::bus::Caller;
use spillway_shared::grpc::{Deadline, TraceParent};

/// The shop of a call. There is one until credentials tell shops apart.
pub fn shop(_extensions: &Extensions) -> &'static str {
    DEFAULT_SHOP
}

/// The trace of a call; empty where it has none.
pub fn traceparent(extensions: &Extensions) -> &str {
    TraceParent::of(extensions).map_or("", TraceParent::as_str)
}

/// The caller that a call makes of its client. It waits for `most` at most, and less where the client does: so much
/// less that a client hears who did not answer, instead of nothing.
pub fn of_call(extensions: &Extensions, most: Duration) -> Caller {
    let left = Deadline::of(extensions).map_or(most, |deadline| deadline.remaining().mul_f64(0.9));
    Caller {
        shop: shop(extensions).to_owned(),
        traceparent: traceparent(extensions).to_owned(),
        time_left: left.min(most),
    }
}
