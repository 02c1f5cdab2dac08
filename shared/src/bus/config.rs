//! How a role reaches NATS, and how its streams are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::servers::Servers;
use crate::config::without_credentials;

/// NATS and JetStream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BusConfig {
    /// Where the servers are: URLs, separated by commas. `up` starts one of its own unless told otherwise.
    #[serde(serialize_with = "shown")]
    pub url: String,
    /// What a role's streams keep.
    pub stream: StreamConfig,
    /// How roles listen.
    pub consumer: ConsumerConfig,
}

/// Never with the name and password that may stand in it, whether or not a scheme stands before them.
fn shown<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown_url(url))
}

/// Where the servers are, without the names and passwords that may stand in it.
pub(crate) fn shown_url(url: &str) -> String {
    let each = url.split(',').map(|one| match one.contains("://") {
        true => without_credentials(one.trim()),
        false => without_credentials(&format!("nats://{}", one.trim())),
    });
    each.collect::<Vec<_>>().join(",")
}

impl Default for BusConfig {
    fn default() -> Self {
        BusConfig {
            url: "nats://127.0.0.1:14222".to_owned(),
            stream: StreamConfig::default(),
            consumer: ConsumerConfig::default(),
        }
    }
}

/// What a stream keeps. The oldest is dropped first; whoever has not heard it asks the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StreamConfig {
    /// Age of the oldest message in seconds.
    pub max_age_s: u64,
    /// Bytes of a stream, which JetStream sets aside on its disk. Where this is not set, `up` takes less for a nats-server of
    /// its own whose disk has no room for so much.
    pub max_bytes: i64,
    /// Servers that keep a copy: 1, 3 or 5.
    pub replicas: usize,
}

impl Default for StreamConfig {
    fn default() -> Self {
        StreamConfig { max_age_s: 24 * 3600, max_bytes: 1 << 30, replicas: 1 }
    }
}

/// How a role listens to a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerConfig {
    /// Seconds after which a message that was not acknowledged is delivered again.
    pub ack_wait_s: u64,
    /// Messages delivered and not yet acknowledged.
    pub max_ack_pending: i64,
    /// Messages asked for at a time.
    pub pull_messages: usize,
    /// Milliseconds for which a missing batch is waited for before its ledger is asked for it.
    pub missing_after_ms: u64,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        ConsumerConfig { ack_wait_s: 30, max_ack_pending: 1000, pull_messages: 200, missing_after_ms: 2000 }
    }
}

impl BusConfig {
    /// Everything that is wrong with it: (key, problem).
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.url.trim().is_empty() {
            problems.push(("url", "must not be empty".to_owned()));
        } else if let Err(problem) = Servers::of(&self.url) {
            problems.push(("url", problem));
        }
        if ![1, 3, 5].contains(&self.stream.replicas) {
            problems.push(("stream.replicas", "must be 1, 3 or 5".to_owned()));
        }
        let least_one = [
            ("stream.max_age_s", self.stream.max_age_s),
            ("stream.max_bytes", u64::try_from(self.stream.max_bytes).unwrap_or(0)),
            ("consumer.ack_wait_s", self.consumer.ack_wait_s),
            ("consumer.max_ack_pending", u64::try_from(self.consumer.max_ack_pending).unwrap_or(0)),
            ("consumer.pull_messages", u64::try_from(self.consumer.pull_messages).unwrap_or(0)),
            ("consumer.missing_after_ms", self.consumer.missing_after_ms),
        ];
        problems.extend(least_one.into_iter().filter(|(_, v)| *v == 0).map(|(k, _)| (k, "must be at least 1".into())));
        problems
    }
}
