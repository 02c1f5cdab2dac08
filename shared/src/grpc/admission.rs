//! How many calls are served at once. What is above is refused at once, with the time to try again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::GrpcLimits;
use super::methods::Kind;
use super::{CallError, Cause, Reason};
use crate::listen::Name;

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
    /// Of calls whose message has not arrived yet: they keep out only each other.
    arriving: Places,
    streams: Places,
    name: Name,
}

#[derive(Debug, Clone)]
struct Places {
    free: Arc<Semaphore>,
    max: usize,
}

/// The place of a call that was admitted; free again when dropped. None for a call that needs none.
pub(super) type Place = Option<OwnedSemaphorePermit>;

impl Admission {
    /// The name labels its figures.
    pub(super) fn new(limits: &GrpcLimits, name: Name) -> Admission {
        let calls = limits.max_calls.get();
        let (arriving, streams) = (Places::new(calls), Places::new(limits.max_streams.get()));
        Admission { calls: Places::new(calls), arriving, streams, name }
    }

    pub(super) fn admit(&self, kind: Kind) -> Result<Place, CallError> {
        match kind {
            Kind::Unary => self.calls.take().ok_or_else(|| self.too_many_calls("calls", &self.calls)),
            Kind::Stream => self.streams.take().ok_or_else(|| {
                self.refused("streams");
                CallError::Exhausted {
                    cause: Cause::new(
                        TOO_MANY_STREAMS,
                        "this server has {max} streams open, the most it takes: try again in {retry_after_ms} ms",
                    )
                    .with("max", self.streams.max),
                    retry_after: pause(STREAM_RETRY_MS),
                }
            }),
            Kind::Standard => Ok(None),
        }
    }

    /// A place to wait in for the message of a call.
    pub(super) fn await_message(&self) -> Result<Place, CallError> {
        self.arriving.take().ok_or_else(|| self.too_many_calls("arriving", &self.arriving))
    }

    fn too_many_calls(&self, signal: &'static str, places: &Places) -> CallError {
        self.refused(signal);
        CallError::Exhausted {
            cause: Cause::new(
                TOO_MANY_CALLS,
                "this server is working on {max} calls, the most it takes: try again in {retry_after_ms} ms",
            )
            .with("max", places.max),
            retry_after: pause(CALL_RETRY_MS),
        }
    }

    fn refused(&self, signal: &'static str) {
        let Name { role, listener } = self.name;
        metrics::counter!("spillway_admission_refusals_total", "role" => role, "listener" => listener, "signal" => signal)
            .increment(1);
    }

    /// Tells how many are in flight now.
    pub(super) fn measure(&self) {
        let Name { role, listener } = self.name;
        let kinds = [("call", &self.calls), ("arriving", &self.arriving), ("stream", &self.streams)];
        for (kind, places) in kinds {
            let taken = places.max.saturating_sub(places.free.available_permits());
            metrics::gauge!("spillway_calls_in_flight", "role" => role, "listener" => listener, "kind" => kind)
                .set(taken as f64);
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
