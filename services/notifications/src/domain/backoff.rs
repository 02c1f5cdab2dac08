//! How long a notice that could not be handed over waits before its next try.

use std::time::Duration;

use spillway_proto::ids;

use super::Key;

/// When to try again, and when to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The first wait is up to this long; each further one up to twice as long.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Tries after which a notice is given up.
    pub tries: i64,
    /// Age at which a notice is given up.
    pub age: Duration,
}

/// Bits of a name-based UUID before those that its version takes.
const DRAWN_BITS: u32 = 48;

impl Patience {
    /// The wait after this try (the first is 1): exponential, with full jitter, so that what failed together does not
    /// come back together. It is drawn from the key and the try, and so the same whenever it is asked for.
    pub fn wait(&self, key: &Key, attempt: i64) -> Duration {
        let drawn = ids::named("notification-backoff", &format!("{}/{}/{attempt}", key.order, key.event));
        let drawn = drawn.as_u128() >> (u128::BITS - DRAWN_BITS);
        let micros = (self.longest(attempt).as_micros() * drawn) >> DRAWN_BITS;
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// What the wait after this try stays below.
    pub fn longest(&self, attempt: i64) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(if attempt < 1 { 0 } else { u32::MAX });
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use spillway_proto::time::Timestamp;
    use spillway_proto::{EventId, OrderId, Partition};

    const PATIENCE: Patience = Patience {
        base: Duration::from_secs(5),
        max: Duration::from_secs(900),
        tries: 1000,
        age: Duration::from_secs(345_600),
    };

    fn key(n: u64) -> Key {
        let event = EventId(ids::named("test", &n.to_string()));
        Key { order: OrderId::new(Timestamp::UNIX_EPOCH, Partition(0), [7; 10]), event }
    }

    #[test]
    fn the_longest_wait_doubles_up_to_its_bound() {
        let longest = |attempt| PATIENCE.longest(attempt).as_secs();
        assert_eq!([1, 2, 3, 8, 9, 40, 1_000_000].map(longest), [5, 10, 20, 640, 900, 900, 900]);
    }

    proptest! {
        #[test]
        fn a_wait_stays_below_its_longest_and_is_the_same_whenever_asked(n: u64, attempt in 1i64..2000) {
            let wait = PATIENCE.wait(&key(n), attempt);
            prop_assert!(wait <= PATIENCE.longest(attempt));
            prop_assert_eq!(wait, PATIENCE.wait(&key(n), attempt));
        }
    }

    #[test]
    fn waits_are_spread_evenly_over_the_whole_range() {
        let mut tenths = [0; 10];
        for n in 0..1000 {
            let wait = PATIENCE.wait(&key(n), 1).as_millis();
            tenths[usize::try_from(wait / 500).expect("below ten")] += 1;
        }
        assert!(tenths.iter().all(|count| (60..=140).contains(count)), "{tenths:?}");
    }
}
