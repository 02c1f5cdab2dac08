//! The provider refused for good: the order is rejected.

use spillway_proto::time::Timestamp;

use super::order::{Decision, Facts, Order};
use super::outcome::outcome;

/// `action_required` where the provider wants the customer to act.
pub fn payment_declined(order: &mut Order, action_required: bool, at: Timestamp) -> Decision {
    if !order.learn(Facts::DECLINED, at) {
        return Decision::Known;
    }
    if action_required {
        order.facts = order.facts | Facts::ACTION_REQUIRED;
    }
    outcome(order)
}
