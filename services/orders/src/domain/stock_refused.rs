//! Inventory holds nothing: the order is rejected.

use spillway_proto::time::Timestamp;

use super::order::{Decision, Facts, Order};
use super::outcome::outcome;

pub fn stock_refused(order: &mut Order, at: Timestamp) -> Decision {
    if !order.learn(Facts::REFUSED, at) {
        return Decision::Known;
    }
    outcome(order)
}
