//! Queries and commands between services: NATS requests whose bodies are wrapped in `Call` and answered with `Reply`.

use bytes::Bytes;
use prost::Message;

use crate::pb::internal::{Call, Refusal, Reply, reply};
use crate::time::{self, Timestamp};

/// Wraps a request.
pub fn wrap(shop: &str, traceparent: &str, deadline: Option<Timestamp>, request: &impl Message) -> Bytes {
    let call = Call {
        shop: shop.to_owned(),
        traceparent: traceparent.to_owned(),
        deadline_us: deadline.map_or(0, time::to_micros),
        body: Bytes::from(request.encode_to_vec()),
    };
    Bytes::from(call.encode_to_vec())
}

/// Nobody waits for the answer any more.
pub fn is_expired(call: &Call, now: Timestamp) -> bool {
    call.deadline_us != 0 && call.deadline_us <= time::to_micros(now)
}

/// Wraps what is answered.
pub fn answer(outcome: Result<Bytes, Refusal>) -> Bytes {
    let outcome = match outcome {
        Ok(body) => reply::Outcome::Body(body),
        Err(refusal) => reply::Outcome::Refusal(refusal),
    };
    Bytes::from(Reply { outcome: Some(outcome) }.encode_to_vec())
}

/// Unwraps what was answered. The outer error is an answer that cannot be read.
pub fn unwrap<T: Message + Default>(reply: Bytes) -> Result<Result<T, Refusal>, prost::DecodeError> {
    match Reply::decode(reply)?.outcome {
        Some(reply::Outcome::Body(body)) => T::decode(body).map(Ok),
        Some(reply::Outcome::Refusal(refusal)) => Ok(Err(refusal)),
        None => T::decode(Bytes::new()).map(Ok),
    }
}
