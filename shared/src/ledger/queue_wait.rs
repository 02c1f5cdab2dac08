//! How long due work waits for a free hand, where that is our own doing.
//!
//! Work that its gate or an operator holds back waits for the world; so does work behind calls that take long, since
//! their peer is slow. What waits behind quick work waits for us: more comes than can be done.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::work::{Held, Wait};

/// Work that takes longer than this, on average, is kept waiting by its peer.
const QUICK: Duration = Duration::from_millis(250);

/// The average follows each piece of work by this part.
const FOLLOWS: f64 = 0.02;

/// What was seen longer ago says nothing about now.
const FRESH: Duration = Duration::from_secs(1);

/// What is seen of the work of one kind.
#[derive(Debug, Default)]
pub(super) struct QueueWait {
    last: Mutex<Option<Last>>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    at: Instant,
    waited: Duration,
    /// Seconds that work takes on average.
    takes: f64,
}

impl QueueWait {
    /// A piece of work was done that had waited so, and took so long.
    pub fn note(&self, wait: &Wait, took: Duration, at: Instant) {
        let waited = match wait.held {
            Held::Queue => Duration::try_from(wait.taken.duration_since(wait.due)).unwrap_or_default(),
            Held::Gate | Held::Pause => Duration::ZERO,
        };
        let took = took.as_secs_f64();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = last.map_or(took, |last| last.takes + FOLLOWS * (took - last.takes));
        *last = Some(Last { at, waited, takes });
    }

    /// How long what is due now waits for its turn behind other work; zero where a peer is slow.
    pub fn now(&self, now: Instant) -> Duration {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let told =
            last.filter(|last| now.saturating_duration_since(last.at) < FRESH && last.takes <= QUICK.as_secs_f64());
        told.map_or(Duration::ZERO, |last| last.waited)
    }
}

#[cfg(test)]
mod tests {
    use spillway_proto::time;

    use super::*;

    fn wait(held: Held, millis: i64) -> Wait {
        Wait { due: time::from_micros(0), taken: time::from_micros(1000 * millis), held }
    }

    #[test]
    fn behind_quick_work_it_is_told_and_behind_a_slow_peer_or_a_closed_gate_it_is_not() {
        let (queue, at) = (QueueWait::default(), Instant::now());
        assert_eq!(queue.now(at), Duration::ZERO, "nothing was done");
        queue.note(&wait(Held::Queue, 700), Duration::from_millis(50), at);
        assert_eq!(queue.now(at), Duration::from_millis(700));
        assert_eq!(queue.now(at + FRESH), Duration::ZERO, "long ago");
        for held in [Held::Gate, Held::Pause] {
            queue.note(&wait(held, 60_000), Duration::from_millis(50), at);
            assert_eq!(queue.now(at), Duration::ZERO, "{held:?}");
        }
        for _ in 0..200 {
            queue.note(&wait(Held::Queue, 700), Duration::from_secs(1), at);
        }
        assert_eq!(queue.now(at), Duration::ZERO, "the peer is slow");
    }
}
