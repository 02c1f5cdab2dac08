//! The money is ours: the order is confirmed.

use spillway_proto::time::Timestamp;

use super::order::{Decision, Facts, Order};
use super::outcome::outcome;

pub fn payment_captured(order: &mut Order, at: Timestamp) -> Decision {
    if !order.learn(Facts::CAPTURED, at) {
        return Decision::Known;
    }
    outcome(order)
}
