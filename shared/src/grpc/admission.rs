//! How many calls are served at once. What is above is refused at once, with the time to try again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::GrpcLimits;
use super::methods::Kind;
use super::{CallError, Cause, Reason};

const TOO_MANY_CALLS: Reason = Reason::new("TOO_MANY_CALLS");
const TOO_MANY_STREAMS: Reason = Reason::new("TOO_MANY_STREAMS");

/// A refused client comes back after a random time between these, so that those refused together do not come back
/// together. A stream's place gets free less often than a call's.
const CALL_RETRY_MS: (u64, u64) = (100, 300);
const STREAM_RETRY_MS: (u64, u64) = (1_000, 3_000);

/// Places for calls and for streams, all connections together.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    calls: Places,
    streams: Places,
}

#[derive(Debug, Clone)]
struct Places {
    free: Arc<Semaphore>,
    max: usize,
}

/// The place of a call that was admitted; free again when dropped. None for a call that needs none.
pub(super) type Place = Option<OwnedSemaphorePermit>;

impl Admission {
    pub(super) fn new(limits: &GrpcLimits) -> Admission {
        Admission { calls: Places::new(limits.max_calls.get()), streams: Places::new(limits.max_streams.get()) }
    }

    pub(super) fn admit(&self, kind: Kind) -> Result<Place, CallError> {
        match kind {
            Kind::Unary => self.calls.take().ok_or_else(|| CallError::Exhausted {
                cause: Cause::new(
                    TOO_MANY_CALLS,
                    "this server is working on {max} calls, the most it takes: try again in {retry_after_ms} ms",
                )
                .with("max", self.calls.max),
                retry_after: pause(CALL_RETRY_MS),
            }),
            Kind::Stream => self.streams.take().ok_or_else(|| CallError::Exhausted {
                cause: Cause::new(
                    TOO_MANY_STREAMS,
                    "this server has {max} streams open, the most it takes: try again in {retry_after_ms} ms",
                )
                .with("max", self.streams.max),
                retry_after: pause(STREAM_RETRY_MS),
            }),
            Kind::Standard => Ok(None),
        }
    }
}

impl Places {
    fn new(max: usize) -> Places {
        Places { free: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))), max }
    }

    fn take(&self) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(Some)
    }
}

fn pause((shortest, longest): (u64, u64)) -> Duration {
    Duration::from_millis(rand::random_range(shortest..=longest))
}
