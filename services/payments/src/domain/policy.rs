//! The figures that decisions go by.

use std::time::Duration;

use spillway_proto::time::{self, Timestamp};
use uuid::Uuid;

use super::answer::Outcome;

/// The figures that decisions go by; they do not change while a ledger is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long the provider knows a key.
    pub key_window: Duration,
    /// After this long, what the provider does not know was never carried out.
    pub in_flight: Duration,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// After "surely not carried out".
    pub unavailable: Retry,
    /// After "too many calls".
    pub throttled: Retry,
    /// After no answer, or none that can be understood.
    pub unknown: Retry,
    /// After "not decided yet".
    pub pending: Retry,
}

/// When one class of answer is followed by another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The wait before the second try is up to this long, and doubles with each further one.
    pub base: Duration,
    /// The longest wait before a try.
    pub max: Duration,
    /// After so many tries in all, an answer of this class parks the payment; 0 where it never does.
    pub tries: i64,
}

/// When what was absent is looked up again, counted from the first "absent".
pub(super) const RECHECKS: [Duration; 2] = [Duration::from_secs(3600), Duration::from_secs(24 * 3600)];

impl Policy {
    /// What follows an answer that settles nothing.
    pub(super) fn retry(&self, outcome: &Outcome) -> &Retry {
        match outcome {
            Outcome::Unavailable => &self.unavailable,
            Outcome::Throttled { .. } => &self.throttled,
            Outcome::Pending { .. } => &self.pending,
            Outcome::Unknown
            | Outcome::InFlight
            | Outcome::Absent
            | Outcome::Approved(_)
            | Outcome::Declined { .. }
            | Outcome::ActionRequired { .. }
            | Outcome::Rejected { .. }
            | Outcome::Several => &self.unknown,
        }
    }
}

impl Retry {
    /// The wait before try number `tries` (from 2): exponential, with full jitter that follows from the charge's id.
    pub(super) fn backoff(&self, id: Uuid, tries: i64) -> Duration {
        let doublings = u32::try_from(tries.clamp(2, 62) - 2).expect("at most 60");
        let limit = self.base.saturating_mul(2u32.saturating_pow(doublings)).min(self.max);
        jittered(limit, id, tries)
    }

    /// Try number `tries` was the last.
    pub(super) fn is_spent(&self, tries: i64) -> bool {
        self.tries > 0 && tries >= self.tries
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
        let policy = Retry { base: Duration::from_millis(500), max: Duration::from_secs(60), tries: 9 };
        assert!(!policy.is_spent(8) && policy.is_spent(9));
        assert!(!Retry { tries: 0, ..policy }.is_spent(i64::MAX));
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
