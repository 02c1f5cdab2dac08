//! Inventory: the stock of every SKU, and the holds of every order. One ledger for all partitions.
//!
//! | what happens | where it is decided |
//! | --- | --- |
//! | an order is placed | [`domain::order_placed`] |
//! | an order is confirmed | [`domain::order_confirmed`] |
//! | an order is rejected or cancelled | [`domain::order_ended`] |
//! | an operator adjusts stock | [`domain::adjust_stock`] |
//!
//! At every moment, in every SKU: available + held + sold = received.

pub mod commands;
pub mod domain;
mod evidence;
mod explain;
mod hear;
pub mod queries;
mod run;
mod service;
mod store;
mod trace;

#[cfg(test)]
mod tests;

pub use evidence::EVIDENCE;
pub use hear::{Fact, Heard};
pub use run::run;
pub use service::{Adjust, Answer, Input, Inventory};
pub use store::{Book, MIGRATIONS, decode_lines};
