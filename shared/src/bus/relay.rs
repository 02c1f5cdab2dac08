//! The relay: one commit, one message, in order, pipelined, every acknowledgement awaited.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishAckFuture, PublishError};
use async_nats::jetstream::publish::PublishAck;
use spillway_proto::batch::{self, BatchNumber, header};
use spillway_proto::ledgers::{self, StreamSpec};
use spillway_proto::{Incarnation, Ledger as Source, Partition};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::Bus;
use super::flight::{Flight, NotPublished};
use super::shape::{Looked, Shape};
use super::streams::StreamError;
use crate::ledger::{IncidentKind, Ledger, OutboxBatch, Sent, Service};
use crate::steps::step_about;

/// Bytes read from the outbox at a time.
const READ_BYTES: usize = 1 << 20;

/// After a failed publish.
const PAUSE: Duration = Duration::from_millis(250);

/// What several gateways do every second besides being told: another's rows may wait.
const NUMBER_EVERY: Duration = Duration::from_secs(1);

/// Numbers what a ledger with several inserters committed, as soon as there is something.
pub(super) async fn number<S: Service>(ledger: Ledger<S>, stop: CancellationToken) {
    loop {
        let stopping = tokio::select! {
            () = ledger.unnumbered() => false,
            () = tokio::time::sleep(NUMBER_EVERY) => false,
            () = stop.cancelled() => true,
        };
        if let Err(error) = ledger.number().await {
            tracing::warn!(ledger = %ledger.identity().id, %error, "batches were not numbered");
            tokio::time::sleep(PAUSE).await;
        }
        if stopping {
            return;
        }
    }
}

/// Publishes what a ledger says in a partition, until `stop`; then what is left, as long as NATS is there.
pub(super) struct Relay<S: Service> {
    pub ledger: Ledger<S>,
    pub bus: Bus,
    pub partition: Partition,
    pub stream: StreamSpec,
    /// Whether the stream is there, and why not.
    pub state: watch::Sender<Result<(), String>>,
}

impl<S: Service> Relay<S> {
    pub async fn run(self, stop: CancellationToken) {
        self.relay(stop).await;
        let head = self.ledger.heads().borrow().get(&self.partition).copied().unwrap_or(0);
        let unsaid = head - self.ledger.relayed_up_to(self.partition);
        if unsaid > 0 {
            tracing::warn!(stream = self.stream.name, unsaid, "stopping without nats: said at the next start");
        }
        // How far it came is written down: the next start says nothing again.
        if let Err(error) = self.ledger.flush().await {
            tracing::debug!(stream = self.stream.name, %error, "how far the relay came is not written down");
        }
    }

    async fn relay(&self, stop: CancellationToken) {
        let mut heads = self.ledger.heads();
        let mut connected = self.bus.connected();
        let mut flight = Flight::after(self.relayed());
        let mut shape = Shape::new(self.role(), &self.stream.name, self.relayed() > 0);
        let mut stopping = false;
        loop {
            if connected.has_changed().unwrap_or(true) {
                connected.mark_unchanged();
                flight.cut(self.relayed());
                shape.doubt();
            }
            if !*connected.borrow() {
                if stopping {
                    return;
                }
                tokio::select! {
                    _ = connected.changed() => connected.mark_changed(),
                    () = stop.cancelled() => stopping = true,
                }
                continue;
            }
            if !stopping && Instant::now() >= shape.next_look() {
                self.look(&mut shape, &stop).await;
            }
            for incident in shape.news() {
                self.ledger.note(incident.into(), self.role(), self.partition, 1);
            }
            let head = heads.borrow_and_update().get(&self.partition).copied().unwrap_or(0);
            if flight.sent < head && flight.room() > 0 {
                self.publish_next(head, &mut flight).await;
            }
            if stopping && flight.is_empty() && flight.sent >= head {
                return;
            }
            tokio::select! {
                Some((number, outcome)) = flight.next(), if !flight.is_empty() => {
                    if let Err(why) = self.settle(number, outcome, &mut shape, &mut flight).await {
                        tracing::warn!(stream = self.stream.name, number, %why, "publish failed, saying it again");
                        // What is left is said at the next start.
                        if stopping {
                            return;
                        }
                    }
                }
                moved = heads.changed(), if !stopping => stopping = moved.is_err(),
                _ = connected.changed() => connected.mark_changed(),
                () = tokio::time::sleep(PAUSE), if flight.is_empty() && flight.sent < head => {}
                () = tokio::time::sleep_until(shape.next_look()), if !stopping => {}
                () = stop.cancelled(), if !stopping => stopping = true,
            }
        }
    }

    fn relayed(&self) -> i64 {
        self.ledger.relayed_up_to(self.partition)
    }

    /// A named step, about the ledger whose relay it is.
    fn step(&self, name: &str) {
        step_about(name, self.role().as_bytes());
    }

    fn role(&self) -> &'static str {
        self.ledger.identity().id.ledger.name()
    }

    /// Looks whether the stream is in shape, and mends what can be mended. Where that is not all, it is published to
    /// anyhow: what is not acknowledged is said again.
    async fn look(&self, shape: &mut Shape, stop: &CancellationToken) {
        tokio::select! {
            looked = self.bus.keep_stream(&self.stream) => {
                self.tell(&looked);
                shape.looked(looked);
            }
            () = stop.cancelled() => {}
        }
    }

    /// A stream that was there is so until it is known not to be: a silent JetStream is told elsewhere.
    fn tell(&self, looked: &Result<Looked, StreamError>) {
        self.state.send_if_modified(|state| {
            let now = match looked {
                Ok(_) => Ok(()),
                Err(error) if error.is_absent || state.is_err() => Err(error.to_string()),
                Err(_) => Ok(()),
            };
            std::mem::replace(state, now) != *state
        });
    }

    /// Writes down what was acknowledged; after a failure all that is not is said again.
    async fn settle(
        &self,
        number: i64,
        outcome: Result<PublishAck, NotPublished>,
        shape: &mut Shape,
        flight: &mut Flight,
    ) -> Result<(), NotPublished> {
        let ours = outcome.and_then(|acknowledged| match acknowledged.stream == self.stream.name {
            true => Ok(acknowledged),
            false => Err(NotPublished::OtherStream(acknowledged.stream)),
        });
        match ours {
            Ok(acknowledged) => {
                self.step("relay.after_puback");
                self.bus.answering.took();
                metrics::counter!("spillway_relay_published_total", "role" => self.role()).increment(1);
                // A duplicate is as good: the stream has it, or had it, and who has not heard it asks.
                if acknowledged.duplicate {
                    metrics::counter!("spillway_relay_duplicates_total", "role" => self.role()).increment(1);
                } else {
                    shape.took(acknowledged.sequence);
                }
                flight.succeeded();
                if let Some(sent) = flight.traced.remove(&number) {
                    self.tell_sent(sent, number);
                }
                self.ledger.relayed(self.partition, number);
                Ok(())
            }
            Err(why) => {
                metrics::counter!("spillway_relay_failures_total", "role" => self.role(), "cause" => why.cause())
                    .increment(1);
                self.ledger.note(IncidentKind::PublishRetried, self.role(), self.partition, 1);
                if matches!(why, NotPublished::NoAnswer(_)) {
                    self.bus.answering.was_silent(&format!("a publish to {} was not acknowledged", self.stream.name));
                } else {
                    self.bus.answering.refused(&format!("{}: {why}", self.stream.name));
                    tokio::time::sleep(PAUSE).await;
                }
                shape.doubt();
                let mut connected = self.bus.connected();
                tokio::select! {
                    () = flight.failed(self.relayed()) => {}
                    _gone = connected.wait_for(|connected| !connected) => {}
                }
                Err(why)
            }
        }
    }

    /// Publishes what comes next, as far as there is room.
    async fn publish_next(&self, head: i64, flight: &mut Flight) {
        let from = flight.sent + 1;
        let room = i64::try_from(flight.room()).unwrap_or(1);
        let to = head.min(from + room - 1);
        let batches = match self.ledger.outbox(self.partition, from, to, READ_BYTES).await {
            Ok(batches) => batches,
            Err(error) => {
                tracing::warn!(stream = self.stream.name, %error, "outbox cannot be read, trying again");
                return;
            }
        };
        self.step("relay.claimed");
        for batch in batches {
            let number = batch.number;
            let sent = Sent::of(self.ledger.tracer(), &batch.body, self.ledger.now());
            match self.publish(batch).await {
                Ok(acknowledged) => {
                    flight.push(number, acknowledged);
                    flight.traced.extend(sent.map(|sent| (number, sent)));
                }
                Err(error) => {
                    tracing::warn!(stream = self.stream.name, number, %error, "publish failed, trying again");
                    return;
                }
            }
        }
    }

    /// The span of a batch that its stream has.
    fn tell_sent(&self, sent: Sent, number: i64) {
        let incarnation = self.ledger.identity().incarnation;
        let id = BatchNumber { incarnation, partition: self.partition, number }.message_id();
        sent.taken(self.ledger.tracer(), &self.stream.name, id, self.ledger.now());
    }

    async fn publish(&self, batch: OutboxBatch) -> Result<PublishAckFuture, PublishError> {
        let source = self.ledger.identity().id.ledger;
        let headers = headers(self.ledger.identity().incarnation, &batch);
        let subject = ledgers::subject(source, self.partition);
        self.step("relay.before_publish");
        self.bus.jetstream.publish_with_headers(subject, headers, batch.body).await
    }
}

/// The headers of a batch.
pub(super) fn headers(incarnation: Incarnation, batch: &OutboxBatch) -> HeaderMap {
    let number = BatchNumber { incarnation, partition: batch.partition, number: batch.number };
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, number.message_id());
    headers.insert(header::CONTENT_TYPE, batch::CONTENT_TYPE);
    headers.insert(header::INCARNATION, incarnation.to_string());
    headers.insert(header::PARTITION, batch.partition.to_string());
    headers.insert(header::NUMBER, batch.number.to_string());
    headers.insert(header::TIME, batch.time_us.to_string());
    headers
}

/// What the headers of a message say: its number, where they hold a valid one, and its time.
pub(super) fn read_headers(source: Source, headers: Option<&HeaderMap>) -> (Option<BatchNumber>, i64) {
    let text = |name: &str| headers.and_then(|all| all.get(name)).map(|value| value.as_str());
    let number = (|| {
        Some(BatchNumber {
            incarnation: Incarnation(uuid::Uuid::try_parse(text(header::INCARNATION)?).ok()?),
            partition: Partition(text(header::PARTITION)?.parse().ok()?),
            number: text(header::NUMBER)?.parse().ok().filter(|number| *number > 0)?,
        })
    })();
    if number.is_none() {
        tracing::warn!(%source, "a message without a valid batch number");
    }
    (number, text(header::TIME).and_then(|time| time.parse().ok()).unwrap_or(0))
}
