//! How many orders a second are let in, regulated by how many come to their end and by how long one placed now would wait.
//!
//! Waiting is what overload is felt by, whatever causes it. A share of what comes, regulated by the wait alone, overshoots
//! whenever the load changes, and the line runs dry between: at twice the load it left two fifths of the goodput. So the
//! rate is regulated and not the share: what is served a second while something waits is what can be served, and so much
//! is let in, a little more while less waits than should, less while more does. Something always should: commits of many
//! are what makes an order cheap. The share follows from what comes, so that the end of a load is seen at once.
//!
//! Under pressure the estimate of what can be served follows what is served, both ways, while something waits; down only once
//! something has waited for as long as that rate is taken over, since from rest the line fills first, and nothing of that comes
//! to its end. While nearly nothing waits, what is served is only what was let in: the estimate then grows slowly (it is probed,
//! as TCP's congestion windows are). The best rate served lately is remembered: what comes at clearly less than that is never
//! refused, however long a pause of the machine has made it wait, unless the wait shows that the machine has become slower.

use std::time::Duration;

use super::served::LOOKED_BACK;

/// Pressure begins where the wait is such a part of the target, and grows.
const NOTICED: f64 = 0.6;
/// The wait that is aimed at under pressure, as a part of the target.
const STANDING: f64 = 0.35;
/// A wait that is too long by so many targets would stop everything, were it not for [`LEAST`]; one that is too short by so
/// many would let in twice as much. An empty line costs more than a long one. What is seen is late, and commits are batches:
/// with half the first, or with a look ahead along the trend, the rate swings more, and less is done.
const SPAN: f64 = 5.0;
const SPAN_BELOW: f64 = 1.0;
/// Of the estimate, at least and at most so much is let in.
const LEAST: f64 = 0.1;
const MOST: f64 = 1.5;
/// Time constants in seconds: the arrivals, the estimate, the best rate, and the best rate under a long wait.
const ARRIVALS_SECONDS: f64 = 0.2;
const LEARNED_SECONDS: f64 = 1.0;
const REMEMBERED_SECONDS: f64 = 30.0;
const DISPROVED_SECONDS: f64 = 2.0;
/// So many times what came lately is a surge, and no chance: it counts whole at once. For as long as it did not, several times
/// what can be served was let in, and waited for seconds.
const SURGE: f64 = 1.5;
/// e-folds a second by which the estimate is probed upwards while nearly nothing waits.
const PROBING: f64 = 0.25;
/// Less than this part of the best rate served lately is no overload, while the wait is below so many targets.
const CLEARLY_LESS: f64 = 0.85;
const MACHINE_SLOWER: f64 = 2.0;
/// Pressure ends when everything was let in, and less waited than is aimed at, for so many seconds.
const CALM_SECONDS: f64 = 1.0;
/// So much is always let in, so that the end of an overload is noticed.
const LEAST_SHARE: f64 = 0.005;

/// What is seen of the system since the last look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// How long an order placed now would wait behind others.
    pub wait: Duration,
    /// Orders a second that came to their end.
    pub served: f64,
    /// Orders that were placed, let in or not.
    pub came: u64,
    pub passed: Duration,
}

/// The regulator. Rates are in orders a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pressure {
    /// Seconds.
    target: f64,
    /// In targets.
    wait: f64,
    pub arrivals: f64,
    /// What can be served, as far as it is known.
    pub capacity: f64,
    /// The best rate served lately.
    pub best: f64,
    /// What may be let in; `None` where there is no pressure.
    pub limit: Option<f64>,
    /// For how many seconds all has been well under pressure.
    calm: f64,
    /// For how many seconds something has waited.
    waited: f64,
}

impl Pressure {
    /// `target` is how long an order may wait behind others.
    pub fn new(target: Duration) -> Pressure {
        let target = target.as_secs_f64().max(0.001);
        Pressure { target, wait: 0.0, arrivals: 0.0, capacity: 0.0, best: 0.0, limit: None, calm: 0.0, waited: 0.0 }
    }

    /// The share of what comes to let in from now on.
    pub fn update(&mut self, seen: &Seen) -> f64 {
        let passed = seen.passed.as_secs_f64().clamp(0.001, 1.0);
        let wait = seen.wait.as_secs_f64() / self.target;
        let has_grown = wait > self.wait;
        self.wait = wait;
        let something_waits = wait > 0.5 * STANDING;
        self.waited = if something_waits { self.waited + passed } else { 0.0 };
        let came = seen.came as f64 / seen.passed.as_secs_f64().max(0.001);
        self.arrivals += part(passed, ARRIVALS_SECONDS) * (came - self.arrivals);
        if came > SURGE * self.arrivals {
            self.arrivals = came;
        }
        self.best = (self.best * (-passed / REMEMBERED_SECONDS).exp()).max(seen.served);
        let Some(limit) = self.limit else {
            if wait > NOTICED && has_grown {
                self.calm = 0.0;
                // A pause of the machine begins many a pressure, and says nothing of what can be served after it.
                self.capacity = seen.served.max(CLEARLY_LESS * self.best);
                return self.limited(passed);
            }
            return 1.0;
        };
        if something_waits {
            if seen.served > self.capacity || self.waited >= LOOKED_BACK.as_secs_f64() {
                self.capacity += part(passed, LEARNED_SECONDS) * (seen.served - self.capacity);
            }
        } else if self.arrivals >= limit {
            self.capacity = self.capacity.max(seen.served) * (PROBING * passed).exp();
        }
        self.limited(passed)
    }

    /// Sets the limit, and answers the share that keeps to it.
    fn limited(&mut self, passed: f64) -> f64 {
        if self.wait > 1.0 && self.capacity < self.best {
            self.best += part(passed, DISPROVED_SECONDS) * (self.capacity - self.best);
        }
        let span = if self.wait < STANDING { SPAN_BELOW } else { SPAN };
        let limit = self.capacity * (1.0 + (STANDING - self.wait) / span).clamp(LEAST, MOST);
        let is_less = self.arrivals < CLEARLY_LESS * self.best && self.wait < MACHINE_SLOWER;
        let share = if is_less { 1.0 } else { (limit / self.arrivals.max(1.0)).clamp(LEAST_SHARE, 1.0) };
        self.calm = if share >= 1.0 && self.wait < STANDING { self.calm + passed } else { 0.0 };
        self.limit = (self.calm < CALM_SECONDS).then_some(limit);
        share
    }
}

/// Of a distance, what is left behind in this time.
fn part(passed: f64, seconds: f64) -> f64 {
    1.0 - (-passed / seconds).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(wait_ms: u64, served: f64, came: u64) -> Seen {
        Seen { wait: Duration::from_millis(wait_ms), served, came, passed: Duration::from_millis(100) }
    }

    #[test]
    fn below_the_target_nothing_is_refused() {
        let mut pressure = Pressure::new(Duration::from_secs(1));
        for wait in [0, 50, 480, 120, 0, 400, 10] {
            assert_eq!(pressure.update(&seen(wait, 1000.0, 100)), 1.0);
        }
    }

    #[test]
    fn a_pause_of_the_machine_refuses_nobody_where_more_was_served_before() {
        let mut pressure = Pressure::new(Duration::from_secs(1));
        for _ in 0..20 {
            assert_eq!(pressure.update(&seen(0, 3000.0, 300)), 1.0);
        }
        for wait in (0..19).map(|tick| 100 * tick).chain([800, 100, 0]) {
            assert_eq!(pressure.update(&seen(wait, 300.0, 100)), 1.0, "{wait} ms");
        }
    }

    #[test]
    fn a_pause_of_the_machine_at_full_load_is_not_taken_for_what_it_can_do() {
        let mut pressure = Pressure::new(Duration::from_secs(1));
        for _ in 0..20 {
            assert_eq!(pressure.update(&seen(0, 3000.0, 300)), 1.0);
        }
        let shares = [200, 500, 800].map(|wait| pressure.update(&seen(wait, 300.0, 300)));
        assert_eq!(shares[..2], [1.0, 1.0]);
        assert!((0.5..0.9).contains(&shares[2]), "{shares:?}");
    }

    #[test]
    fn what_ends_while_the_line_still_fills_is_not_what_can_be_served() {
        let mut pressure = Pressure::new(Duration::from_secs(1));
        (0..20).for_each(|_| assert_eq!(pressure.update(&seen(0, 3_000.0, 300)), 1.0));
        // After a rest, a third more: seven tenths of a second of it wait, and a tenth of a second's work ends more each time.
        (0..30).for_each(|_| assert_eq!(pressure.update(&seen(0, 0.0, 0)), 1.0));
        let shares: Vec<f64> = (1..10).map(|tick| pressure.update(&seen(700, 300.0 * f64::from(tick), 400))).collect();
        assert!(shares.iter().all(|share| *share > 0.5), "{shares:?}");
        // Then it counts: that is what can be served.
        let shares: Vec<f64> = (0..50).map(|_| pressure.update(&seen(700, 1_000.0, 400))).collect();
        assert!(shares[49] < 0.3, "{shares:?}");
    }

    #[test]
    fn a_surge_counts_whole_at_the_first_look() {
        let mut pressure = Pressure::new(Duration::from_secs(1));
        (0..20).for_each(|_| assert_eq!(pressure.update(&seen(0, 3_000.0, 300)), 1.0));
        let share = pressure.update(&seen(700, 3_000.0, 3_300));
        assert!((0.05..0.1).contains(&share), "{share} of 33,000 a second, where 3,000 are served");
    }

    /// What is let in a second, in orders, where 3,000 are served and this is waited.
    fn let_in_at(wait_ms: u64) -> f64 {
        let mut pressure = Pressure::new(Duration::from_secs(1));
        (0..10).for_each(|tick| assert!(pressure.update(&seen(100 * tick, 3_000.0, 600)) > 0.0));
        let shares = (0..50).map(|_| pressure.update(&seen(wait_ms, 3_000.0, 600)));
        6_000.0 * shares.last().expect("some")
    }

    #[test]
    fn a_line_that_is_too_short_is_filled_faster_than_one_that_is_too_long_is_emptied() {
        // As much below what is aimed at as above it.
        let (more, less) = (let_in_at(200) - 3_000.0, 3_000.0 - let_in_at(500));
        assert!(less > 50.0 && more > 2.0 * less, "{more} more, {less} less");
    }

    #[test]
    fn what_is_served_is_let_in_whatever_comes_and_all_is_when_less_comes() {
        let mut pressure = Pressure::new(Duration::from_secs(1));
        (0..10).for_each(|tick| assert!(pressure.update(&seen(100 * tick, 3_000.0, 600)) > 0.0));
        for tick in 0..100_u64 {
            let came = if tick < 50 { 2_000 } else { 600 };
            // The wait stays where it is aimed at.
            let share = pressure.update(&seen(350, 3_000.0, came));
            if tick % 50 > 20 {
                let let_in = share * came as f64;
                assert!((280.0..320.0).contains(&let_in), "{let_in} of {came} in a tenth of a second, tick {tick}");
            }
        }
        let shares: Vec<f64> = (0..30).map(|_| pressure.update(&seen(0, 1_000.0, 100))).collect();
        assert!(shares[5..].iter().all(|share| *share == 1.0), "{shares:?}");
        assert_eq!(pressure.limit, None);
    }
}
