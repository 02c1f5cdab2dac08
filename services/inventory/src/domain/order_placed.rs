//! An order was placed: all of its lines are held, or none.

use spillway_proto::pb::{self, events as v1};
use spillway_proto::time::Timestamp;

use super::hold::{Decision, Hold, HoldState, Line};
use super::shelf::Shelf;
use super::stock::Stock;

/// What inventory makes of an accepted order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderPlaced {
    pub lines: Vec<Line>,
    /// What payments is to charge.
    pub total: pb::Money,
    /// The provider's token, for payments.
    pub payment_method: String,
}

/// Holds all lines or none. An order that ended before it was heard of is refused without a short line.
pub fn order_placed(hold: Option<&Hold>, order: &OrderPlaced, shelf: &mut Shelf, at: Timestamp) -> Decision {
    match hold.map(|hold| hold.state) {
        None => hold_all(order, shelf, at),
        Some(HoldState::Tombstone) => Decision::refused(vec![]),
        Some(HoldState::Held | HoldState::Sold | HoldState::Released | HoldState::Refused) => Decision::Known,
    }
}

fn hold_all(order: &OrderPlaced, shelf: &mut Shelf, at: Timestamp) -> Decision {
    let short = shelf.move_all(&order.lines, at, Stock::hold);
    if short.is_empty() {
        let (total, payment_method) = (Some(order.total.clone()), order.payment_method.clone());
        return Decision::held(v1::StockHeld { total, payment_method });
    }
    let short_lines = short.into_iter().map(|line| v1::ShortLine {
        sku: line.sku.clone(),
        wanted: line.quantity,
        available: shelf.stock(&line.sku).available,
    });
    Decision::refused(short_lines.collect())
}
