//! What was not heard is asked for: the numbers show it, the listener asks, the outbox answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use prost::Message as _;
use spillway_proto::batch::BatchNumber;
use spillway_proto::pb::internal::{AskRequest, AskResponse, Head, HeadsRequest, HeadsResponse};
use spillway_proto::{Incarnation, Ledger as Source, Partition, ledgers};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::calls::Caller;
use super::connection::Bus;
use crate::ledger::{Batch, Came, IncidentKind, Ledger, Line, Service};

/// How often open gaps are looked at, while there are any.
const LOOK: Duration = Duration::from_millis(250);

/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(5);

/// Watches one source in one partition for numbers that stay missing.
pub(super) struct Gaps<S: Service> {
    pub ledger: Ledger<S>,
    pub bus: Bus,
    pub source: Source,
    pub partition: Partition,
    /// A message came that could not be read: whether its number is one, its source's head tells.
    pub unread: Arc<Notify>,
    /// The heads that the source has told.
    heads: HashMap<Incarnation, i64>,
    /// The first missing number of a line, and since when it is.
    open: HashMap<Incarnation, (i64, Instant)>,
}

impl<S: Service> Gaps<S> {
    pub fn new(ledger: Ledger<S>, bus: Bus, source: Source, partition: Partition, unread: Arc<Notify>) -> Self {
        Gaps { ledger, bus, source, partition, unread, heads: HashMap::new(), open: HashMap::new() }
    }

    pub async fn run(mut self, stop: CancellationToken) {
        let subject = ledgers::head_subject(self.source, self.partition);
        let Ok(mut told) = self.bus.client.subscribe(subject).await else { return };
        let mut inbox = self.ledger.inbox();
        let mut connected = self.bus.connected();
        connected.mark_changed();
        let unread = self.unread.clone();
        loop {
            self.look();
            let gap_open = !self.open.is_empty();
            tokio::select! {
                Some(message) = told.next() => self.note_head(Head::decode(message.payload).ok()),
                moved = inbox.changed(), if !gap_open => if moved.is_err() { return },
                // After every reconnect the heads are asked for: what was told meanwhile was not heard.
                changed = connected.changed() => {
                    if changed.is_err() { return }
                    if *connected.borrow_and_update() { self.ask_heads().await }
                }
                () = unread.notified() => self.ask_heads().await,
                () = tokio::time::sleep(LOOK), if gap_open => self.ask_overdue().await,
                () = stop.cancelled() => return,
            }
        }
    }

    fn note_head(&mut self, head: Option<Head>) {
        let Some(head) = head.filter(|head| head.partition == u32::from(self.partition.0)) else { return };
        if let Some(incarnation) = Incarnation::from_bytes(&head.incarnation) {
            let known = self.heads.entry(incarnation).or_insert(0);
            *known = head.number.max(*known);
        }
    }

    async fn ask_heads(&mut self) {
        let caller = Caller::background(ANSWER);
        let asked = self.bus.call::<HeadsResponse>(self.source, self.partition, "heads", &caller, &HeadsRequest {});
        match asked.await {
            Ok(answer) => answer.heads.into_iter().for_each(|head| self.note_head(Some(head))),
            Err(error) => tracing::debug!(source = %self.source, %error, "heads not heard"),
        }
    }

    /// Notes which lines miss a number, and since when it is the same one.
    fn look(&mut self) {
        let inbox = self.ledger.inbox().borrow().clone();
        let here = |line: &Line| line.source == self.source && line.partition == self.partition;
        let mut missing: HashMap<Incarnation, i64> = HashMap::new();
        for (line, mark) in inbox.lines().filter(|(line, _)| here(line)) {
            let head = self.heads.get(&line.incarnation).copied().unwrap_or(0);
            if mark.number < head || !mark.above.is_empty() {
                missing.insert(line.incarnation, mark.number + 1);
            }
        }
        for (incarnation, head) in &self.heads {
            let line = Line { source: self.source, incarnation: *incarnation, partition: self.partition };
            if *head > 0 && inbox.mark(&line).is_none() {
                missing.insert(*incarnation, 1);
            }
        }
        let now = Instant::now();
        self.open.retain(|incarnation, (first, _)| missing.get(incarnation) == Some(first));
        for (incarnation, first) in missing {
            self.open.entry(incarnation).or_insert((first, now));
        }
    }

    /// Asks for every number that stays missing.
    async fn ask_overdue(&mut self) {
        self.look();
        let patience = Duration::from_millis(self.bus.config.consumer.missing_after_ms);
        let overdue: Vec<Incarnation> =
            self.open.iter().filter(|(_, (_, since))| since.elapsed() >= patience).map(|(id, _)| *id).collect();
        for incarnation in overdue {
            self.ask(incarnation).await;
            self.open.remove(&incarnation);
        }
    }

    async fn ask(&self, incarnation: Incarnation) {
        let line = Line { source: self.source, incarnation, partition: self.partition };
        let head = self.heads.get(&incarnation).copied().unwrap_or(0);
        let inbox = self.ledger.inbox().borrow().clone();
        let mark = inbox.mark(&line).cloned().unwrap_or_default();
        let last = mark.above.last().copied().unwrap_or(0).max(head);
        for (from, to) in mark.missing(last) {
            tracing::info!(ledger = %self.ledger.identity().id, source = %self.source, %incarnation, from, to,
                "asking for batches that were not heard");
            if !self.fetch(incarnation, from, to).await {
                return;
            }
        }
    }

    /// Fetches a gap. False where the source does not answer now.
    async fn fetch(&self, incarnation: Incarnation, mut from: i64, to: i64) -> bool {
        while from <= to {
            let request = AskRequest {
                incarnation: bytes::Bytes::copy_from_slice(incarnation.as_bytes()),
                partition: u32::from(self.partition.0),
                from,
                to,
            };
            let caller = Caller::background(ANSWER);
            let asked = self.bus.call::<AskResponse>(self.source, self.partition, "batches", &caller, &request).await;
            let answer = match asked {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::warn!(source = %self.source, %error, "batches were asked for in vain, trying again");
                    return false;
                }
            };
            if answer.pruned_up_to > 0 || answer.unknown_incarnation {
                self.count("spillway_batches_gone_total", 1);
                self.ledger.note(IncidentKind::GoneForGood, self.source.name(), self.partition, 1);
                tracing::error!(source = %self.source, %incarnation, from, pruned_up_to = answer.pruned_up_to,
                    "batches are gone for good");
            }
            let Some(last) = answer.batches.last().map(|batch| batch.number) else { return false };
            let given = answer.batches.len();
            self.count("spillway_batches_asked_for_total", given);
            self.ledger.note(IncidentKind::AskedFor, self.source.name(), self.partition, given as i64);
            let came = answer.batches.into_iter().map(|batch| {
                let number = BatchNumber { incarnation, partition: self.partition, number: batch.number };
                let (time_us, body) = (batch.time_us, batch.body);
                let batch = Batch { source: self.source, number: Some(number), time_us, body, asked: true };
                Came { batch, delivered: 1, origin: None }
            });
            let came: Vec<Came> = came.collect();
            if let Err(error) = self.ledger.take(&came).await {
                tracing::warn!(%error, "asked batches were not taken");
                return false;
            }
            from = last + 1;
        }
        true
    }

    fn count(&self, counter: &'static str, by: usize) {
        let role = self.ledger.identity().id.ledger.name();
        metrics::counter!(counter, "role" => role, "source" => self.source.name()).increment(by as u64);
    }
}
