//! How many requests came in each second of the last ten minutes, to see a stampede by.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Seconds that are remembered.
const WINDOW_S: u64 = 600;

/// A ring of one counter per second. Each slot holds the second in its upper half and the count in its lower one,
/// so that a slot is renewed and counted in one step without a lock.
pub(crate) struct Traffic {
    slots: Vec<AtomicU64>,
}

/// The requests of one second.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Second {
    /// Unix time in seconds.
    pub second: u64,
    pub requests: u64,
}

impl Traffic {
    pub(crate) fn new() -> Self {
        Self { slots: (0..WINDOW_S).map(|_| AtomicU64::new(0)).collect() }
    }

    pub(crate) fn count(&self, now_s: u64) {
        let slot = &self.slots[(now_s % WINDOW_S) as usize];
        let counted = |held: u64| Some(if held >> 32 == now_s { held + 1 } else { (now_s << 32) | 1 });
        slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).expect("the update never declines");
    }

    /// The seconds of the window in which something came, oldest first.
    pub(crate) fn seconds(&self, now_s: u64) -> Vec<Second> {
        let held = self.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
        let mut seconds: Vec<Second> =
            held.map(|held| Second { second: held >> 32, requests: held & u64::from(u32::MAX) }).collect();
        seconds.retain(|second| second.requests > 0 && second.second + WINDOW_S > now_s);
        seconds.sort_by_key(|second| second.second);
        seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_counted_until_ten_minutes_have_passed() {
        let traffic = Traffic::new();
        for now_s in [1_000, 1_000, 1_001] {
            traffic.count(now_s);
        }
        let both = vec![Second { second: 1_000, requests: 2 }, Second { second: 1_001, requests: 1 }];
        assert_eq!(traffic.seconds(1_599), both);
        assert_eq!(traffic.seconds(1_600), both[1..]);
        traffic.count(1_600);
        assert_eq!(traffic.seconds(1_600)[1], Second { second: 1_600, requests: 1 });
    }
}
