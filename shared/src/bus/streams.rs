//! Streams and consumers, kept in shape by the roles that own them. Nothing is ever deleted, purged or created over.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use spillway_proto::ledgers::StreamSpec;

use super::connection::Bus;

/// JetStream absorbs a relay's retries under the same id for this long.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// JetStream did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct StreamError {
    pub what: String,
    pub why: String,
}

fn failed(what: String) -> impl Fn(&dyn std::error::Error) -> StreamError {
    move |error| StreamError { what: what.clone(), why: error.to_string() }
}

impl Bus {
    /// Creates the stream where there is none; changes only what differs.
    pub async fn keep_stream(&self, spec: &StreamSpec) -> Result<(), StreamError> {
        let wanted = self.stream_config(spec);
        let error = failed(format!("stream {}", spec.name));
        match self.jetstream.get_stream(&spec.name).await {
            Ok(found) => {
                let found = &found.cached_info().config;
                if !stream_differs(found, &wanted) {
                    return Ok(());
                }
                tracing::info!(stream = spec.name, ?wanted, "changing stream");
                let mut changed = found.clone();
                changed.subjects.clone_from(&wanted.subjects);
                changed.max_age = wanted.max_age;
                changed.max_bytes = wanted.max_bytes;
                changed.num_replicas = wanted.num_replicas;
                changed.discard = wanted.discard;
                self.jetstream.update_stream(changed).await.map_err(|e| error(&e))?;
                Ok(())
            }
            Err(absent) if is_not_found(&absent) => {
                tracing::info!(stream = spec.name, "creating stream");
                self.jetstream.create_stream(wanted).await.map_err(|e| error(&e))?;
                Ok(())
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
    pub(super) async fn keep_consumer(
        &self,
        stream: &str,
        subject: &str,
        durable: &str,
    ) -> Result<PullConsumer, StreamError> {
        let error = failed(format!("consumer {durable} of stream {stream}"));
        let listen = &self.config.consumer;
        let wanted = pull::Config {
            durable_name: Some(durable.to_owned()),
            filter_subject: subject.to_owned(),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(listen.ack_wait_s),
            max_ack_pending: listen.max_ack_pending,
            max_deliver: -1,
            ..pull::Config::default()
        };
        let found: Result<PullConsumer, _> = self.jetstream.get_consumer_from_stream(durable, stream).await;
        match found {
            Ok(consumer) => {
                let config = &consumer.cached_info().config;
                let same = config.ack_wait == wanted.ack_wait && config.max_ack_pending == wanted.max_ack_pending;
                if same {
                    return Ok(consumer);
                }
                tracing::info!(stream, durable, "changing consumer");
                self.jetstream.update_consumer_on_stream(wanted, stream).await.map_err(|e| error(&e))
            }
            Err(absent) if is_consumer_not_found(&absent) => {
                tracing::info!(stream, durable, "creating consumer");
                self.jetstream.create_consumer_strict_on_stream(wanted, stream).await.map_err(|e| error(&e))
            }
            Err(other) => Err(error(&other)),
        }
    }
}

fn stream_differs(found: &stream::Config, wanted: &stream::Config) -> bool {
    let mut subjects = (found.subjects.clone(), wanted.subjects.clone());
    subjects.0.sort();
    subjects.1.sort();
    subjects.0 != subjects.1
        || found.max_age != wanted.max_age
        || found.max_bytes != wanted.max_bytes
        || found.num_replicas != wanted.num_replicas
        || found.discard != wanted.discard
}

fn is_not_found(error: &jetstream::context::GetStreamError) -> bool {
    use jetstream::context::GetStreamErrorKind::JetStream;
    matches!(error.kind(), JetStream(e) if e.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND)
}

fn is_consumer_not_found(error: &stream::ConsumerError) -> bool {
    use stream::ConsumerErrorKind::JetStream;
    matches!(error.kind(), JetStream(e) if e.error_code() == jetstream::ErrorCode::CONSUMER_NOT_FOUND)
}
