//! The listener: pull what is there, decide it, commit it, acknowledge it, pull again.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures::{FutureExt, StreamExt};
use spillway_proto::batch::BatchNumber;
use spillway_proto::{Ledger as Source, Partition, ledgers};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::connection::Bus;
use super::relay::read_headers;
use super::streams::StreamError;
use crate::ledger::{Batch, Came, IncidentKind, Ledger, Line, Origin, Service};
use crate::steps::step_about;

/// Messages that go into one commit from one stream.
const GATHER: usize = 256;

/// Events that go into one commit from one stream, about: their bytes.
const GATHER_BYTES: usize = 2 << 20;

/// A pull that hears nothing for twice this long is made anew.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// How often a consumer that is listened to is looked at: somebody may have changed or paused it.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// After JetStream or the ledger refused.
const PAUSE: Duration = Duration::from_millis(500);

/// A consumer as it was met.
struct Met {
    /// When it was made, as Unix time in nanoseconds.
    made: i128,
    /// It has delivered nothing yet.
    is_unused: bool,
}

/// Hears one source in one partition.
pub(super) struct Listener<S: Service> {
    pub ledger: Ledger<S>,
    pub bus: Bus,
    pub source: Source,
    pub partition: Partition,
    /// Its name.
    pub stream: Arc<str>,
    /// Told when a message could not be read, so that its number is asked for.
    pub unread: Arc<Notify>,
    /// Whether its consumer is there, for readiness.
    pub state: watch::Sender<Result<(), String>>,
}

impl<S: Service> Listener<S> {
    pub async fn run(self, stop: CancellationToken) {
        let stream = self.stream.clone();
        let subject = ledgers::subject(self.source, self.partition);
        let durable = self.ledger.identity().id.name();
        let mut known = None;
        loop {
            let pulled = tokio::select! {
                pulled = self.pull(&stream, &subject, &durable) => pulled,
                () = stop.cancelled() => return,
            };
            match pulled {
                Ok((consumer, messages)) => {
                    if known
                        .replace(consumer.made)
                        .map_or(consumer.is_unused && self.has_heard(), |k| k != consumer.made)
                    {
                        self.ledger.note(IncidentKind::ConsumerRecreated, self.source.name(), self.partition, 1);
                    }
                    drop(self.state.send_replace(Ok(())));
                    let stopped = tokio::select! {
                        stopped = self.hear_all(messages, &stop) => stopped,
                        () = self.until_replaced(consumer.made, &stream, &subject, &durable) => false,
                    };
                    if stopped {
                        return;
                    }
                }
                Err(why) => {
                    tracing::debug!(%stream, why, "not listening yet");
                    drop(self.state.send_replace(Err(why)));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn pull(&self, stream: &str, subject: &str, durable: &str) -> Result<(Met, pull::Stream), String> {
        let consumer = self.keep(stream, subject, durable).await.map_err(|e| e.to_string())?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(self.bus.config.consumer.pull_messages)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(|e| format!("consumer {durable} of stream {stream}: {e}"))?;
        let is_unused = consumer.cached_info().delivered.consumer_sequence == 0;
        Ok((Met { made: made_at(&consumer), is_unused }, messages))
    }

    /// Whether anything of the source was ever heard: then its consumer was there before.
    fn has_heard(&self) -> bool {
        let inbox = self.ledger.inbox().borrow().clone();
        inbox.lines().any(|(line, mark)| {
            line.source == self.source
                && line.partition == self.partition
                && (mark.number > 0 || !mark.above.is_empty())
        })
    }

    async fn keep(&self, stream: &str, subject: &str, durable: &str) -> Result<PullConsumer, StreamError> {
        let kept = self.bus.keep_consumer(stream, subject, durable).await?;
        if kept.is_changed_back {
            self.ledger.note(IncidentKind::ConsumerChangedBack, self.source.name(), self.partition, 1);
        }
        Ok(kept.consumer)
    }

    /// Keeps the consumer in shape while it is listened to, until it is another one under the same name.
    async fn until_replaced(&self, known: i128, stream: &str, subject: &str, durable: &str) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if !self.bus.is_connected() {
                continue;
            }
            match self.keep(stream, subject, durable).await {
                Ok(consumer) if made_at(&consumer) == known => drop(self.state.send_replace(Ok(()))),
                Ok(_) => {
                    tracing::warn!(stream, durable, "consumer was made anew, listening to the new one");
                    return;
                }
                Err(error) => drop(self.state.send_replace(Err(error.to_string()))),
            }
        }
    }

    /// Until the pull breaks (false), or `stop` (true). What was delivered by then is still heard, and no more is asked for.
    async fn hear_all(&self, mut messages: pull::Stream, stop: &CancellationToken) -> bool {
        loop {
            let first = tokio::select! {
                first = messages.next() => first,
                () = stop.cancelled() => match messages.next().now_or_never() {
                    Some(delivered) => delivered,
                    None => return true,
                },
            };
            let is_last = stop.is_cancelled();
            let (mut gathered, mut bytes) = (Vec::new(), 0);
            let mut next = first;
            let broken = loop {
                match next {
                    Some(Ok(message)) if is_stripped(&message) => {
                        tracing::warn!(source = %self.source, "a message came without its body: somebody changed the consumer");
                    }
                    Some(Ok(message)) => {
                        bytes += message.payload.len();
                        gathered.push(message);
                    }
                    Some(Err(error)) => {
                        tracing::debug!(source = %self.source, %error, "pull broke");
                        break true;
                    }
                    None => break true,
                }
                if gathered.len() >= GATHER || bytes >= GATHER_BYTES {
                    break false;
                }
                match messages.next().now_or_never() {
                    Some(more) => next = more,
                    None => break false,
                }
            };
            if !gathered.is_empty() {
                self.step("consumer.fetched");
                if self.hear(&mut gathered, stop).await {
                    self.acknowledge(&gathered).await;
                    self.step("consumer.acked");
                }
            }
            if is_last || broken {
                return is_last;
            }
        }
    }

    /// A named step, about the ledger that listens.
    fn step(&self, name: &str) {
        step_about(name, self.ledger.identity().id.ledger.name().as_bytes());
    }

    /// Commits what was gathered. False where it was not taken before `stop`: it will be delivered again.
    async fn hear(&self, messages: &mut [Message], stop: &CancellationToken) -> bool {
        let came: Vec<Came> = messages.iter_mut().map(|message| self.came(message)).collect();
        let again = came.iter().filter(|came| came.delivered > 1).count();
        if again > 0 {
            metrics::counter!("spillway_redeliveries_total", "role" => self.ledger.identity().id.ledger.name(),
                "source" => self.source.name())
            .increment(again as u64);
        }
        loop {
            match self.ledger.take(&came).await {
                Ok(()) => {
                    self.tell_unread(&came);
                    return true;
                }
                Err(error) => {
                    tracing::warn!(ledger = %self.ledger.identity().id, source = %self.source, %error,
                        "what was heard was not taken, trying again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return false,
            }
        }
    }

    /// A number that is still not heard belongs to a message that could not be read.
    fn tell_unread(&self, came: &[Came]) {
        let inbox = self.ledger.inbox().borrow().clone();
        let is_unread = |number: &BatchNumber| {
            inbox.mark(&Line::of(self.source, number)).is_none_or(|mark| !mark.has(number.number))
        };
        if came.iter().any(|came| came.batch.number.as_ref().is_some_and(is_unread)) {
            self.unread.notify_one();
        }
    }

    /// What came with a message, whose headers are taken out of it.
    fn came(&self, message: &mut Message) -> Came {
        let (number, time_us) = read_headers(self.source, message.headers.as_ref());
        let delivered = message.info().map_or(1, |info| info.delivered);
        let batch = Batch { source: self.source, number, time_us, body: message.payload.clone(), asked: false };
        let looked = Looked { stream: self.stream.clone(), headers: message.message.headers.take() };
        Came { batch, delivered, origin: Some(Arc::new(looked)) }
    }

    /// An acknowledgement that gets lost means a redelivery, which changes nothing.
    async fn acknowledge(&self, messages: &[Message]) {
        for message in messages {
            if let Err(error) = message.ack().await {
                tracing::debug!(source = %self.source, %error, "acknowledgement was not sent");
            }
        }
    }
}

/// When a consumer was made, as Unix time in nanoseconds: whether it is still the same.
fn made_at(consumer: &PullConsumer) -> i128 {
    consumer.cached_info().created.unix_timestamp_nanos()
}

/// Whether only the headers were delivered (`headers_only` of a consumer). It is not acknowledged: it comes again once the
/// consumer is changed back, or its number is asked for.
fn is_stripped(message: &Message) -> bool {
    let size = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Size"));
    message.payload.is_empty() && size.is_some_and(|size| size.as_str() != "0")
}

/// How a message looked.
struct Looked {
    stream: Arc<str>,
    headers: Option<HeaderMap>,
}

impl Origin for Looked {
    fn stream(&self) -> &str {
        &self.stream
    }

    fn headers(&self) -> Vec<(String, String)> {
        let all = self.headers.iter().flat_map(|headers| headers.iter());
        all.flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string()))).collect()
    }
}
