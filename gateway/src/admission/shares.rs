//! Whose orders are refused when not all can be taken: theirs who place most.
//!
//! Max-min fairness over customers and over time: there is one level, whoever is let in less is not refused, and who places
//! more is cut down to it. What can be carried out changes from second to second, and what one customer had beyond the level
//! when there was plenty is held against it when there is little, so that the others are not cut for it.
//!
//! Bounded memory: two rows of counters, a customer counts for the smaller of its two, so that sharing a counter with a heavy
//! customer in one row does no harm.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

const COLUMNS: usize = 4096;

/// One order in units of the counters: they shrink by parts and must not stick.
const ORDER: u32 = 256;

/// What is placed is looked back on for so many ticks of a tenth of a second, what was let in for longer.
const PLACED_TICKS: u32 = 16;
const LET_IN_TICKS: u32 = 64;

/// How much what was let in counts against what is placed: as if it had been for so many times as long.
const HELD_AGAINST: i64 = 2;

/// Orders that are let in whatever the share, in the time that is looked back on: some 250 a second. So few are no surge,
/// wherever they wait, and a machine that is slow for another reason is not helped by refusing them.
const TRICKLE: f64 = 400.0;

/// Counts what each customer places, and what is let in of it.
#[derive(Debug)]
pub struct Shares<S = RandomState> {
    rows: [Vec<Counter>; 2],
    /// Of those of whom nobody knows yet whose they are.
    unknown: AtomicU32,
    /// Nobody outside can choose whom to share a counter with.
    hash: S,
    /// What each customer may have, in units of what is placed: what was let in beyond it is held against it.
    level: AtomicI64,
}

/// Of a customer, or of several.
#[derive(Debug, Default)]
struct Counter {
    placed: AtomicU32,
    let_in: AtomicU32,
}

/// The same at a moment: both as if for [`PLACED_TICKS`].
#[derive(Clone, Copy, Debug, PartialEq)]
struct Count {
    placed: u32,
    let_in: u32,
}

/// Where a customer is counted.
#[derive(Clone, Copy, Debug)]
pub struct Place([usize; 2]);

impl<S: Default> Default for Shares<S> {
    fn default() -> Shares<S> {
        let row = || (0..COLUMNS).map(|_| Counter::default()).collect();
        Shares { rows: [row(), row()], unknown: AtomicU32::new(0), hash: S::default(), level: AtomicI64::new(i64::MAX) }
    }
}

impl<S: BuildHasher> Shares<S> {
    /// Counts an order of a customer, and answers with which chance it is let in.
    pub fn count(&self, shop: &str, customer: &[u8]) -> (f64, Place) {
        let hash = self.hash.hash_one((shop, customer));
        let place = Place([hash as usize % COLUMNS, (hash >> 32) as usize % COLUMNS]);
        let [one, other] = self.at(place).map(|counter| {
            let placed = counter.placed.fetch_add(ORDER, Ordering::Relaxed) + ORDER;
            Count { placed, let_in: same_time(counter.let_in.load(Ordering::Relaxed)) }
        });
        let count = Count { placed: one.placed.min(other.placed), let_in: one.let_in.min(other.let_in) };
        let may_have = count.may_have(self.level.load(Ordering::Relaxed));
        let chance = if may_have >= count.placed { 1.0 } else { f64::from(may_have) / f64::from(count.placed) };
        (chance, place)
    }

    /// An order that was counted is let in.
    pub fn let_in(&self, place: Place) {
        for counter in self.at(place) {
            counter.let_in.fetch_add(ORDER, Ordering::Relaxed);
        }
    }

    fn at(&self, Place(columns): Place) -> [&Counter; 2] {
        [&self.rows[0][columns[0]], &self.rows[1][columns[1]]]
    }

    /// Counts an order of which nobody knows yet whose it is.
    pub fn count_unknown(&self) {
        self.unknown.fetch_add(ORDER, Ordering::Relaxed);
    }

    /// Lets time pass by a tick, a tenth of a second, and sets the level so that the customers together are let in
    /// with `share` of what they place, and with no less than a trickle. Answers the share that comes of it.
    pub fn tick(&self, share: f64) -> f64 {
        let [first, second] = &self.rows;
        for counter in second {
            counter.pass();
        }
        let counts: Vec<Count> = first.iter().map(Counter::pass).filter(|count| count.placed > 0).collect();
        let unknown = pass(&self.unknown, PLACED_TICKS);
        let placed = counts.iter().map(|count| f64::from(count.placed)).sum::<f64>() + f64::from(unknown);
        let orders = placed / f64::from(ORDER);
        let share = if orders <= TRICKLE { 1.0 } else { share.max(TRICKLE / orders) };
        let level = if share >= 1.0 { i64::MAX } else { level(&counts, share) };
        self.level.store(level, Ordering::Relaxed);
        share
    }
}

impl Counter {
    fn pass(&self) -> Count {
        let placed = pass(&self.placed, PLACED_TICKS);
        Count { placed, let_in: same_time(pass(&self.let_in, LET_IN_TICKS)) }
    }
}

impl Count {
    /// What it may have of what it places, where everybody may have so much over time.
    fn may_have(self, level: i64) -> u32 {
        let may_have = level.saturating_mul(1 + HELD_AGAINST) - HELD_AGAINST * i64::from(self.let_in);
        u32::try_from(may_have.max(0)).unwrap_or(u32::MAX)
    }
}

/// Lets a tick pass for a counter, and answers what is left of it.
fn pass(counter: &AtomicU32, ticks: u32) -> u32 {
    let counted = counter.load(Ordering::Relaxed);
    let passed = counted.div_ceil(ticks);
    if passed > 0 {
        counter.fetch_sub(passed, Ordering::Relaxed);
    }
    counted - passed
}

/// What was let in, as if for as long as what is placed.
fn same_time(let_in: u32) -> u32 {
    let_in / (LET_IN_TICKS / PLACED_TICKS)
}

/// The level at which all together have `share` of what they place.
fn level(counts: &[Count], share: f64) -> i64 {
    let wanted = share * counts.iter().map(|count| f64::from(count.placed)).sum::<f64>();
    let have = |level| counts.iter().map(|count| f64::from(count.may_have(level).min(count.placed))).sum::<f64>();
    let highest = counts.iter().map(|count| i64::from(count.placed.max(count.let_in))).max().unwrap_or(0);
    // At least a part of an order, or nobody could ever come in.
    let (mut low, mut high) = (1, highest.max(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if have(middle) < wanted { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// The same counters in every run: by chance, two of a few customers would now and then share one.
    type Shares = super::Shares<BuildHasherDefault<DefaultHasher>>;

    /// The parts that are let in of what each of these customers places, at this share of each tick, from the hundredth on.
    fn let_in(shares: &Shares, orders_per_tick: &[u32], share: impl Fn(u32) -> f64) -> Vec<f64> {
        let mut luck = luck();
        let mut taken = vec![0.0; orders_per_tick.len()];
        for tick in 0..200 {
            for (customer, orders) in orders_per_tick.iter().enumerate() {
                for _ in 0..*orders {
                    let is_let_in = place(shares, &format!("c-{customer}"), &mut luck);
                    taken[customer] += f64::from(u8::from(is_let_in && tick >= 100));
                }
            }
            shares.tick(share(tick));
        }
        taken.iter().zip(orders_per_tick).map(|(taken, orders)| taken / f64::from(orders * 100)).collect()
    }

    /// The same in every run.
    fn luck() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    /// Whether the order of a customer is let in.
    fn place(shares: &Shares, customer: &str, luck: &mut StdRng) -> bool {
        let (chance, place) = shares.count("default", customer.as_bytes());
        let is_let_in = luck.random::<f64>() < chance;
        if is_let_in {
            shares.let_in(place);
        }
        is_let_in
    }

    /// Ten customers, of whom the fourth places ten times as much.
    fn one_of_ten() -> Vec<u32> {
        let mut orders = vec![40; 10];
        orders[3] = 400;
        orders
    }

    fn least_of_the_others(taken: &[f64]) -> f64 {
        let others = taken.iter().enumerate().filter(|(customer, _)| *customer != 3);
        others.map(|(_, part)| *part).fold(1.0, f64::min)
    }

    #[test]
    fn one_customer_at_ten_times_leaves_the_others_theirs() {
        // The system does 480 orders a tick, 760 come.
        let taken = let_in(&Shares::default(), &one_of_ten(), |_| 120.0 / 190.0);
        assert!(least_of_the_others(&taken) > 0.95, "{taken:?}");
        assert!((0.2..0.4).contains(&taken[3]), "{}", taken[3]);
    }

    #[test]
    fn what_it_had_when_there_was_plenty_is_held_against_it_when_there_is_little() {
        // By turns, for a second each: all 760, and as many as the others place.
        let share = |tick: u32| if tick % 20 < 10 { 1.0 } else { 360.0 / 760.0 };
        let taken = let_in(&Shares::default(), &one_of_ten(), share);
        assert!(least_of_the_others(&taken) > 0.97, "{taken:?}");
        assert!(taken[3] > 0.4, "what is left is its own: {}", taken[3]);
    }

    #[test]
    fn where_the_others_alone_are_too_many_it_has_as_much_as_each_of_them() {
        let taken = let_in(&Shares::default(), &one_of_ten(), |_| 300.0 / 760.0);
        let others = least_of_the_others(&taken);
        assert!((0.7..0.8).contains(&others) && (0.06..0.09).contains(&taken[3]), "{taken:?}");
        assert!((0.9..1.1).contains(&(10.0 * taken[3] / others)), "as many orders: {taken:?}");
    }

    #[test]
    fn equals_are_cut_equally_and_without_pressure_nobody_is() {
        let taken = let_in(&Shares::default(), &[80; 12], |_| 0.5);
        assert!(taken.iter().all(|part| (0.4..0.6).contains(part)), "{taken:?}");
        assert_eq!(let_in(&Shares::default(), &[1, 500], |_| 1.0), [1.0, 1.0]);
    }

    #[test]
    fn ten_thousand_customers_beside_a_heavy_one_keep_nearly_everything() {
        let shares = Shares::default();
        let (mut light, mut heavy, mut luck) = (0, 0, luck());
        for tick in 0..60_u32 {
            for order in 0..1000_u32 {
                light += u32::from(place(&shares, &format!("c-{}", (tick * 1000 + order) % 10_000), &mut luck));
                heavy += u32::from(place(&shares, "heavy", &mut luck));
            }
            shares.tick(0.6);
        }
        assert!(light > 57_000, "{light} of 60,000");
        assert!(heavy < 30_000, "{heavy} of 60,000");
    }

    #[test]
    fn a_thousand_who_place_ten_times_what_can_be_done_are_let_in_with_as_much_as_can_be() {
        let taken = let_in(&Shares::default(), &[3; 1_000], |_| 0.1);
        let all = taken.iter().sum::<f64>() / 1_000.0;
        assert!((0.08..0.12).contains(&all), "{all}");
    }

    #[test]
    fn a_trickle_is_never_refused() {
        let taken = let_in(&Shares::default(), &[5; 4], |_| 0.01);
        assert!(taken.iter().all(|part| *part == 1.0), "{taken:?}");
    }

    #[test]
    fn the_level_is_exact() {
        let steady = |placed: [u32; 3], had: u32| placed.map(|placed| Count { placed, let_in: placed.min(had) });
        assert_eq!(level(&steady([10, 10, 100], 10), 0.25), 10);
        assert_eq!(level(&steady([10, 10, 100], 40), 0.5), 40);
        assert_eq!(level(&steady([0, 0, 60], 30), 0.5), 30);
        assert_eq!(level(&steady([0, 0, 0], 0), 0.5), 1);
    }
}
