//! An order ended without a sale, by `OrderRejected` or `OrderCancelled`: what is held for it is given back.

use spillway_proto::pb::events as v1;
use spillway_proto::time::Timestamp;

use super::hold::{Decision, Hold, HoldState};
use super::shelf::Shelf;
use super::stock::Stock;

/// Releases what is held. Where the order was not heard of yet, a tombstone keeps it from ever being held.
pub fn order_ended(hold: Option<&Hold>, shelf: &mut Shelf, at: Timestamp) -> Decision {
    match hold.map(|hold| (hold.state, &hold.lines)) {
        None => Decision::Becomes(HoldState::Tombstone, None),
        Some((HoldState::Held, lines)) => {
            if shelf.move_all(lines, at, Stock::release).is_empty() {
                Decision::Becomes(HoldState::Released, Some(v1::StockReleased {}.into()))
            } else {
                Decision::Impossible
            }
        }
        Some((HoldState::Released | HoldState::Refused | HoldState::Tombstone, _)) => Decision::Known,
        Some((HoldState::Sold, _)) => Decision::Impossible,
    }
}
