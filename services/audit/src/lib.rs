//! Audit: the hash-chained record of every event of every ledger, one chain for each partition, one entry for each
//! batch.
//!
//! It hears all other ledgers and says nothing. [`chain`] defines the chain, [`verify`] recomputes it (here, or far
//! away from an export), [`export`] gives an entry the form of a line of JSON. `docs/audit.md` is for those who
//! write a verifier of their own.

pub mod chain;
mod evidence;
pub mod export;
pub mod queries;
mod run;
mod service;
mod store;
pub mod verify;
mod wire;

pub use evidence::EVIDENCE;
pub use export::{JsonLines, NotAnEntry, from_json};
pub use run::run;
pub use service::Audit;
pub use store::MIGRATIONS;
pub use verify::{Broken, Problem, Verifier};
