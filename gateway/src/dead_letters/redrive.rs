//! Handing dead letters in again, ledger by ledger, at a bounded rate.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use spillway_proto::LedgerId;
use spillway_proto::pb::internal::{RedriveStretchRequest, RedriveStretchResponse};
use spillway_proto::pb::ops::{RedriveDeadLettersRequest, RedriveDeadLettersResponse};
use spillway_shared::bus::Caller;
use spillway_shared::grpc::{CallError, Cause, Reason};
use tokio::time::Instant;
use tonic::Status;

use super::{DeadLetters, silence};
use crate::refusal;

const SERVER_STOPPING: Reason = Reason::new("SERVER_STOPPING");

/// Dead letters a second where the request names no number, and at most.
const RATE: u32 = 100;
const MAX_RATE: u32 = 1000;

/// Dead letters that are handed in together.
const STRETCH: u32 = 50;

/// Where a redrive stands.
struct Redrive {
    service: DeadLetters,
    asked: RedriveDeadLettersRequest,
    caller: Caller,
    rate: u32,
    /// Those still to be gone through; the first is the current one.
    ledgers: VecDeque<LedgerId>,
    /// The last id of the current ledger.
    after: String,
    told: RedriveDeadLettersResponse,
    /// Before which nothing more is handed in.
    next: Instant,
}

/// Goes through the ledgers, and says how far it got after every stretch.
pub(super) fn stream(
    service: DeadLetters,
    asked: RedriveDeadLettersRequest,
    ledgers: Vec<LedgerId>,
    caller: Caller,
) -> impl Stream<Item = Result<RedriveDeadLettersResponse, Status>> + Send + 'static {
    let rate = match u32::try_from(asked.rate) {
        Ok(0) | Err(_) => RATE,
        Ok(rate) => rate.min(MAX_RATE),
    };
    let redrive = Redrive {
        service,
        asked,
        caller,
        rate,
        ledgers: ledgers.into(),
        after: String::new(),
        told: RedriveDeadLettersResponse::default(),
        next: Instant::now(),
    };
    futures::stream::try_unfold(
        redrive,
        |mut redrive| async move { Ok(redrive.next().await?.map(|told| (told, redrive))) },
    )
}

impl Redrive {
    async fn next(&mut self) -> Result<Option<RedriveDeadLettersResponse>, Status> {
        if self.told.done {
            return Ok(None);
        }
        self.told.results.clear();
        while let Some(id) = self.ledgers.front().copied() {
            self.wait().await?;
            let request = RedriveStretchRequest {
                choice: self.asked.choice.clone(),
                after: self.after.clone(),
                limit: i32::try_from(STRETCH.min(self.rate)).unwrap_or(1),
                dry_run: self.asked.dry_run,
                reason: self.asked.reason.clone(),
            };
            let asked = self.service.ask::<RedriveStretchResponse>(id, "redrive_dead_letters", &self.caller, &request);
            match asked.await {
                Ok(stretch) => {
                    let is_empty = stretch.results.is_empty();
                    self.take(stretch);
                    if !is_empty {
                        return Ok(Some(self.told.clone()));
                    }
                }
                Err(failed) => {
                    self.told.silent.push(silence(id, &failed));
                    self.next_ledger();
                }
            }
        }
        self.told.done = true;
        Ok(Some(self.told.clone()))
    }

    fn take(&mut self, stretch: RedriveStretchResponse) {
        let count = u32::try_from(stretch.results.len()).unwrap_or(u32::MAX);
        if !self.asked.dry_run {
            self.next = Instant::now() + Duration::from_secs(1) * count / self.rate;
            let taken = stretch.results.iter().filter(|result| result.taken).count();
            self.told.taken += i64::try_from(taken).unwrap_or(i64::MAX);
            self.told.still_dead = self.told.matched + i64::from(count) - self.told.taken;
        }
        self.told.matched += i64::from(count);
        match stretch.results.last().and_then(|result| result.dead_letter.as_ref()) {
            Some(last) if !stretch.end => self.after.clone_from(&last.dead_letter_id),
            Some(_) | None => self.next_ledger(),
        }
        self.told.results = stretch.results;
    }

    fn next_ledger(&mut self) {
        self.ledgers.pop_front();
        self.after.clear();
    }

    /// Until the rate allows more.
    async fn wait(&self) -> Result<(), Status> {
        tokio::select! {
            () = tokio::time::sleep_until(self.next) => Ok(()),
            () = self.service.draining.cancelled() => {
                let sentence = "this server is stopping: call again, and reach another one; what was handed in is done";
                let cause = Cause::new(SERVER_STOPPING, sentence);
                Err(CallError::Unavailable { cause, retry_after: refusal::jitter(100..=500) }.into())
            }
        }
    }
}
