//! The one place where an error becomes a `tonic::Status`.

use std::collections::HashMap;
use std::time::Duration;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};
use uuid::Uuid;

use super::cause::presentable;
use super::{CallError, Cause, Reason};

/// The domain of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "spillway";

/// Trailing metadata that tells client libraries when to try again, in milliseconds (gRFC A6).
pub const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Field violations that are told in full, in bytes; the rest is counted. Clients in Java, Node and C++ take 8 KiB of
/// trailers, and details travel in base64.
const MAX_VIOLATIONS_BYTES: usize = 3 * 1024;

const NOT_FOUND: Reason = Reason::new("RESOURCE_NOT_FOUND");
const FIELDS_INVALID: Reason = Reason::new("FIELDS_INVALID");
const DEADLINE_EXCEEDED: Reason = Reason::new("DEADLINE_EXCEEDED");
const INTERNAL: Reason = Reason::new("INTERNAL");

impl From<CallError> for Status {
    fn from(error: CallError) -> Status {
        match error {
            CallError::InvalidArgument { violations } => invalid_argument(violations),
            CallError::NotFound { resource_type, resource_name } => not_found(resource_type, &resource_name),
            CallError::AlreadyExists { resource_type, resource_name, cause } => {
                let mut details = ErrorDetails::new();
                details.set_resource_info(resource_type, presentable(&resource_name), "", cause.message());
                status(Code::AlreadyExists, cause, details)
            }
            CallError::FailedPrecondition { cause } => status(Code::FailedPrecondition, cause, ErrorDetails::new()),
            CallError::Exhausted { cause, retry_after } => retryable(Code::ResourceExhausted, cause, retry_after),
            CallError::Unavailable { cause, retry_after } => retryable(Code::Unavailable, cause, retry_after),
            CallError::DeadlineExceeded { allowed } => deadline_exceeded(allowed),
            CallError::Internal { source } => {
                let error_id = Uuid::new_v4();
                tracing::error!(%error_id, error = &*source as &dyn std::error::Error, "a call failed by our fault");
                internal(error_id)
            }
        }
    }
}

/// The answer for something that is in the log under this id.
pub(in crate::grpc) fn internal(error_id: Uuid) -> Status {
    let cause = Cause::new(
        INTERNAL,
        "an internal error happened, which is our fault; whether the call took effect is not known: read the state \
         before repeating it, and give the operator error id {error_id}, under which the log has the details",
    );
    status(Code::Internal, cause.with("error_id", error_id), ErrorDetails::new())
}

/// A status with ErrorInfo, and the other details given.
pub(in crate::grpc) fn status(code: Code, cause: Cause, details: ErrorDetails) -> Status {
    build(code, cause, details, MetadataMap::new())
}

fn build(code: Code, cause: Cause, mut details: ErrorDetails, metadata: MetadataMap) -> Status {
    let message = cause.message();
    let reason = cause.reason().as_str();
    let parts = cause.into_parts().into_iter().map(|(name, value)| (name.to_owned(), value));
    details.set_error_info(reason, DOMAIN, parts.collect::<HashMap<_, _>>());
    Status::with_error_details_and_metadata(code, message, details, metadata)
}

fn retryable(code: Code, cause: Cause, retry_after: Duration) -> Status {
    let milliseconds = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut metadata = MetadataMap::new();
    metadata.insert(RETRY_PUSHBACK, MetadataValue::from(milliseconds));
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(milliseconds)));
    build(code, cause.with("retry_after_ms", milliseconds), details, metadata)
}

fn invalid_argument(violations: Vec<FieldViolation>) -> Status {
    let count = violations.len();
    let told = within_bytes(violations);
    let sentence = match count {
        1 => "{field} is not valid: {description}. Correct it, then send the request again",
        _ => {
            "{violations} fields are not valid, the first is {field}: {description}. Correct all that the details \
             name, then send the request again"
        }
    };
    let mut cause = Cause::new(FIELDS_INVALID, sentence).with("violations", count);
    if let Some(first) = told.first() {
        cause = cause.with("field", &first.field).with("description", &first.description);
    }
    if told.len() < count {
        cause = cause.with("violations_not_told", count - told.len());
    }
    status(Code::InvalidArgument, cause, ErrorDetails::with_bad_request(told))
}

/// As many violations, from the first, as fit into trailers.
fn within_bytes(violations: Vec<FieldViolation>) -> Vec<FieldViolation> {
    let mut room = MAX_VIOLATIONS_BYTES;
    let presented = violations.into_iter().map(|violation| FieldViolation {
        field: presentable(&violation.field),
        description: presentable(&violation.description),
        ..violation
    });
    presented
        .take_while(|violation| {
            // At most 10 bytes of tags and lengths surround the three texts.
            let needed = violation.field.len() + violation.description.len() + violation.reason.len() + 10;
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        })
        .collect()
}

fn not_found(resource_type: &'static str, resource_name: &str) -> Status {
    let cause = Cause::new(NOT_FOUND, "there is no {resource_type} {resource_name}: check the name")
        .with("resource_type", resource_type)
        .with("resource_name", resource_name);
    let details = ErrorDetails::with_resource_info(resource_type, presentable(resource_name), "", cause.message());
    status(Code::NotFound, cause, details)
}

fn deadline_exceeded(allowed: Duration) -> Status {
    let cause = Cause::new(
        DEADLINE_EXCEEDED,
        "the call was not finished within the {allowed_ms} ms it was allowed; whether it took effect is not known: \
         read the state, or repeat the call with the same request id and a longer deadline",
    );
    status(Code::DeadlineExceeded, cause.with("allowed_ms", allowed.as_millis()), ErrorDetails::new())
}
