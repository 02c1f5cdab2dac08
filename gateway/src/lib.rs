//! The gateway: gRPC in, accepted orders out.
//!
//! | what happens | where |
//! | --- | --- |
//! | a request is checked | [`validate`] |
//! | an order is accepted, told from a retry | [`intake`] |
//! | an order is read | [`reading`]: orders first, the intake only where orders does not know it |
//! | an order is followed | [`watch`] |
//! | more comes than can be carried out in time | [`admission`] |
//! | too much waits to be heard | [`budget`] |
//! | another ledger refuses or is silent | [`refusal`] |
//!
//! Accepting an order takes this process and its disk alone. Everything else is asked of the ledger that owns it.
//! Absent here: any decision on an order after it was accepted.

mod admission;
mod answer;
mod audit;
mod budget;
mod caller;
mod config;
mod dead_letters;
mod evidence;
mod figures;
mod fingerprint;
mod flow;
pub mod intake;
mod inventory;
mod orders;
mod payments;
mod reading;
mod refusal;
mod serving;
mod token;
mod traces;
pub mod validate;
mod view;
mod watch;

#[cfg(test)]
mod samples;

pub use config::{AdmissionConfig, GatewayConfig, GrpcConfig, OpsConfig, WatchConfig};
pub use evidence::EVIDENCE;
pub use figures::FIGURES;
pub use fingerprint::fingerprint_of;
pub use serving::{GatewayHandle, run};
