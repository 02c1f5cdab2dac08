//! The provider refuses a refund: it is shown in the history.

use spillway_proto::EventId;
use spillway_proto::time::Timestamp;

use super::order::{Decision, Order};

pub fn refund_failed(order: &mut Order, id: EventId, at: Timestamp) -> Decision {
    if order.learn_once(id, at) { Decision::Recorded } else { Decision::Known }
}
