//! The admin listener: plain HTTP for probes and operators, on a port of its own.

mod readiness;
mod server;

pub use readiness::{Check, CheckReport, Readiness, ReadinessReport};
pub use server::{About, AdminServer, Metrics};
