//! Streams and consumers, kept in shape by the roles that own them. Nothing is ever deleted, purged or created over.

use std::future::Future;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, FromConsumer as _, PullConsumer, pull};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use spillway_proto::ledgers::StreamSpec;

use super::connection::Bus;
use super::differences;
use super::shape::Looked;

/// JetStream absorbs a relay's retries under the same id for this long.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// How long JetStream is waited for.
const ANSWER: Duration = Duration::from_secs(5);

/// JetStream did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct StreamError {
    pub what: String,
    pub why: String,
    /// It is a stream that is not there, and that JetStream does not make.
    pub is_absent: bool,
}

impl StreamError {
    fn new(what: &str, why: impl Into<String>) -> StreamError {
        StreamError { what: what.to_owned(), why: why.into(), is_absent: false }
    }
}

fn failed(what: String) -> impl Fn(&dyn std::error::Error) -> StreamError {
    move |error| StreamError::new(&what, error.to_string())
}

/// A consumer that is as it should be.
pub(super) struct Kept {
    pub consumer: PullConsumer,
    /// It was not, and is so again.
    pub is_changed_back: bool,
}

impl Bus {
    /// Asks JetStream something, and notes whether it answers.
    async fn ask<T>(&self, what: &str, asked: impl Future<Output = T>) -> Result<T, StreamError> {
        match tokio::time::timeout(ANSWER, asked).await {
            Ok(answer) => Ok(answer),
            Err(_elapsed) => {
                if self.is_connected() {
                    self.answering.was_silent(&format!("it was asked for {what}"));
                }
                let why = format!("no answer within {} s", ANSWER.as_secs());
                Err(StreamError::new(what, why))
            }
        }
    }

    /// Creates the stream where there is none; changes only what differs, and nothing that would lose what it holds.
    pub(super) async fn keep_stream(&self, spec: &StreamSpec) -> Result<Looked, StreamError> {
        let wanted = self.stream_config(spec);
        let what = format!("stream {}", spec.name);
        let error = failed(what.clone());
        match self.ask(&what, self.jetstream.get_stream(&spec.name)).await? {
            Ok(found) => {
                self.answering.answered();
                let found = found.cached_info();
                let differences = differences::of_stream(&found.config, &wanted);
                if differences.is_empty() {
                    return Ok(Looked::at(found, None));
                }
                tracing::warn!(stream = spec.name, ?differences, "stream is not as configured, changing it back");
                metrics::counter!("spillway_streams_changed_back_total", "role" => self.role()).increment(1);
                let changed = self.jetstream.update_stream(differences::stream_changed_back(&found.config, wanted));
                let problem = self.ask(&what, changed).await?.err().map(|error| {
                    format!("it differs ({}) and cannot be changed back: {error}", differences.join(", "))
                });
                Ok(Looked { is_changed_back: problem.is_none(), ..Looked::at(found, problem) })
            }
            Err(absent) if is_not_found(&absent) => {
                self.answering.answered();
                tracing::info!(stream = spec.name, "creating stream");
                let wanted_bytes = wanted.max_bytes;
                let created = self.ask(&what, self.jetstream.create_stream(wanted)).await?;
                let created =
                    created.map_err(|e| StreamError { is_absent: true, ..refused(&what, &e, wanted_bytes) })?;
                metrics::counter!("spillway_streams_created_total", "role" => self.role()).increment(1);
                Ok(Looked { is_new: true, ..Looked::at(created.cached_info(), None) })
            }
            Err(other) => Err(error(&other)),
        }
    }

    fn stream_config(&self, spec: &StreamSpec) -> stream::Config {
        let kept = &self.config.stream;
        stream::Config {
            name: spec.name.clone(),
            subjects: spec.subjects.clone(),
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            max_age: Duration::from_secs(kept.max_age_s),
            max_bytes: kept.max_bytes,
            num_replicas: kept.replicas,
            duplicate_window: DUPLICATE_WINDOW.min(Duration::from_secs(kept.max_age_s)),
            allow_direct: true,
            ..stream::Config::default()
        }
    }

    /// A durable consumer on a stream. Read first: a create that is refused may destroy what is there.
    pub(super) async fn keep_consumer(&self, stream: &str, subject: &str, durable: &str) -> Result<Kept, StreamError> {
        let what = format!("consumer {durable} of stream {stream}");
        let error = failed(what.clone());
        let wanted = self.consumer_config(subject, durable);
        let found: Result<PullConsumer, _> =
            self.ask(&what, self.jetstream.get_consumer_from_stream(durable, stream)).await?;
        match found {
            Ok(consumer) => {
                self.answering.answered();
                let info = consumer.cached_info();
                let found = pull::Config::try_from_consumer_config(info.config.clone());
                let found = found.map_err(|e| StreamError::new(&what, e.to_string()))?;
                let differences = differences::of_consumer(&found, &wanted, info.paused);
                if differences.is_empty() {
                    return Ok(Kept { consumer, is_changed_back: false });
                }
                tracing::warn!(stream, durable, ?differences, "consumer is not as configured, changing it back");
                metrics::counter!("spillway_consumers_changed_back_total", "role" => self.role()).increment(1);
                if info.paused {
                    self.resume(stream, durable).await?;
                }
                let back = differences::consumer_changed_back(found, wanted);
                let changed = self.jetstream.update_consumer_on_stream(back, stream);
                let consumer = self.ask(&what, changed).await?.map_err(|e| {
                    let why = format!("it differs ({}) and cannot be changed back: {e}", differences.join(", "));
                    StreamError::new(&what, why)
                })?;
                Ok(Kept { consumer, is_changed_back: true })
            }
            Err(absent) if is_consumer_not_found(&absent) => {
                self.answering.answered();
                tracing::info!(stream, durable, "creating consumer");
                let created = self.jetstream.create_consumer_strict_on_stream(wanted, stream);
                let created = self.ask(&what, created).await?.map_err(|e| error(&e))?;
                metrics::counter!("spillway_consumers_created_total", "role" => self.role()).increment(1);
                Ok(Kept { consumer: created, is_changed_back: false })
            }
            Err(other) => Err(error(&other)),
        }
    }

    /// An update leaves a pause as it is: it has a request of its own, which without a time ends it.
    async fn resume(&self, stream: &str, durable: &str) -> Result<(), StreamError> {
        let what = format!("consumer {durable} of stream {stream}");
        let nothing = serde_json::json!({});
        let asked = self.jetstream.request(format!("CONSUMER.PAUSE.{stream}.{durable}"), &nothing);
        let answer: serde_json::Value = self.ask(&what, asked).await?.map_err(|e| failed(what.clone())(&e))?;
        match answer.get("error") {
            None => Ok(()),
            Some(error) => Err(StreamError::new(&what, format!("it is paused and cannot be resumed: {error}"))),
        }
    }

    fn consumer_config(&self, subject: &str, durable: &str) -> pull::Config {
        let listen = &self.config.consumer;
        pull::Config {
            durable_name: Some(durable.to_owned()),
            filter_subject: subject.to_owned(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(listen.ack_wait_s),
            max_ack_pending: listen.max_ack_pending,
            max_deliver: -1,
            ..pull::Config::default()
        }
    }
}

/// Why a stream was not made: what its server has no room for is set aside for each stream.
fn refused(what: &str, error: &jetstream::context::CreateStreamError, max_bytes: i64) -> StreamError {
    use jetstream::context::CreateStreamErrorKind::JetStream;
    let why = match error.kind() {
        JetStream(e) if e.error_code() == jetstream::ErrorCode::STORAGE_RESOURCES_EXCEEDED => format!(
            "JetStream refuses it: insufficient storage. It sets aside nats.stream.max_bytes ({max_bytes} bytes) for each \
             stream: set less, or give its disk more room"
        ),
        _ => format!("JetStream refuses it: {error}"),
    };
    StreamError::new(what, why)
}

fn is_not_found(error: &jetstream::context::GetStreamError) -> bool {
    use jetstream::context::GetStreamErrorKind::JetStream;
    matches!(error.kind(), JetStream(e) if e.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND)
}

fn is_consumer_not_found(error: &stream::ConsumerError) -> bool {
    use stream::ConsumerErrorKind::JetStream;
    matches!(error.kind(), JetStream(e) if e.error_code() == jetstream::ErrorCode::CONSUMER_NOT_FOUND)
}
