//! A handler that panics: its client hears INTERNAL, the log hears why, and every other call goes on.

use std::any::Any;

use tonic::Status;
use uuid::Uuid;

use super::error::status::internal;

/// The answer to a call whose handler panicked with this payload.
pub(super) fn answer(path: &str, payload: Box<dyn Any + Send>) -> Status {
    let error_id = Uuid::new_v4();
    let panic = payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a payload that is not a text");
    tracing::error!(%error_id, path, panic, "the handler of a call panicked");
    internal(error_id)
}
