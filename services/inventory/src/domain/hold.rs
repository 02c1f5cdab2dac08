//! The hold of one order.

use spillway_proto::Event;
use spillway_proto::pb::events as v1;

/// Units of a SKU: a line of an order. The quantity is positive, and no two lines of an order have the same SKU.
pub use v1::StockLine as Line;

/// How it stands with the units of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldState {
    /// All lines are held.
    Held,
    /// All lines are sold.
    Sold,
    /// All lines were held, and were given back.
    Released,
    /// Nothing was ever held.
    Refused,
    /// The order ended before it was heard of: it will be refused.
    Tombstone,
}

impl HoldState {
    pub const ALL: [HoldState; 5] =
        [HoldState::Held, HoldState::Sold, HoldState::Released, HoldState::Refused, HoldState::Tombstone];

    /// As SQL has it.
    pub fn name(self) -> &'static str {
        match self {
            HoldState::Held => "HELD",
            HoldState::Sold => "SOLD",
            HoldState::Released => "RELEASED",
            HoldState::Refused => "REFUSED",
            HoldState::Tombstone => "TOMBSTONE",
        }
    }

    /// From SQL.
    pub fn parse(name: &str) -> Option<Self> {
        HoldState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// The hold of one order.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    pub state: HoldState,
    /// What is held, or was; empty where nothing ever was.
    pub lines: Vec<Line>,
}

/// What follows for the hold of an order. The units have been moved.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It was told before: nothing changes and nothing is said.
    Known,
    /// It cannot come to this while every ledger works as it should. Nothing changes, nothing is said, no unit moves;
    /// whoever keeps the ledger logs it.
    Impossible,
    /// The hold is now this, and this is said.
    Becomes(HoldState, Option<Event>),
}

impl Decision {
    pub(super) fn held(event: v1::StockHeld) -> Self {
        Decision::Becomes(HoldState::Held, Some(event.into()))
    }

    pub(super) fn refused(short_lines: Vec<v1::ShortLine>) -> Self {
        Decision::Becomes(HoldState::Refused, Some(v1::StockRefused { short_lines }.into()))
    }
}
