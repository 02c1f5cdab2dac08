//! Refusals, as the gateway tells them to its clients: what is wrong, and what to do about it.

use prost::Message;
use spillway_proto::pb::internal::{Call, Refusal};
use spillway_shared::ledger::ReadError;

/// Milliseconds after which a ledger that could not answer is asked again.
const RETRY_AFTER_MS: i64 = 1000;

/// The gRPC codes in use, by their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    InvalidArgument = 3,
    Unavailable = 14,
}

/// A refusal. Nothing of these messages is dynamic.
pub fn new(code: Code, reason: &str, message: &str) -> Refusal {
    Refusal {
        code: code as i32,
        reason: reason.to_owned(),
        message: message.to_owned(),
        retry_after_ms: if code == Code::Unavailable { RETRY_AFTER_MS } else { 0 },
        ..Refusal::default()
    }
}

/// Reads the request of a call.
pub fn read<T: Message + Default>(call: &Call) -> Result<T, Refusal> {
    T::decode(call.body.clone())
        .map_err(|_| new(Code::InvalidArgument, "UNREADABLE_REQUEST", "the request cannot be decoded"))
}

/// A query that was not answered.
pub fn not_read(why: &ReadError) -> Refusal {
    tracing::warn!(error = %why, "query refused");
    unavailable()
}

fn unavailable() -> Refusal {
    new(Code::Unavailable, "ORDERS_UNAVAILABLE", "orders cannot answer now; try again with the same request")
}
