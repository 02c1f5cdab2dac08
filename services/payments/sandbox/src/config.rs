//! What an operator can set. The doc comments are the manual.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The sandbox payment provider: an HTTP server with a ledger of its own, for trying out and testing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Where the provider's HTTP API listens, `/sandbox/*` included. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/health`, `/ready` and `/info` are answered. Port 0 takes a free one.
    pub admin: SocketAddr,
    /// When set, every request to `/v1/*` must carry `Authorization: Bearer <token>`, else it is answered 401.
    /// `/sandbox/*` never asks for it: whoever reaches the listener may steer the sandbox.
    #[schemars(extend("writeOnly" = true))]
    pub token: Option<String>,
    /// How long an idempotency key is remembered, in milliseconds; after that it is a new charge. 24 hours, as at
    /// Stripe.
    pub key_window_ms: u64,
    /// For how long a charge or refund cannot be found by a lookup after it was made, in milliseconds. A mode can
    /// change it while running.
    pub lookup_lag_ms: u64,
    /// How long `pm_slow` takes before it is executed and answered, in milliseconds.
    pub slow_ms: u64,
    /// How long `pm_pending` stays pending before it has succeeded, in milliseconds.
    pub pending_ms: u64,
    /// How long `pm_timeout_before` holds the first request of a key before it cuts the connection, in milliseconds.
    pub hold_ms: u64,
    /// What a commit waits for before its charges are answered.
    pub synchronous: Synchronous,
    /// Connections served at once by each listener; further ones wait to be accepted.
    pub max_connections: NonZeroUsize,
    /// A connection with nothing to say for so long is closed, in milliseconds. Longer than the 90 seconds after
    /// which common client pools drop an idle connection themselves, so that no request meets a closing one.
    pub idle_timeout_ms: u64,
    /// How long requests in hand may take to end at shutdown, in milliseconds; then their connections are cut.
    pub drain_ms: u64,
}

/// What a commit waits for (SQLite's `synchronous`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Synchronous {
    /// Every commit reaches the disk before its charges are answered: they survive a power cut.
    Full,
    /// The disk is left to the operating system: charges survive a crash of the process, not a power cut.
    Off,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8086)),
            token: None,
            key_window_ms: 24 * 60 * 60 * 1000,
            lookup_lag_ms: 0,
            slow_ms: 5_000,
            pending_ms: 2_000,
            hold_ms: 5_000,
            synchronous: Synchronous::Full,
            max_connections: NonZeroUsize::new(1_024).expect("1,024 is not zero"),
            idle_timeout_ms: 120_000,
            drain_ms: 2_000,
        }
    }
}

/// All but the token, which no log may show.
impl fmt::Debug for SandboxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxConfig")
            .field("listen", &self.listen)
            .field("admin", &self.admin)
            .field("token", &self.token.as_ref().map(|_| "(secret)"))
            .field("key_window_ms", &self.key_window_ms)
            .field("lookup_lag_ms", &self.lookup_lag_ms)
            .field("slow_ms", &self.slow_ms)
            .field("pending_ms", &self.pending_ms)
            .field("hold_ms", &self.hold_ms)
            .field("synchronous", &self.synchronous)
            .field("max_connections", &self.max_connections)
            .field("idle_timeout_ms", &self.idle_timeout_ms)
            .field("drain_ms", &self.drain_ms)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_key_is_an_error_that_names_it() {
        let wrong = serde_json::from_str::<SandboxConfig>(r#"{"lookup_lagg_ms": 1}"#);
        let message = wrong.expect_err("a misspelled key is no setting").to_string();
        assert!(message.contains("lookup_lagg_ms"), "{message}");
    }

    #[test]
    fn a_debug_print_never_shows_the_token() {
        let config = SandboxConfig { token: Some("hush".to_owned()), ..SandboxConfig::default() };
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn the_defaults_survive_a_round_trip_through_json() {
        let config = SandboxConfig::default();
        let text = serde_json::to_string(&config).expect("a configuration is JSON");
        assert_eq!(serde_json::from_str::<SandboxConfig>(&text).expect("its own JSON"), config);
    }
}
