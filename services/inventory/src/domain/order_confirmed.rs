//! An order was confirmed: what is held for it is sold.

use spillway_proto::pb::events as v1;
use spillway_proto::time::Timestamp;

use super::hold::{Decision, Hold, HoldState};
use super::shelf::Shelf;
use super::stock::Stock;

/// Sells what is held. Orders confirms only what payments captured, and payments charges only what inventory held, so
/// there is a hold whenever this is heard; where there is none, no unit is made up and none is taken from others.
pub fn order_confirmed(hold: Option<&Hold>, shelf: &mut Shelf, at: Timestamp) -> Decision {
    match hold.map(|hold| (hold.state, &hold.lines)) {
        Some((HoldState::Held, lines)) => {
            if shelf.move_all(lines, at, Stock::sell).is_empty() {
                Decision::Becomes(HoldState::Sold, Some(v1::StockCommitted {}.into()))
            } else {
                Decision::Impossible
            }
        }
        Some((HoldState::Sold, _)) => Decision::Known,
        None | Some((HoldState::Released | HoldState::Refused | HoldState::Tombstone, _)) => Decision::Impossible,
    }
}
