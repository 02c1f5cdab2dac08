//! The audit ledger as the bus and the gateway see it: batches in, verified and exported chain out.

mod cost;
mod dead;
mod documented;
mod endpoints;
mod exported;
mod kit;
mod mutations;
mod once;
mod role;
mod tampered;
