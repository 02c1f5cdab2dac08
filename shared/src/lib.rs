//! The machine room: ledgers, the bus between them, due work, lifecycle, configuration, serving.
//!
//! Knows no order, no stock and no payment: what is decided comes from a [`ledger::Service`].

pub mod admin;
pub mod bus;
pub mod config;
pub mod evidence;
pub mod figure;
pub mod figures;
pub mod flow;
pub mod grpc;
pub mod ledger;
pub mod lifecycle;
pub mod listen;
pub mod logs;
pub mod priority;
pub mod role;
pub mod steps;
pub mod telemetry;
