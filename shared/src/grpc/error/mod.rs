//! The errors of a call: a small closed vocabulary, mapped to a gRPC status exactly once, here.

mod cause;
pub(super) mod status;

use std::error::Error;
use std::time::Duration;

pub use cause::{Cause, Reason};
pub use status::{DOMAIN, RETRY_PUSHBACK};
pub use tonic_types::FieldViolation;

/// Why a call was not served. Whether a client should try again is decided here, where the error is born.
///
/// `tonic::Status::from` makes the answer: every status carries `google.rpc.ErrorInfo` with the reason and every
/// moving part of the message; those with a `retry_after` also `google.rpc.RetryInfo` and the trailing metadata
/// `grpc-retry-pushback-ms`, which gRPC's client libraries obey by themselves (gRFC A6).
#[derive(Debug)]
pub enum CallError {
    /// INVALID_ARGUMENT: the request can never be served as it is. All violations at once.
    InvalidArgument { violations: Vec<FieldViolation> },
    /// NOT_FOUND, with the reason RESOURCE_NOT_FOUND. The type is a lower-case noun.
    NotFound { resource_type: &'static str, resource_name: String },
    /// ALREADY_EXISTS: something else goes by this name.
    AlreadyExists { resource_type: &'static str, resource_name: String, cause: Cause },
    /// FAILED_PRECONDITION: the state must change before the call can succeed.
    FailedPrecondition { cause: Cause },
    /// RESOURCE_EXHAUSTED: too much is asked of us now.
    Exhausted { cause: Cause, retry_after: Duration },
    /// UNAVAILABLE: something we need is not there now; nothing was done.
    Unavailable { cause: Cause, retry_after: Duration },
    /// DEADLINE_EXCEEDED: the time allowed, the smaller of the client's and ours, was over.
    DeadlineExceeded { allowed: Duration },
    /// INTERNAL: our fault. The source goes to the log alone, under an id that the client is told.
    Internal { source: Box<dyn Error + Send + Sync> },
}

impl CallError {
    /// Our fault, whatever it was.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> CallError {
        CallError::Internal { source: source.into() }
    }

    /// One field that is not valid.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> CallError {
        CallError::InvalidArgument { violations: vec![FieldViolation::new(field, description)] }
    }
}
