//! Orders: the life of every order, and what is shown of it. One ledger for each partition.
//!
//! | what happens | where it is decided |
//! | --- | --- |
//! | an order is placed | [`domain::order_placed`] |
//! | its stock is held, or refused | [`domain::stock_held`], [`domain::stock_refused`] |
//! | its payment is captured, declined or deferred | [`domain::payment_captured`], [`domain::payment_declined`], [`domain::payment_deferred`] |
//! | money goes back, or cannot | [`domain::payment_refunded`], [`domain::refund_failed`] |
//!
//! Every event of an order is in its history once, as the bytes that were said, and counts its version up by one.

pub mod config;
pub mod domain;
mod ends;
mod evidence;
mod explain;
mod figures;
mod hear;
pub mod queries;
mod run;
mod service;
mod store;
mod traces;
mod view;

#[cfg(test)]
mod tests;

pub use config::OrdersConfig;
pub use ends::End;
pub use evidence::EVIDENCE;
pub use figures::FIGURES;
pub use hear::{Fact, Heard};
pub use run::run;
pub use service::Orders;
pub use store::{Book, MIGRATIONS};
