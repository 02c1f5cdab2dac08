//! An order was accepted.

use spillway_proto::Money;
use spillway_proto::time::Timestamp;

use super::order::{Decision, Facts, Order};
use super::outcome::outcome;

/// What orders makes of an accepted order. Everything else stays in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderPlaced {
    pub customer_id: String,
    pub total: Money,
    /// Whom to tell.
    pub email: Option<String>,
}

/// From here on the order is shown. Its outcome may have been heard before.
pub fn order_placed(order: &mut Order, event: &OrderPlaced, at: Timestamp) -> Decision {
    if !order.learn(Facts::PLACED, at) {
        return Decision::Known;
    }
    order.placed_version = order.version;
    order.created = at;
    order.customer_id.clone_from(&event.customer_id);
    order.total = Some(event.total);
    order.email.clone_from(&event.email);
    outcome(order)
}
