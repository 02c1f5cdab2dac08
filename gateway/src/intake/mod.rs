//! The intake: what was accepted, and under which request id. The gateway's ledger.
//!
//! It decides one thing: whether a request is new, a retry, or another one under an id that is taken.

mod service;
mod store;

#[cfg(test)]
mod tests;

pub use service::{Accept, Answer, Intake};
pub use store::{Entry, MIGRATIONS, by_order, by_request};
