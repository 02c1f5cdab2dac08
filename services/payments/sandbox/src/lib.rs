//! A payment provider to try Spillway against: a real HTTP server with a durable ledger of its own.
//!
//! `payments` calls it like any provider; tests and drills steer it (one order by its payment method, the
//! whole provider by a mode) and compare with its ledger, which records every attempt, those it never
//! answered included. `README.md` beside this crate is the manual of its HTTP API.
//!
//! It knows nothing of Spillway: no crate of it, no event, no order.

mod answer;
mod code;
mod config;
mod decide;
mod entry;
mod http;
mod ledger;
mod mode;
mod request;
mod steering;
mod traffic;

pub use config::{SandboxConfig, Synchronous};
pub use http::{Addresses, RunError, Sandbox, StartError};
pub use ledger::OpenError;
pub use mode::Mode;
pub use steering::{Charge, METHODS, Method, Trouble};
