//! The limits of a gRPC server, as configured.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use http::HeaderValue;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Problem, Validate, join};
use crate::listen::connections::ConnectionLimits;
use crate::listen::{AtOnce, Name};

/// The largest request message, in bytes, after decompression. A legal protobuf message can take sixty times its
/// size once decoded (measured: 4 MiB became 235 MB). Each service sets it: `.max_decoding_message_size(..)`.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// Request headers of one call, in bytes as HTTP/2 counts them (name + value + 32 for each).
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Streams reset for protocol errors of the peer; more on one connection end it. h2's own figure.
const MAX_LOCAL_RESETS: usize = 1024;

/// No timer here has a reason to be longer, and far beyond it the arithmetic of clocks ends.
const LONGEST_MS: u64 = 30 * 24 * 3600 * 1000;

/// Bytes that a client may send on one call, and on one connection, before we have read them: room for a largest
/// message, and a bound on what all connections together can make us keep.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024 + 64;
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;

/// What an HTTP/1 connection (gRPC-Web) may take to hold its headers, in bytes.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;

/// Limits of a gRPC listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Milliseconds after which a connection is closed that has not sent the first bytes of HTTP, and a call refused
    /// whose message has not followed its headers.
    pub opening_timeout_ms: NonZeroU64,
    /// Milliseconds a call may take when its client sets no deadline. Of a stream, the time to its first answer.
    pub default_deadline_ms: NonZeroU64,
    /// Milliseconds a call may take at most, whatever deadline its client sets.
    pub max_deadline_ms: NonZeroU64,
    /// Milliseconds between the pings that find dead connections.
    pub keepalive_interval_ms: NonZeroU64,
    /// Milliseconds after which a client that does not answer a ping is gone.
    pub keepalive_timeout_ms: NonZeroU64,
    /// Age in milliseconds, 10 % more or less, at which a connection is asked to end, so that clients spread over
    /// replicas that came later. Its running calls are finished first.
    pub max_connection_age_ms: NonZeroU64,
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
            opening_timeout_ms: const { NonZeroU64::new(10_000).expect("not zero") },
            default_deadline_ms: const { NonZeroU64::new(30_000).expect("not zero") },
            max_deadline_ms: const { NonZeroU64::new(60_000).expect("not zero") },
            keepalive_interval_ms: const { NonZeroU64::new(30_000).expect("not zero") },
            keepalive_timeout_ms: const { NonZeroU64::new(10_000).expect("not zero") },
            max_connection_age_ms: const { NonZeroU64::new(300_000).expect("not zero") },
            allowed_origins: Vec::new(),
        }
    }
}

impl Validate for GrpcLimits {
    fn problems(&self, at: &str, out: &mut Vec<Problem>) {
        if self.default_deadline_ms > self.max_deadline_ms {
            let key = join(at, "default_deadline_ms");
            out.push(Problem::new(key, "must not be more than max_deadline_ms"));
        }
        let times = [
            ("opening_timeout_ms", self.opening_timeout_ms),
            ("max_deadline_ms", self.max_deadline_ms),
            ("keepalive_interval_ms", self.keepalive_interval_ms),
            ("keepalive_timeout_ms", self.keepalive_timeout_ms),
            ("max_connection_age_ms", self.max_connection_age_ms),
        ];
        let too_long = times.iter().filter(|(_, time)| time.get() > LONGEST_MS);
        out.extend(
            too_long
                .map(|(key, _)| Problem::new(join(at, key), format!("must not be more than {LONGEST_MS} (30 days)"))),
        );
        let wrong = self.allowed_origins.iter().filter(|origin| !is_origin(origin));
        out.extend(wrong.map(|origin| {
            let message = format!("{origin:?} is no origin: write scheme://host[:port] without a path, or *");
            Problem::new(join(at, "allowed_origins"), message)
        }));
    }
}

impl GrpcLimits {
    pub(super) fn connections(&self, name: Name) -> ConnectionLimits {
        ConnectionLimits {
            max_connections: self.max_connections.get(),
            opening_timeout: duration(self.opening_timeout_ms),
            max_age: Some(duration(self.max_connection_age_ms)),
            name: Some(name),
        }
    }

    pub(super) fn http(&self) -> Builder<AtOnce> {
        // Calls that a client opened and reset before we began them; more on one connection end it (CVE-2023-44487,
        // "rapid reset"). Where we are late, a good client gives up all it has open at once: with hyper's own figure, 20,
        // that would cost it its connection, and every call of it.
        let pending_resets = usize::try_from(self.max_calls_per_connection.get()).unwrap_or(usize::MAX);
        let mut http = Builder::new(AtOnce);
        http.http2()
            .timer(TokioTimer::new())
            // Of no use to gRPC, and another header to encode in each answer.
            .auto_date_header(false)
            .max_concurrent_streams(self.max_calls_per_connection.get())
            .keep_alive_interval(duration(self.keepalive_interval_ms))
            .keep_alive_timeout(duration(self.keepalive_timeout_ms))
            .max_header_list_size(MAX_HEADER_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_pending_accept_reset_streams(pending_resets)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS);
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(duration(self.opening_timeout_ms))
            .max_buf_size(HTTP1_BUFFER_BYTES);
        http
    }
}

pub(super) fn duration(milliseconds: NonZeroU64) -> Duration {
    Duration::from_millis(milliseconds.get())
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

    fn problems(limits: &GrpcLimits) -> Vec<String> {
        let mut problems = Vec::new();
        limits.problems("grpc", &mut problems);
        problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn the_defaults_have_no_mistakes_and_survive_a_round_trip() {
        let limits = GrpcLimits::default();
        assert_eq!(problems(&limits), Vec::<String>::new());
        let text = toml::to_string(&limits).expect("serializable");
        assert_eq!(toml::from_str::<GrpcLimits>(&text).expect("the same"), limits);
    }

    #[test]
    fn a_misspelt_key_and_a_zero_are_refused() {
        assert!(toml::from_str::<GrpcLimits>("max_conections = 1").is_err());
        assert!(toml::from_str::<GrpcLimits>("opening_timeout_ms = 0").is_err());
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let limits = GrpcLimits {
            opening_timeout_ms: NonZeroU64::MAX,
            default_deadline_ms: const { NonZeroU64::new(90_000).expect("not zero") },
            allowed_origins: ["shop.example", "https://shop.example/", "https://shop.example:8443"]
                .map(str::to_owned)
                .into(),
            ..GrpcLimits::default()
        };
        let origins = "grpc.allowed_origins";
        assert_eq!(problems(&limits), ["grpc.default_deadline_ms", "grpc.opening_timeout_ms", origins, origins]);
    }
}
