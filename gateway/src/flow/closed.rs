//! The intake as operators leave it: open, or held up with their reason.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use spillway_shared::grpc::{CallError, Cause, Reason};
use spillway_shared::ledger::Pause;
use tokio::sync::watch;

use crate::refusal::jitter;

const INTAKE_PAUSED: Reason = Reason::new("INTAKE_PAUSED");

/// How long clients stay away from a paused intake: a person ends it, and not within a second.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 5_000..=10_000;

/// Cheap to clone.
#[derive(Clone)]
pub struct IntakeDoor {
    pub pauses: watch::Receiver<Arc<BTreeMap<String, Pause>>>,
}

impl IntakeDoor {
    /// # Errors
    /// UNAVAILABLE, with the reason INTAKE_PAUSED and the operator's, as long as the intake is paused.
    pub fn admit(&self) -> Result<(), CallError> {
        let pauses = self.pauses.borrow();
        pauses.get("intake").map_or(Ok(()), |pause| Err(closed(pause, jitter(RETRY_AFTER_MS))))
    }
}

fn closed(pause: &Pause, retry_after: Duration) -> CallError {
    let sentence = "no order is accepted since {since}, an operator paused the intake: {paused_because}; try again in \
                    {retry_after_ms} ms with the same request_id";
    let cause = Cause::new(INTAKE_PAUSED, sentence).with("since", pause.since).with("paused_because", &pause.reason);
    CallError::Unavailable { cause, retry_after }
}
