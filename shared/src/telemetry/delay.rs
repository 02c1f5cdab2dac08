//! How long something waited, as far as its trace goes.

use std::time::Duration;

use spillway_proto::time::{self, Timestamp};

/// What waits longer is worth a look: it is traced whatever the sampler said.
const LONG: Duration = Duration::from_secs(1);

/// What goes on after a longer wait begins a trace of its own, linked to the first: no backend shows both well in one.
const LONGEST_IN_ONE: Duration = Duration::from_secs(3600);

/// How long something waited, as far as its trace goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    Usual,
    /// Over a second: the decision of the sampler may be raised.
    Long,
    /// Over an hour: a trace of its own begins.
    TooLongForOneTrace,
}

impl Delay {
    /// Of what waited from then until then. Clocks of two machines may disagree: what ends before it begins is usual.
    pub fn between(from: Timestamp, until: Timestamp) -> Delay {
        let waited_us = u64::try_from(time::to_micros(until) - time::to_micros(from)).unwrap_or(0);
        let waited = Duration::from_micros(waited_us);
        if waited > LONGEST_IN_ONE {
            Delay::TooLongForOneTrace
        } else if waited > LONG {
            Delay::Long
        } else {
            Delay::Usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_a_second_and_over_an_hour_begin_behind_the_second_and_the_hour() {
        let after = |waited_us: i64| {
            let from = time::from_micros(1_800_000_000_000_000);
            Delay::between(from, time::from_micros(1_800_000_000_000_000 + waited_us))
        };
        assert_eq!([after(-5), after(0), after(1_000_000)], [Delay::Usual; 3]);
        assert_eq!([after(1_000_001), after(3_600_000_000)], [Delay::Long; 2]);
        assert_eq!(after(3_600_000_001), Delay::TooLongForOneTrace);
    }
}
