//! How many orders are on their way: what was let in since the oldest of them came.
//!
//! A wait shows itself only once it has been waited: at ten times the load, six seconds of work are let in before the
//! first order is six tenths of a second old. What was let in is known at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many may be on their way wherever that is, known rate or not: a burst on a system at rest is no surge.
const LEAST: f64 = 4_000.0;

/// What is let in is remembered for so long; what waits for longer, waits for something else than its turn.
const REMEMBERED: Duration = Duration::from_secs(10);

/// What was let in, over time.
#[derive(Debug, Default)]
pub struct Backlog {
    /// All that was let in until then.
    let_in: VecDeque<(Instant, u64)>,
    total: u64,
}

impl Backlog {
    /// So many were let in since the last time.
    pub fn let_in(&mut self, orders: u64, now: Instant) {
        self.total += orders;
        self.let_in.push_back((now, self.total));
        while self.let_in.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= REMEMBERED) {
            self.let_in.pop_front();
        }
    }

    /// Orders on their way, where the oldest came so long ago; those that nobody has been asked about since they came are
    /// among them.
    pub fn orders(&self, oldest: Duration, now: Instant) -> u64 {
        let gone = self.let_in.iter().rev().find(|(at, _)| now.duration_since(*at) >= oldest);
        let before = gone.or(self.let_in.front()).map_or(self.total, |(_, total)| *total);
        self.total - before
    }
}

/// How many may be on their way: what is served within `target` at the best rate seen lately.
pub fn most(best_per_second: f64, target: Duration) -> f64 {
    (best_per_second * target.as_secs_f64()).max(LEAST)
}

/// How many may be let in until the next look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// Of all customers together.
    pub all: f64,
    /// As long as no more are let in, those are who place less than their share.
    pub spared: f64,
}

/// Under pressure `limit` are to be let in until the next look, of what comes `share`; a look may be late, and there is room for
/// two of them. Where more come than that, and too many are on their way already, it is half of one: a line that grew long before
/// its wait was seen would else be long for a quarter of a minute. Who places less than its share did not make it long.
pub fn room(on_their_way: f64, most: f64, limit: Option<f64>, share: f64) -> Room {
    let limit = limit.unwrap_or(0.0);
    let spared = (most - on_their_way).max(2.0 * limit);
    let all = if share < 1.0 && on_their_way > most { 0.5 * limit } else { spared };
    Room { all, spared }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_the_oldest_is_on_its_way() {
        let (mut backlog, began) = (Backlog::default(), Instant::now());
        let at = |tick: u64| began + Duration::from_millis(100 * tick);
        (0..=50).for_each(|tick| backlog.let_in(100, at(tick)));
        assert_eq!(backlog.orders(Duration::ZERO, at(50)), 0);
        assert_eq!(backlog.orders(Duration::from_millis(100), at(50)), 100);
        assert_eq!(backlog.orders(Duration::from_millis(950), at(50)), 1_000, "in doubt one more of the looks");
        (51..=500).for_each(|tick| backlog.let_in(100, at(tick)));
        assert_eq!(backlog.orders(Duration::from_secs(3_600), at(500)), 10_000, "of the time that is remembered");
    }

    #[test]
    fn where_too_many_are_on_their_way_fewer_are_let_in_than_the_limit_and_else_more() {
        let same = |room| Room { all: room, spared: room };
        assert_eq!(room(1_000.0, 4_000.0, None, 1.0), same(3_000.0));
        assert_eq!(room(4_100.0, 4_000.0, None, 1.0), same(0.0));
        assert_eq!(room(3_900.0, 4_000.0, Some(300.0), 0.2), same(600.0));
        assert_eq!(room(4_100.0, 4_000.0, Some(300.0), 0.2), Room { all: 150.0, spared: 600.0 });
        assert_eq!(room(4_100.0, 4_000.0, Some(300.0), 1.0), same(600.0), "less comes than was served lately");
    }

    #[test]
    fn at_rest_a_burst_may_come_and_where_much_is_served_more() {
        assert_eq!(most(0.0, Duration::from_secs(1)), LEAST);
        assert_eq!(most(9_000.0, Duration::from_secs(1)), 9_000.0);
        assert_eq!(most(9_000.0, Duration::from_millis(100)), LEAST);
    }
}
