//! How long accepts wait for their commit: the age of the oldest one that does.
//!
//! Commits go in the order of arrival, so the oldest says how long one that comes now will wait, also while the disk
//! hangs and nothing is committed at all. Counted in slots of time, so that an accept costs two additions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const SLOT: Duration = Duration::from_millis(25);

/// What waits for longer than all slots together, 12.8 s, counts as if it had just come: by then nothing is let in.
const SLOTS: usize = 512;

/// The accepts that wait.
#[derive(Debug)]
pub struct Waits {
    began: Instant,
    slots: Vec<AtomicU32>,
}

/// One accept that waits, until it is dropped: after the commit, whether or not its client is still there.
#[derive(Debug)]
pub struct Waiting {
    waits: Arc<Waits>,
    slot: usize,
}

impl Waits {
    pub fn new(began: Instant) -> Waits {
        Waits { began, slots: (0..SLOTS).map(|_| AtomicU32::new(0)).collect() }
    }

    /// An accept begins to wait.
    pub fn enter(self: &Arc<Self>, now: Instant) -> Waiting {
        let slot = self.number(now) % SLOTS;
        self.slots[slot].fetch_add(1, Ordering::Relaxed);
        Waiting { waits: self.clone(), slot }
    }

    /// For how long the oldest has waited, to a slot; zero where none does.
    pub fn longest(&self, now: Instant) -> Duration {
        let current = self.number(now);
        let oldest = (0..SLOTS.min(current + 1)).rev().find(|age| {
            let slot = (current - age) % SLOTS;
            self.slots[slot].load(Ordering::Relaxed) > 0
        });
        oldest.map_or(Duration::ZERO, |age| SLOT * u32::try_from(age).unwrap_or(u32::MAX))
    }

    /// How many wait.
    pub fn count(&self) -> u64 {
        self.slots.iter().map(|slot| u64::from(slot.load(Ordering::Relaxed))).sum()
    }

    fn number(&self, now: Instant) -> usize {
        usize::try_from(now.saturating_duration_since(self.began).as_millis() / SLOT.as_millis()).unwrap_or(usize::MAX)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waits.slots[self.slot].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_counts_until_it_is_gone() {
        let began = Instant::now();
        let waits = Arc::new(Waits::new(began));
        let after = |millis| began + Duration::from_millis(millis);
        assert_eq!(waits.longest(after(9_000)), Duration::ZERO);
        let first = waits.enter(after(100));
        let second = waits.enter(after(600));
        assert_eq!((waits.longest(after(1_100)), waits.count()), (Duration::from_millis(1_000), 2));
        drop(first);
        assert_eq!(waits.longest(after(1_100)), Duration::from_millis(500));
        drop(second);
        assert_eq!((waits.longest(after(1_100)), waits.count()), (Duration::ZERO, 0));
    }

    #[test]
    fn slots_are_used_again() {
        let began = Instant::now();
        let waits = Arc::new(Waits::new(began));
        for round in 0..5_u64 {
            let now = began + Duration::from_secs(13 * round);
            let waiting = waits.enter(now);
            assert_eq!(waits.longest(now + Duration::from_secs(2)), Duration::from_secs(2));
            drop(waiting);
        }
    }
}
