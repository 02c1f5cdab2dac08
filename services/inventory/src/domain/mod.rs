//! What inventory decides: plain functions of the stock, the hold of one order, and what was heard or asked. No clock,
//! no randomness, no SQL.

mod adjust_stock;
mod hold;
mod order_confirmed;
mod order_ended;
mod order_placed;
mod shelf;
mod stock;

pub use adjust_stock::{AdjustStock, Adjusted, Refused, adjust_stock};
pub use hold::{Decision, Hold, HoldState, Line};
pub use order_confirmed::order_confirmed;
pub use order_ended::order_ended;
pub use order_placed::{OrderPlaced, order_placed};
pub use shelf::Shelf;
pub use stock::{MAX_RECEIVED, Stock};
