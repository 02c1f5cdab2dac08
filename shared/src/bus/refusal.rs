//! Refusals, as the gateway tells them to its clients: what is wrong, and what to do about it.

use prost::Message;
use spillway_proto::Ledger as Callee;
use spillway_proto::pb::internal::{Call, Refusal};

use crate::ledger::{NotTaken, ReadError};

/// Milliseconds after which a ledger that could not answer is asked again.
const RETRY_AFTER_MS: i64 = 1000;

/// The gRPC codes in use, by their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    InvalidArgument = 3,
    NotFound = 5,
    AlreadyExists = 6,
    FailedPrecondition = 9,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
}

/// A refusal without a dynamic part.
pub fn new(code: Code, reason: &str, message: &str) -> Refusal {
    with(code, reason, message.to_owned(), [])
}

/// A refusal; `metadata` holds every dynamic part of the message.
pub fn with<const N: usize>(code: Code, reason: &str, message: String, metadata: [(&str, String); N]) -> Refusal {
    Refusal {
        code: code as i32,
        reason: reason.to_owned(),
        message,
        metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        retry_after_ms: if code == Code::Unavailable { RETRY_AFTER_MS } else { 0 },
    }
}

/// Reads the request of a call.
pub fn read<T: Message + Default>(call: &Call) -> Result<T, Refusal> {
    T::decode(call.body.clone())
        .map_err(|_| new(Code::InvalidArgument, "UNREADABLE_REQUEST", "the request cannot be decoded"))
}

/// A command that the ledger did not take.
pub fn not_taken(callee: Callee, why: &NotTaken) -> Refusal {
    match why {
        NotTaken::Closed | NotTaken::Busy | NotTaken::Unavailable(_) | NotTaken::Unknown(_) => unavailable(callee),
        NotTaken::Poison { .. } => {
            tracing::error!(%callee, error = %why, "command refused");
            let message = format!("this command cannot be decided; the log of {callee} says why");
            with(Code::Internal, "INTERNAL", message, [])
        }
    }
}

/// A query that was not answered.
pub fn not_read(callee: Callee, why: &ReadError) -> Refusal {
    tracing::warn!(%callee, error = %why, "query refused");
    unavailable(callee)
}

fn unavailable(callee: Callee) -> Refusal {
    let reason = format!("{}_UNAVAILABLE", callee.name().to_uppercase());
    let message = format!("{callee} cannot answer now; try again with the same request");
    with(Code::Unavailable, &reason, message, [])
}
