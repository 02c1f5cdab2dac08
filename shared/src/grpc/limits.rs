//! The limits of a gRPC server, as configured.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use http::HeaderValue;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::listen::connections::ConnectionLimits;

/// The largest request message, in bytes, after decompression. A legal protobuf message can take sixty times its
/// size once decoded (measured: 4 MiB became 235 MB). Each service sets it: `.max_decoding_message_size(..)`.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// Request headers of one call, in bytes as HTTP/2 counts them (name + value + 32 for each).
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Calls that a client opened and reset before we began them; more on one connection end it (CVE-2023-44487,
/// "rapid reset"). 20 is hyper's own figure.
const MAX_PENDING_RESETS: usize = 20;

/// Streams reset for protocol errors of the peer; more on one connection end it. h2's own figure.
const MAX_LOCAL_RESETS: usize = 1024;

/// What an HTTP/1 connection (gRPC-Web) may take to hold its headers, in bytes.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;

/// Limits of a gRPC listener. Durations are written like `30s` or `5m`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcLimits {
    /// Connections open at once. One more is told so and closed.
    pub max_connections: NonZeroUsize,

    /// Calls in flight on one connection. The client's library lets further calls wait on its side.
    pub max_calls_per_connection: NonZeroU32,

    /// Unary calls in flight, all connections together. One more is refused with RESOURCE_EXHAUSTED and told when to
    /// try again.
    pub max_calls: NonZeroUsize,

    /// Server streams open at once, all connections together; refused like calls.
    pub max_streams: NonZeroUsize,

    /// A connection that has not sent the first bytes of HTTP by then is closed.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub opening_timeout: Duration,

    /// The time a call may take when its client sets no deadline. Of a stream, the time to its first answer.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub default_deadline: Duration,

    /// The time a call may take at most, whatever deadline its client sets.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub max_deadline: Duration,

    /// Pings a client this often to find dead connections.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub keepalive_interval: Duration,

    /// A client that does not answer a ping within this time is gone.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub keepalive_timeout: Duration,

    /// A connection is asked to end at this age, 10 % more or less, so that clients spread over replicas that came
    /// later. Its running calls are finished first.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub max_connection_age: Duration,

    /// Web pages that may call with gRPC-Web from a browser, as origins (`https://shop.example`), or `*` for all.
    /// Empty: none but pages from this server's own origin.
    pub allowed_origins: Vec<String>,
}

impl Default for GrpcLimits {
    fn default() -> GrpcLimits {
        GrpcLimits {
            max_connections: const { NonZeroUsize::new(1024).expect("not zero") },
            max_calls_per_connection: const { NonZeroU32::new(256).expect("not zero") },
            max_calls: const { NonZeroUsize::new(8192).expect("not zero") },
            max_streams: const { NonZeroUsize::new(4096).expect("not zero") },
            opening_timeout: Duration::from_secs(10),
            default_deadline: Duration::from_secs(30),
            max_deadline: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            max_connection_age: Duration::from_secs(300),
            allowed_origins: Vec::new(),
        }
    }
}

impl GrpcLimits {
    /// Everything that is wrong with the values, each as `key: what is wrong`. Empty when they can be served with.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let durations = [
            ("opening_timeout", self.opening_timeout),
            ("default_deadline", self.default_deadline),
            ("max_deadline", self.max_deadline),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
            ("max_connection_age", self.max_connection_age),
        ];
        let zeros = durations.iter().filter(|(_, value)| value.is_zero());
        let mut mistakes: Vec<String> = zeros.map(|(key, _)| format!("{key}: must be longer than 0")).collect();
        if self.default_deadline > self.max_deadline {
            mistakes.push("default_deadline: must not be longer than max_deadline".to_owned());
        }
        let origins = self.allowed_origins.iter().filter(|origin| !is_origin(origin));
        mistakes.extend(origins.map(|origin| {
            format!("allowed_origins: {origin:?} is not an origin: write scheme://host[:port] without a path, or *")
        }));
        mistakes
    }

    pub(super) fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            max_connections: self.max_connections.get(),
            opening_timeout: self.opening_timeout,
            max_age: Some(self.max_connection_age),
        }
    }

    pub(super) fn http(&self) -> Builder<TokioExecutor> {
        let mut http = Builder::new(TokioExecutor::new());
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_calls_per_connection.get())
            .keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout)
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS);
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.opening_timeout)
            .max_buf_size(HTTP1_BUFFER_BYTES);
        http
    }
}

fn is_origin(origin: &str) -> bool {
    let is_serialized = origin.split_once("://").is_some_and(|(scheme, host)| {
        let has_host = !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']);
        matches!(scheme, "http" | "https") && has_host
    });
    origin == "*" || (is_serialized && HeaderValue::from_str(origin).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_mistakes_and_survive_a_round_trip() {
        let limits = GrpcLimits::default();
        assert_eq!(limits.mistakes(), Vec::<String>::new());
        let text = toml::to_string(&limits).expect("serializable");
        assert!(text.contains("opening_timeout = \"10s\""), "{text}");
        assert_eq!(toml::from_str::<GrpcLimits>(&text).expect("the same"), limits);
    }

    #[test]
    fn a_misspelt_key_and_a_zero_are_refused() {
        assert!(toml::from_str::<GrpcLimits>("max_conections = 1").is_err());
        assert!(toml::from_str::<GrpcLimits>("max_connections = 0").is_err());
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let limits = GrpcLimits {
            opening_timeout: Duration::ZERO,
            default_deadline: Duration::from_secs(90),
            allowed_origins: vec!["shop.example".to_owned(), "https://shop.example/path".to_owned()],
            ..GrpcLimits::default()
        };
        assert_eq!(limits.mistakes().len(), 4);
    }
}
