//! Money went back.

use spillway_proto::time::Timestamp;
use spillway_proto::{EventId, Money};

use super::order::{Decision, Order};

/// Adds to what is shown as refunded. Payments refunds in the currency that it charged, which is the total's.
pub fn payment_refunded(order: &mut Order, id: EventId, amount: Money, at: Timestamp) -> Decision {
    if !order.learn_once(id, at) {
        return Decision::Known;
    }
    order.refunded_minor = order.refunded_minor.saturating_add(amount.minor);
    Decision::Recorded
}
