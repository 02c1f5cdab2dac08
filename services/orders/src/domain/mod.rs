//! What orders decides: plain functions of one order and one event, one function for each event. No clock, no
//! randomness, no SQL.

mod order;
mod order_placed;
mod outcome;
mod payment_captured;
mod payment_declined;
mod payment_deferred;
mod payment_refunded;
mod refund_failed;
mod stock_held;
mod stock_refused;

pub use order::{Decision, Facts, Order, State};
pub use order_placed::{OrderPlaced, order_placed};
pub use payment_captured::payment_captured;
pub use payment_declined::payment_declined;
pub use payment_deferred::payment_deferred;
pub use payment_refunded::payment_refunded;
pub use refund_failed::refund_failed;
pub use stock_held::stock_held;
pub use stock_refused::stock_refused;
