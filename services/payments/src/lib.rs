//! Payments: one charge per order, and its way back.
//!
//! An order whose stock is held is charged. The intent is committed before the call; no answer means *unknown*, which
//! is a state of its own, asked about under the same key, then by lookup, until it is known; what no rule can settle
//! is parked for a human.
//!
//! | what happens | where it is decided |
//! | --- | --- |
//! | the stock of an order is held | [`domain::stock_held`] |
//! | an order is rejected or cancelled | [`domain::order_ended`] |
//! | the provider answers for a charge, or does not | [`domain::charge_answered`] |
//! | the provider answers for a refund, or does not | [`domain::refund_answered`] |
//! | the provider cannot be reached, and an order waits | [`domain::deferred`] |
//! | a human says what became of it | [`domain::settle`] |
//!
//! `worker` calls, `provider/` speaks HTTP, `breaker` stops the calls to a sick provider, `gate` lets through what waits
//! for it, oldest first and slowly at first, and `desk` answers operators. What clients ask to be refunded is absent
//! here.

pub mod breaker;
pub mod config;
mod counters;
mod deferral;
mod desk;
pub mod domain;
mod evidence;
mod figures;
pub mod gate;
mod provider;
mod ramp;
mod run;
mod service;
mod spans;
mod store;
mod trace;
mod view;
mod worker;

#[cfg(test)]
mod laws;

pub use config::PaymentsConfig;
pub use deferral::tell_of_outages;
pub use evidence::EVIDENCE;
pub use figures::FIGURES;
pub use provider::{Charge, HttpProvider, Provider, ProviderCall, ProviderError, Refund};
pub use run::run;
pub use service::{Answer, DUE_KINDS, Input, Payments};
pub use store::{MIGRATIONS, find};
pub use worker::Worker;
