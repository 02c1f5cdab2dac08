//! The relay: one commit, one message, in order, pipelined, every acknowledgement awaited.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishError;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use spillway_proto::batch::{self, BatchNumber, header};
use spillway_proto::ledgers::{self, StreamSpec};
use spillway_proto::{Incarnation, Ledger as Source, Partition};
use tokio_util::sync::CancellationToken;

use super::connection::Bus;
use crate::ledger::{Ledger, OutboxBatch, Service};

/// Messages that may wait for their acknowledgement.
const IN_FLIGHT: usize = 64;

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
}

type Acknowledged = BoxFuture<'static, (i64, Result<(), PublishError>)>;

impl<S: Service> Relay<S> {
    pub async fn run(self, stop: CancellationToken) {
        self.relay(stop).await;
        // How far it came is written down: the next start says nothing again.
        if let Err(error) = self.ledger.flush().await {
            tracing::debug!(stream = self.stream.name, %error, "how far the relay came is not written down");
        }
    }

    async fn relay(&self, stop: CancellationToken) {
        let mut heads = self.ledger.heads();
        let mut sent = self.ledger.relayed_up_to(self.partition);
        let mut pending: FuturesOrdered<Acknowledged> = FuturesOrdered::new();
        let mut stopping = false;
        self.keep_stream(&stop).await;
        loop {
            let head = heads.borrow_and_update().get(&self.partition).copied().unwrap_or(0);
            if sent < head && pending.len() < IN_FLIGHT {
                sent = self.publish_from(sent + 1, head, &mut pending).await;
                if sent < head && pending.is_empty() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            if stopping && ((pending.is_empty() && sent >= head) || !self.bus.is_connected()) {
                return;
            }
            tokio::select! {
                Some((number, outcome)) = pending.next(), if !pending.is_empty() => match outcome {
                    Ok(()) => self.ledger.relayed(self.partition, number),
                    Err(error) => {
                        tracing::warn!(stream = self.stream.name, number, %error, "publish failed, saying it again");
                        pending.clear();
                        sent = self.ledger.relayed_up_to(self.partition);
                        tokio::time::sleep(PAUSE).await;
                        self.keep_stream(&stop).await;
                    }
                },
                moved = heads.changed(), if !stopping => stopping = moved.is_err(),
                () = stop.cancelled(), if !stopping => stopping = true,
            }
        }
    }

    /// Until the stream is there, or there is no time left for it.
    async fn keep_stream(&self, stop: &CancellationToken) {
        let kept = async {
            while let Err(error) = self.bus.keep_stream(&self.stream).await {
                tracing::warn!(%error, "stream is not in shape, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = kept => {}
            () = stop.cancelled() => {}
        }
    }

    /// Publishes batches from a number on; answers the last number published.
    async fn publish_from(&self, from: i64, to: i64, pending: &mut FuturesOrdered<Acknowledged>) -> i64 {
        let room = i64::try_from(IN_FLIGHT - pending.len()).unwrap_or(1);
        let to = to.min(from + room - 1);
        let batches = match self.ledger.outbox(self.partition, from, to, READ_BYTES).await {
            Ok(batches) => batches,
            Err(error) => {
                tracing::warn!(stream = self.stream.name, %error, "outbox cannot be read, trying again");
                return from - 1;
            }
        };
        let mut sent = from - 1;
        for batch in batches {
            let number = batch.number;
            match self.publish(batch).await {
                Ok(acknowledged) => pending.push_back(acknowledged),
                Err(error) => {
                    tracing::warn!(stream = self.stream.name, number, %error, "publish failed, trying again");
                    return sent;
                }
            }
            sent = number;
        }
        sent
    }

    async fn publish(&self, batch: OutboxBatch) -> Result<Acknowledged, PublishError> {
        let source = self.ledger.identity().id.ledger;
        let incarnation = self.ledger.identity().incarnation;
        let headers = headers(incarnation, &batch);
        let subject = ledgers::subject(source, self.partition);
        let acknowledged = self.bus.jetstream.publish_with_headers(subject, headers, batch.body).await?;
        let number = batch.number;
        // A duplicate is as good: the stream has it.
        Ok(Box::pin(async move { (number, acknowledged.await.map(|_| ())) }))
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
