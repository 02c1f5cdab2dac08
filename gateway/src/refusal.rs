//! What the gateway answers where a ledger, its own or another's, did not do what it was asked. The one place.

use std::collections::HashMap;
use std::time::Duration;

use rand::RngExt;
use spillway_proto::pb::internal::Refusal;
use spillway_shared::bus::CallFailed;
use spillway_shared::grpc::{CallError, Cause, DOMAIN, RETRY_PUSHBACK, Reason};
use spillway_shared::ledger::{NotTaken, ReadError};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const SERVICE_UNREACHABLE: Reason = Reason::new("SERVICE_UNREACHABLE");
const LEDGER_BUSY: Reason = Reason::new("LEDGER_BUSY");
const LEDGER_UNAVAILABLE: Reason = Reason::new("LEDGER_UNAVAILABLE");
const REQUEST_ID_REUSED: Reason = Reason::new("REQUEST_ID_REUSED");

/// After which a service that did not answer is asked again.
const UNREACHABLE_RETRY: Duration = Duration::from_secs(1);

/// What was asked of another ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing is changed by it.
    Question,
    /// It may be done although its answer got lost; its request id makes it safe to repeat.
    Command,
}

/// Another ledger did not answer, or refused.
pub fn of_call(failed: CallFailed, asked: Asked) -> Status {
    match failed {
        CallFailed::Refused(refusal) => of_refusal(refusal),
        CallFailed::NoAnswer { callee, why } => {
            let sentence = match asked {
                Asked::Question => "{service} does not answer ({problem}): try again in {retry_after_ms} ms",
                Asked::Command => {
                    "{service} does not answer ({problem}), and whether it took effect is not known: try again in \
                     {retry_after_ms} ms with the same request_id"
                }
            };
            let cause = Cause::new(SERVICE_UNREACHABLE, sentence).with("service", callee).with("problem", why);
            CallError::Unavailable { cause, retry_after: UNREACHABLE_RETRY }.into()
        }
        failed @ CallFailed::Unreadable { .. } => CallError::internal(failed).into(),
    }
}

/// As the ledger put it, with the details that every error has.
fn of_refusal(refusal: Refusal) -> Status {
    let code = match Code::from_i32(refusal.code) {
        Code::Ok | Code::Unknown => Code::Internal,
        code => code,
    };
    let mut details = ErrorDetails::new();
    let mut headers = MetadataMap::new();
    let mut parts: HashMap<String, String> = refusal.metadata.into_iter().collect();
    if let Ok(milliseconds @ 1..) = u64::try_from(refusal.retry_after_ms) {
        details.set_retry_info(Some(Duration::from_millis(milliseconds)));
        headers.insert(RETRY_PUSHBACK, MetadataValue::from(milliseconds));
        parts.insert("retry_after_ms".to_owned(), milliseconds.to_string());
    }
    details.set_error_info(refusal.reason, DOMAIN, parts);
    Status::with_error_details_and_metadata(code, refusal.message, details, headers)
}

/// The intake did not take a request.
pub fn not_taken(why: NotTaken) -> CallError {
    match why {
        NotTaken::Busy => CallError::Exhausted {
            cause: Cause::new(
                LEDGER_BUSY,
                "more orders wait to be written than the queue takes, and this one was not accepted: try again in \
                 {retry_after_ms} ms with the same request_id",
            ),
            retry_after: jitter(100..=300),
        },
        NotTaken::Unavailable(source) => {
            tracing::warn!(error = %source, "an order was not accepted");
            CallError::Unavailable {
                cause: Cause::new(
                    LEDGER_UNAVAILABLE,
                    "the gateway cannot write now, and the order was not accepted: try again in {retry_after_ms} ms \
                     with the same request_id",
                ),
                retry_after: jitter(1_000..=2_000),
            }
        }
        NotTaken::Closed | NotTaken::Unknown(_) => CallError::Unavailable {
            cause: Cause::new(
                LEDGER_UNAVAILABLE,
                "the gateway is stopping, and whether the order was accepted is not known: try again in \
                 {retry_after_ms} ms with the same request_id",
            ),
            retry_after: jitter(100..=500),
        },
        NotTaken::Poison { .. } => CallError::internal(why),
    }
}

/// The intake could not be read.
pub fn not_read(why: ReadError) -> CallError {
    tracing::warn!(error = %why, "the intake cannot be read");
    let cause = Cause::new(LEDGER_UNAVAILABLE, "the gateway cannot read now: try again in {retry_after_ms} ms");
    CallError::Unavailable { cause, retry_after: jitter(500..=1_500) }
}

/// The request id stands for another order.
pub fn request_id_reused(request_id: &str, order_id: impl std::fmt::Display) -> CallError {
    let sentence = "the request_id {request_id} stands for the order {order_id}, which was placed with other content: \
                    choose a new request_id for a new order, or send what was sent first";
    CallError::AlreadyExists {
        resource_type: "order",
        resource_name: order_id.to_string(),
        cause: Cause::new(REQUEST_ID_REUSED, sentence).with("request_id", request_id).with("order_id", order_id),
    }
}

/// Those refused together shall not come back together.
pub fn jitter(milliseconds: std::ops::RangeInclusive<u64>) -> Duration {
    Duration::from_millis(rand::rng().random_range(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Refusal {
        Refusal {
            code: 9,
            reason: "INSUFFICIENT_STOCK".to_owned(),
            message: "3 units are available".to_owned(),
            metadata: [("available".to_owned(), "3".to_owned())].into(),
            retry_after_ms: 0,
        }
    }

    #[test]
    fn a_refusal_keeps_its_code_its_reason_and_every_part() {
        let status = of_call(CallFailed::Refused(refusal()), Asked::Command);
        let info = status.get_details_error_info().expect("every error has it");
        assert_eq!((status.code(), info.reason.as_str()), (Code::FailedPrecondition, "INSUFFICIENT_STOCK"));
        assert_eq!((info.domain.as_str(), info.metadata["available"].as_str()), ("spillway", "3"));
        assert!(status.get_details_retry_info().is_none() && status.metadata().get(RETRY_PUSHBACK).is_none());
    }

    #[test]
    fn a_refusal_that_may_be_tried_again_says_when() {
        let later = Refusal { code: 14, retry_after_ms: 250, ..refusal() };
        let status = of_call(CallFailed::Refused(later), Asked::Question);
        let delay = status.get_details_retry_info().expect("it is retryable").retry_delay;
        assert_eq!((status.code(), delay), (Code::Unavailable, Some(Duration::from_millis(250))));
        assert_eq!(status.metadata().get(RETRY_PUSHBACK).expect("the same for libraries"), "250");
    }

    #[test]
    fn a_refusal_is_never_ok() {
        for code in [0, 2, -1, 99] {
            let status = of_call(CallFailed::Refused(Refusal { code, ..refusal() }), Asked::Question);
            assert_eq!(status.code(), Code::Internal);
        }
    }

    #[test]
    fn no_answer_to_a_command_says_to_keep_the_request_id() {
        let silent = CallFailed::NoAnswer { callee: "inventory".to_owned(), why: "no responders".to_owned() };
        let status = of_call(silent.clone(), Asked::Command);
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("same request_id"), "{}", status.message());
        assert!(status.get_details_retry_info().is_some());
        assert!(!of_call(silent, Asked::Question).message().contains("request_id"));
    }
}
