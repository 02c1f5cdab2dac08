//! The bus between ledgers: JetStream carries batches, core NATS carries heads, marks, hints and calls.
//!
//! Absent here: any copy of state. A stream can be wiped at any moment; the ledgers remember.

mod answering;
mod attach;
mod calls;
mod config;
mod connection;
mod dead_letters;
mod differences;
mod flight;
mod gaps;
mod listen;
mod neighbours;
mod pulse;
pub(crate) mod raised;
pub mod refusal;
mod relay;
mod servers;
mod shape;
mod streams;
mod vigil;

pub use answering::JetStreamState;
pub use attach::{Needed, attach};
pub use calls::{CallFailed, Caller, Routes};
pub use config::{BusConfig, ConsumerConfig, StreamConfig};
pub use connection::{Bus, BusError};
pub use servers::Servers;
pub use streams::StreamError;
