//! How many orders a second come to the end of the way, from what the services tell of their throughput.
//!
//! What orders says is the end of an order, but for what waits for the payment provider: nobody is refused for that, so
//! where orders has nothing to hear, what payments has heard is as good an end. Out of stock, an order never comes to
//! payments: the greater of the two counts.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use spillway_proto::{Ledger as Source, Partition};

use super::edges::{Listener, STOPPED_AFTER};

/// Rates are taken over this time: commits are batches, and a shorter one would see single batches.
pub const LOOKED_BACK: Duration = Duration::from_secs(1);

/// What the services have told.
#[derive(Debug, Default)]
pub struct Served {
    told: BTreeMap<Listener, VecDeque<Count>>,
}

/// Events of a ledger since its process began.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// When it was asked for.
    pub at: Instant,
    pub heard: u64,
    pub said: u64,
}

impl Served {
    /// A ledger has answered.
    pub fn told(&mut self, who: Listener, count: Count) {
        let counts = self.told.entry(who).or_default();
        if counts.back().is_some_and(|last| last.said > count.said || last.heard > count.heard) {
            // Another process.
            counts.clear();
        }
        counts.push_back(count);
        while counts.get(1).is_some_and(|next| count.at.duration_since(next.at) >= LOOKED_BACK) {
            counts.pop_front();
        }
    }

    /// Orders a second that came to the end of the way in a partition.
    pub fn ended_per_second(&self, partition: Partition, waits_for_orders: bool, now: Instant) -> f64 {
        let rate = |who, of: fn(&Count) -> u64| self.rate((who, partition), of, now).unwrap_or(0.0);
        let (said, heard) = (rate(Source::Orders, |count| count.said), rate(Source::Payments, |count| count.heard));
        if waits_for_orders { said } else { said.max(heard) }
    }

    /// Orders a second that are carried out, where so many came to their end.
    pub fn per_second(&self, ended: f64, now: Instant) -> f64 {
        let twice = self.rate((Source::Inventory, Partition(0)), |count| count.heard, now);
        twice.map_or(ended, |twice| f64::midpoint(ended, twice / 2.0))
    }

    /// `None` where it does not answer.
    fn rate(&self, who: Listener, of: impl Fn(&Count) -> u64, now: Instant) -> Option<f64> {
        let ends = self.told.get(&who).and_then(|counts| counts.front().zip(counts.back()));
        let (first, last) = ends.filter(|(_, last)| now.duration_since(last.at) < STOPPED_AFTER)?;
        let passed = last.at.duration_since(first.at).as_secs_f64();
        (passed > 0.0).then(|| of(last).saturating_sub(of(first)) as f64 / passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = Partition(0);

    /// Payments hears and orders says so many orders a second, for two seconds; orders begins anew in the middle.
    fn served(heard: u64, said: u64) -> (Served, Instant) {
        let (mut served, began) = (Served::default(), Instant::now());
        for tick in 0..=20_u64 {
            let at = began + Duration::from_millis(100 * tick);
            let since_start = if tick < 10 { tick } else { tick - 10 };
            served.told((Source::Payments, P), Count { at, heard: heard * tick / 10, said: 0 });
            served.told((Source::Orders, P), Count { at, heard: 0, said: said * since_start / 10 });
        }
        (served, began + Duration::from_secs(2))
    }

    #[test]
    fn what_orders_says_counts_and_where_nothing_waits_for_it_what_payments_hears_does_too() {
        let (served, now) = served(500, 300);
        assert_eq!(served.ended_per_second(P, true, now), 300.0);
        assert_eq!(served.ended_per_second(P, false, now), 500.0);
        assert_eq!(served.ended_per_second(P, false, now + STOPPED_AFTER), 0.0, "nobody has answered for long");
        assert_eq!(served.ended_per_second(Partition(1), false, now), 0.0);
    }

    #[test]
    fn most_orders_are_out_of_stock_and_never_come_to_payments() {
        let (served, now) = served(20, 300);
        assert_eq!(served.ended_per_second(P, false, now), 300.0);
    }

    #[test]
    fn inventory_which_hears_of_every_order_twice_counts_as_much_as_the_ends() {
        let (mut served, now) = served(0, 0);
        assert_eq!(served.per_second(300.0, now), 300.0, "inventory has told nothing");
        for tick in 0..=10_u32 {
            let at = now - Duration::from_millis(100) * (10 - tick);
            let heard = if tick < 5 { 0 } else { 1_000 };
            served.told((Source::Inventory, P), Count { at, heard, said: 0 });
        }
        assert_eq!(served.per_second(300.0, now), 400.0);
        assert_eq!(served.per_second(300.0, now + STOPPED_AFTER), 300.0, "it has not answered for long");
    }
}
