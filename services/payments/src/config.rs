//! What an operator can set. The doc comments are the manual.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spillway_shared::config::{Problem, Secret, Validate, join};

use crate::domain::{Policy, Retry};

/// Charging orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PaymentsConfig {
    /// Calls to the provider at a time, over all partitions: a provider that answers in 0.2 s is asked 2,500 times a
    /// second by 512. Fewer where the provider bears fewer.
    pub workers: NonZeroUsize,
    /// The payment provider.
    pub provider: ProviderConfig,
    /// When calls to a sick provider stop.
    pub breaker: BreakerConfig,
    /// When a call that settled nothing is tried again.
    pub retry: RetryConfig,
    /// Calls to the provider a second at most while what waited during an outage is worked off; 0 for no bound. It can
    /// be changed while running: `spillway flow set payments.drain_rate`.
    pub drain_rate: u32,
}

/// The payment provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    /// Its address: http or https, with a path if it has one.
    pub url: String,
    /// The bearer token that it asks for.
    pub token: Option<Secret>,
    /// A file that holds the token. It is read again when the provider refuses the token.
    pub token_file: Option<PathBuf>,
    /// How long a call may take, in milliseconds; after that nothing is known of its end.
    pub timeout_ms: u64,
    /// How long connecting may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// For how long the provider knows an idempotency key, in seconds: within it the same call again cannot charge
    /// twice. No longer than the provider promises; Stripe promises 24 hours.
    pub key_window_s: u64,
    /// After so many seconds a charge that the provider does not show was never carried out: longer than its slowest
    /// charge takes and its lookups lag behind.
    pub in_flight_s: u64,
}

/// When calls to a sick provider stop. A decline is no failure; a timeout, a refused or broken connection, 5xx, 429
/// and a refused token are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// Failures in a row after which no more calls are made.
    pub failures: NonZeroU32,
    /// For how long, in milliseconds; then one call at a time tries.
    pub open_ms: u64,
}

/// When a call that settled nothing is tried again: exponential, with full jitter, by the class of what came of it. The
/// schedule is kept in the ledger. What waits because calls are stopped spends no try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// It was surely not carried out: no connection, 503, a refused token.
    pub unavailable: ClassConfig,
    /// Too many calls; the provider's own Retry-After comes first.
    pub throttled: ClassConfig,
    /// No answer, or none that can be understood: a timeout, a broken connection, 5xx.
    pub unknown: ClassConfig,
    /// The provider has not decided yet.
    pub pending: ClassConfig,
}

/// The tries after one class of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassConfig {
    /// The first wait is up to so many milliseconds; each further one up to twice as long.
    pub base_ms: u64,
    /// The longest wait, in milliseconds.
    pub max_ms: u64,
    /// After so many tries in all, an answer of this class parks the payment for a human; 0 for never. What the
    /// provider says of it later still counts.
    pub tries: u32,
}

impl Default for ClassConfig {
    fn default() -> Self {
        ClassConfig { base_ms: 500, max_ms: 60_000, tries: 0 }
    }
}

impl ClassConfig {
    fn retry(&self) -> Retry {
        let millis = Duration::from_millis;
        Retry { base: millis(self.base_ms), max: millis(self.max_ms), tries: i64::from(self.tries) }
    }
}

impl Default for PaymentsConfig {
    fn default() -> Self {
        PaymentsConfig {
            workers: NonZeroUsize::new(512).expect("not zero"),
            provider: ProviderConfig::default(),
            breaker: BreakerConfig::default(),
            retry: RetryConfig::default(),
            drain_rate: 0,
        }
    }
}

impl Default for ProviderConfig {
    fn default() -> Self {
        ProviderConfig {
            url: "http://127.0.0.1:8090".to_owned(),
            token: None,
            token_file: None,
            timeout_ms: 10_000,
            connect_timeout_ms: 3_000,
            key_window_s: 24 * 3600,
            in_flight_s: 600,
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        BreakerConfig { failures: NonZeroU32::new(5).expect("not zero"), open_ms: 30_000 }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        let class = ClassConfig::default();
        RetryConfig {
            // At the longest waits, about two and four hours of nothing else.
            unavailable: ClassConfig { tries: 500, ..class },
            throttled: ClassConfig { tries: 500, ..class },
            unknown: ClassConfig { tries: 250, ..class },
            // A bank may take days.
            pending: class,
        }
    }
}

impl RetryConfig {
    fn classes(&self) -> [(&'static str, &ClassConfig); 4] {
        let RetryConfig { unavailable, throttled, unknown, pending } = self;
        [("unavailable", unavailable), ("throttled", throttled), ("unknown", unknown), ("pending", pending)]
    }
}

impl PaymentsConfig {
    /// The figures that decisions go by.
    pub fn policy(&self) -> Policy {
        Policy {
            key_window: Duration::from_secs(self.provider.key_window_s),
            in_flight: Duration::from_secs(self.provider.in_flight_s),
            call_timeout: self.call_timeout(),
            unavailable: self.retry.unavailable.retry(),
            throttled: self.retry.throttled.retry(),
            unknown: self.retry.unknown.retry(),
            pending: self.retry.pending.retry(),
        }
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.provider.timeout_ms)
    }
}

impl Validate for PaymentsConfig {
    fn problems(&self, at: &str, out: &mut Vec<Problem>) {
        let provider = &self.provider;
        let at_provider = |key: &str| join(&join(at, "provider"), key);
        let scheme = provider.url.parse::<Uri>().ok().and_then(|uri| uri.scheme_str().map(str::to_owned));
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            out.push(Problem::new(at_provider("url"), "must begin with http:// or https://"));
        }
        if provider.token.is_some() && provider.token_file.is_some() {
            out.push(Problem::new(at_provider("token_file"), "is given beside token: leave one of them out"));
        }
        for (key, value) in [
            (at_provider("timeout_ms"), provider.timeout_ms),
            (at_provider("connect_timeout_ms"), provider.connect_timeout_ms),
            (at_provider("in_flight_s"), provider.in_flight_s),
            (join(&join(at, "breaker"), "open_ms"), self.breaker.open_ms),
        ] {
            if value == 0 {
                out.push(Problem::new(key, "must be at least 1"));
            }
        }
        if provider.in_flight_s.saturating_mul(1000) < provider.timeout_ms {
            out.push(Problem::new(at_provider("in_flight_s"), "must not be shorter than timeout_ms"));
        }
        // Else a call could be sent again before a lookup proves anything of the one before.
        if provider.key_window_s / 2 < provider.in_flight_s {
            out.push(Problem::new(at_provider("key_window_s"), "must be at least twice in_flight_s"));
        }
        for (name, class) in self.retry.classes() {
            let at_class = |key: &str| join(&join(&join(at, "retry"), name), key);
            if class.base_ms == 0 {
                out.push(Problem::new(at_class("base_ms"), "must be at least 1"));
            }
            if class.max_ms < class.base_ms {
                out.push(Problem::new(at_class("max_ms"), "must not be less than base_ms"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_every_mistake_is_told_at_once() {
        let problems = |config: &PaymentsConfig| {
            let mut out = Vec::new();
            config.problems("payments", &mut out);
            out.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
        };
        let mut config = PaymentsConfig::default();
        assert_eq!(problems(&config), Vec::<String>::new());
        config.provider.url = "127.0.0.1".to_owned();
        config.provider.timeout_ms = 0;
        config.provider.key_window_s = 1;
        config.provider.token = Some(Secret::from("hush"));
        config.provider.token_file = Some("/nowhere".into());
        config.retry.unknown.max_ms = 1;
        assert_eq!(
            problems(&config),
            [
                "payments.provider.url",
                "payments.provider.token_file",
                "payments.provider.timeout_ms",
                "payments.provider.key_window_s",
                "payments.retry.unknown.max_ms"
            ]
        );
        assert!(!format!("{config:?}").contains("hush"));
    }
}
