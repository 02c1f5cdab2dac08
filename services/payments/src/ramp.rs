//! How fast a backlog is worked off once the provider is well again: slowly at first, twice as fast every second, and
//! never faster than the operator allows. Times are handed in.

use std::time::{Duration, Instant};

/// Calls a second at the start.
pub const BEGIN: f64 = 10.0;

/// From so many calls a second on, and without a bound of the operator's, nothing is held back any more: workers and
/// their number are the bound.
pub const FREE: f64 = 5_000.0;

/// Calls that went unused may be made up for this long: timers wake up late.
const MAKE_UP: Duration = Duration::from_millis(50);

/// The rate at which calls are let through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    began: Instant,
    /// When the next call is due, as the rate has it.
    next: Instant,
}

impl Ramp {
    pub fn begin(now: Instant) -> Self {
        Ramp { began: now, next: now }
    }

    /// Calls a second at this time. `bound` is the operator's.
    pub fn rate(&self, now: Instant, bound: Option<f64>) -> f64 {
        let seconds = now.saturating_duration_since(self.began).as_secs_f64();
        // 2^60 calls a second are as good as any more.
        let rising = BEGIN * seconds.min(60.0).exp2();
        bound.map_or(rising, |bound| rising.min(bound))
    }

    /// Nothing is held back by it any more.
    pub fn is_over(&self, now: Instant, bound: Option<f64>) -> bool {
        bound.is_none() && self.rate(now, bound) >= FREE
    }

    /// Lets one call through, or says how long to wait.
    pub fn take(&mut self, now: Instant, bound: Option<f64>) -> Result<(), Duration> {
        let wait = self.next.saturating_duration_since(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        let from = self.next.max(now.checked_sub(MAKE_UP).unwrap_or(now));
        self.next = from + Duration::from_secs_f64(1.0 / self.rate(now, bound).max(0.01));
        Ok(())
    }

    /// How long so many calls take from now on.
    pub fn time_for(&self, calls: u64, now: Instant, bound: Option<f64>) -> Duration {
        let (mut left, mut at, mut seconds) = (calls as f64, now, 0.0);
        while left > 0.0 && !self.is_over(at, bound) && seconds < 86_400.0 {
            let rate = self.rate(at, bound);
            // At the bound it does not rise any more.
            let is_steady = bound.is_some_and(|bound| rate >= bound);
            let stretch = if is_steady { left / rate } else { (left / rate).min(0.25) };
            left -= rate * stretch;
            seconds += stretch;
            at = now + Duration::from_secs_f64(seconds.min(86_400.0));
        }
        Duration::from_secs_f64((seconds + left.max(0.0) / FREE).min(30.0 * 86_400.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls let through in each second, where somebody asks every millisecond.
    fn through(seconds: u64, bound: Option<f64>) -> Vec<usize> {
        let begin = Instant::now();
        let mut ramp = Ramp::begin(begin);
        let mut counts = Vec::new();
        for second in 0..seconds {
            let asked = (0..1000).map(|ms| begin + Duration::from_millis(second * 1000 + ms));
            counts.push(asked.filter(|now| ramp.take(*now, bound).is_ok()).count());
        }
        counts
    }

    #[test]
    fn it_begins_slowly_and_doubles() {
        let counts = through(6, None);
        assert!((10..=20).contains(&counts[0]), "{counts:?}");
        assert!(counts.windows(2).all(|pair| pair[1] > pair[0] * 3 / 2 && pair[1] < pair[0] * 3), "{counts:?}");
    }

    #[test]
    fn it_never_goes_beyond_the_operators_bound() {
        let counts = through(8, Some(40.0));
        assert!(counts.iter().all(|count| *count <= 42), "{counts:?}");
        assert!(counts[7] >= 38, "{counts:?}");
        assert!(through(4, Some(1.0)).iter().all(|count| *count <= 2));
    }

    #[test]
    fn what_went_unused_is_not_made_up_for_later() {
        let begin = Instant::now();
        let mut ramp = Ramp::begin(begin);
        let later = begin + Duration::from_secs(5);
        let burst = (0..1000).filter(|_| ramp.take(later, Some(100.0)).is_ok()).count();
        assert!(burst <= 7, "{burst} at once");
    }

    #[test]
    fn it_is_over_once_nothing_is_held_back_and_never_where_the_operator_bounds_it() {
        let begin = Instant::now();
        let ramp = Ramp::begin(begin);
        assert!(!ramp.is_over(begin, None));
        assert!(ramp.is_over(begin + Duration::from_secs(10), None));
        assert!(!ramp.is_over(begin + Duration::from_secs(3600), Some(50.0)));
    }

    #[test]
    fn the_time_that_a_backlog_takes_is_worked_out() {
        let begin = Instant::now();
        let ramp = Ramp::begin(begin);
        let at_most = |calls, bound| ramp.time_for(calls, begin, bound).as_secs_f64();
        assert!(at_most(0, None) < 0.001);
        assert!((0.8..1.5).contains(&at_most(14, None)), "{}", at_most(14, None));
        assert!((95.0..110.0).contains(&at_most(1_000, Some(10.0))), "{}", at_most(1_000, Some(10.0)));
        assert!(at_most(100_000, None) < 40.0, "{}", at_most(100_000, None));
    }
}
