//! The figures that decisions go by.

use std::time::Duration;

use spillway_proto::time::{self, Timestamp};
use uuid::Uuid;

/// The figures that decisions go by; they do not change while a ledger is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long the provider knows a key.
    pub key_window: Duration,
    /// After this long, what the provider does not know was never carried out.
    pub in_flight: Duration,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// The wait before the second try is up to this long, and doubles with each further one.
    pub retry_base: Duration,
    /// The longest wait before a try.
    pub retry_max: Duration,
    /// Over how long calls are spread once the breaker lets them through.
    pub spread: Duration,
}

/// When what was absent is looked up again, counted from the first "absent".
pub(super) const RECHECKS: [Duration; 2] = [Duration::from_secs(3600), Duration::from_secs(24 * 3600)];

impl Policy {
    /// The wait before try number `tries` (from 2): exponential, with full jitter that follows from the charge's id.
    pub(super) fn backoff(&self, id: Uuid, tries: i64) -> Duration {
        let doublings = u32::try_from(tries.clamp(2, 62) - 2).expect("at most 60");
        let limit = self.retry_base.saturating_mul(2u32.saturating_pow(doublings)).min(self.retry_max);
        jittered(limit, id, tries)
    }

    /// A part of [`Policy::spread`] that follows from the charge's id.
    pub(super) fn spread_of(&self, id: Uuid, tries: i64) -> Duration {
        jittered(self.spread, id, tries)
    }
}

/// A part of `limit`, from nothing to all of it, the same for the same id and try.
fn jittered(limit: Duration, id: Uuid, tries: i64) -> Duration {
    let (high, low) = id.as_u64_pair();
    // The finalizer of MurmurHash3: ids differ in few bits, the parts are to differ in all.
    let mut hash = high ^ low.rotate_left(32) ^ tries.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^= hash >> 33;
    let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    let part = (u128::from(micros) * u128::from(hash)) >> 64;
    Duration::from_micros(u64::try_from(part).expect("not above the limit"))
}

/// So much later; the end of time at most.
pub(super) fn after(at: Timestamp, wait: Duration) -> Timestamp {
    let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    time::from_micros(time::to_micros(at).saturating_add(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread_over_all_of_it() {
        let policy = Policy {
            key_window: Duration::from_secs(86_400),
            in_flight: Duration::from_secs(600),
            call_timeout: Duration::from_secs(10),
            retry_base: Duration::from_millis(500),
            retry_max: Duration::from_secs(60),
            spread: Duration::from_secs(15),
        };
        for (tries, limit_ms) in [(2, 500), (3, 1_000), (4, 2_000), (9, 60_000), (1_000, 60_000)] {
            let limit = Duration::from_millis(limit_ms);
            let waits: Vec<Duration> = (0..400u128).map(|n| policy.backoff(Uuid::from_u128(n), tries)).collect();
            assert!(waits.iter().all(|wait| *wait <= limit), "try {tries}");
            let early = waits.iter().filter(|wait| **wait < limit / 4).count();
            let late = waits.iter().filter(|wait| **wait > limit / 4 * 3).count();
            assert!(early > 60 && late > 60, "try {tries}: {early} early, {late} late of 400");
        }
        let id = Uuid::from_u128(7);
        assert_eq!(policy.backoff(id, 5), policy.backoff(id, 5));
        assert_ne!(policy.backoff(id, 9), policy.backoff(id, 10));
    }
}
