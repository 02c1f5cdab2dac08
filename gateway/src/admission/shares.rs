//! Whose orders are refused when not all can be taken: theirs who place most.
//!
//! Max-min fairness over customers: there is one allowance, whoever places no more is not refused, and who places more
//! is cut down to it. Bounded memory: two rows of counters, a customer counts for the smaller of its two, so that
//! sharing a counter with a heavy customer in one row does no harm.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};

const COLUMNS: usize = 1024;

/// One order in units of the counters: they shrink by sixteenths and must not stick.
const ORDER: u32 = 256;

/// Orders that are let in whatever the share, in the time that is looked back on: some 250 a second. So few are no surge,
/// wherever they wait, and a machine that is slow for another reason is not helped by refusing them.
const TRICKLE: f64 = 400.0;

/// Counts what each customer places, for about the last one and a half seconds.
#[derive(Debug)]
pub struct Shares {
    rows: [Vec<AtomicU32>; 2],
    /// Of those of whom nobody knows yet whose they are.
    unknown: AtomicU32,
    /// Nobody outside can choose whom to share a counter with.
    hash: RandomState,
    /// In units; what is above is cut.
    allowance: AtomicU32,
}

impl Default for Shares {
    fn default() -> Shares {
        let row = || (0..COLUMNS).map(|_| AtomicU32::new(0)).collect();
        Shares {
            rows: [row(), row()],
            unknown: AtomicU32::new(0),
            hash: RandomState::new(),
            allowance: AtomicU32::new(u32::MAX),
        }
    }
}

impl Shares {
    /// Counts an order of a customer, and answers with which chance it is let in.
    pub fn count(&self, shop: &str, customer: &[u8]) -> f64 {
        let hash = self.hash.hash_one((shop, customer));
        let columns = [hash as usize % COLUMNS, (hash >> 32) as usize % COLUMNS];
        let counts = [0, 1].map(|row| self.rows[row][columns[row]].fetch_add(ORDER, Ordering::Relaxed) + ORDER);
        let (placed, allowance) = (counts[0].min(counts[1]), self.allowance.load(Ordering::Relaxed));
        if placed <= allowance { 1.0 } else { f64::from(allowance) / f64::from(placed) }
    }

    /// Counts an order of which nobody knows yet whose it is.
    pub fn count_unknown(&self) {
        self.unknown.fetch_add(ORDER, Ordering::Relaxed);
    }

    /// Lets time pass by a tick, a tenth of a second, and sets the allowance so that the customers together are let in
    /// with `share` of what they place, and with no less than a trickle. Answers the share that comes of it.
    pub fn tick(&self, share: f64) -> f64 {
        let mut placed = Vec::with_capacity(COLUMNS);
        for (index, row) in self.rows.iter().enumerate() {
            for counter in row {
                let left = pass(counter);
                if index == 0 {
                    placed.push(left);
                }
            }
        }
        let unknown = pass(&self.unknown);
        let orders = placed.iter().chain([&unknown]).map(|placed| f64::from(*placed)).sum::<f64>() / f64::from(ORDER);
        let share = if orders <= TRICKLE { 1.0 } else { share.max(TRICKLE / orders) };
        let allowance = if share >= 1.0 { u32::MAX } else { water_level(&mut placed, share) };
        self.allowance.store(allowance, Ordering::Relaxed);
        share
    }
}

/// Lets a tick pass for a counter, and answers what is left of it.
fn pass(counter: &AtomicU32) -> u32 {
    let counted = counter.load(Ordering::Relaxed);
    counter.fetch_sub(counted.div_ceil(16), Ordering::Relaxed);
    counted - counted.div_ceil(16)
}

/// The level at which what is below it sums up to `share` of everything.
fn water_level(placed: &mut [u32], share: f64) -> u32 {
    placed.sort_unstable();
    let mut wanted = share * placed.iter().map(|placed| f64::from(*placed)).sum::<f64>();
    for (index, lightest) in placed.iter().enumerate() {
        let left = (placed.len() - index) as f64;
        if f64::from(*lightest) * left >= wanted {
            // At least a part of an order, or nobody could ever come in.
            return ((wanted / left) as u32).max(1);
        }
        wanted -= f64::from(*lightest);
    }
    u32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is let in of what each of these customers places, in a steady state at this share.
    fn let_in(shares: &Shares, orders_per_tick: &[u32], share: f64) -> Vec<f64> {
        let mut taken = vec![0.0; orders_per_tick.len()];
        for tick in 0..200 {
            for (customer, orders) in orders_per_tick.iter().enumerate() {
                for _ in 0..*orders {
                    let chance = shares.count("default", format!("c-{customer}").as_bytes());
                    if tick >= 100 {
                        taken[customer] += chance;
                    }
                }
            }
            shares.tick(share);
        }
        taken.iter().zip(orders_per_tick).map(|(taken, orders)| taken / f64::from(orders * 100)).collect()
    }

    #[test]
    fn one_customer_at_ten_times_leaves_the_others_theirs() {
        let mut orders = vec![40; 10];
        orders[3] = 400;
        // The system does 480 orders a tick, 760 come.
        let taken = let_in(&Shares::default(), &orders, 120.0 / 190.0);
        for (customer, part) in taken.iter().enumerate().filter(|(customer, _)| *customer != 3) {
            assert!(*part > 0.95, "customer {customer} keeps {part}");
        }
        assert!((0.2..0.4).contains(&taken[3]), "{}", taken[3]);
    }

    #[test]
    fn equals_are_cut_equally_and_without_pressure_nobody_is() {
        let taken = let_in(&Shares::default(), &[80; 12], 0.5);
        assert!(taken.iter().all(|part| (0.4..0.6).contains(part)), "{taken:?}");
        assert_eq!(let_in(&Shares::default(), &[1, 500], 1.0), [1.0, 1.0]);
    }

    #[test]
    fn ten_thousand_customers_beside_a_heavy_one_keep_nearly_everything() {
        let shares = Shares::default();
        let (mut light, mut heavy) = (0.0, 0.0);
        for tick in 0..60_u32 {
            for order in 0..1000_u32 {
                let customer = format!("c-{}", (tick * 1000 + order) % 10_000);
                light += shares.count("default", customer.as_bytes());
                heavy += shares.count("default", b"heavy");
            }
            shares.tick(0.6);
        }
        assert!(light > 0.95 * 60_000.0, "{light}");
        assert!(heavy < 0.5 * 60_000.0, "{heavy}");
    }

    #[test]
    fn a_trickle_is_never_refused() {
        let taken = let_in(&Shares::default(), &[5; 4], 0.01);
        assert!(taken.iter().all(|part| *part == 1.0), "{taken:?}");
    }

    #[test]
    fn the_level_is_exact() {
        assert_eq!(water_level(&mut [10, 10, 100], 0.25), 10);
        assert_eq!(water_level(&mut [10, 10, 100], 0.5), 40);
        assert_eq!(water_level(&mut [0, 0, 60], 0.5), 30);
        assert_eq!(water_level(&mut [0, 0, 0], 0.5), 1);
    }
}
