//! Inventory holds every line: now the order waits for its money.

use spillway_proto::time::Timestamp;

use super::order::{Decision, Facts, Order};
use super::outcome::outcome;

pub fn stock_held(order: &mut Order, at: Timestamp) -> Decision {
    if !order.learn(Facts::HELD, at) {
        return Decision::Known;
    }
    order.held = Some(at);
    outcome(order)
}
