//! The corpus: messages that are right, and messages with the paths of all that is wrong with them.

mod garbage;
mod largest;
mod orders;
mod others;

use spillway_shared::grpc::CallError;

/// The paths of the violations, in order.
fn paths<T>(outcome: Result<T, CallError>) -> Vec<String> {
    match outcome {
        Ok(_) => Vec::new(),
        Err(CallError::InvalidArgument { violations }) => violations.into_iter().map(|v| v.field).collect(),
        Err(other) => panic!("{other:?}"),
    }
}
