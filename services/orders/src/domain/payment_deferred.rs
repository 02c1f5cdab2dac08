//! The provider cannot be reached: the order waits, and says since when.

use spillway_proto::EventId;
use spillway_proto::time::Timestamp;

use super::order::{Decision, Order};

/// Said once for each outage; the latest one is shown.
pub fn payment_deferred(order: &mut Order, id: EventId, since: Timestamp, at: Timestamp) -> Decision {
    if !order.learn_once(id, at) {
        return Decision::Known;
    }
    order.deferred_since = order.deferred_since.max(Some(since));
    Decision::Recorded
}
