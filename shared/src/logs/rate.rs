//! How many lines about events a role writes. Under a second's limit all of them; above it whole orders are left out, by a
//! number that follows from the order's id: the orders that the busiest role still tells of are told of by every other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::Counter;
use spillway_proto::InStory;
use spillway_proto::time::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::facts::Fact;

/// Less is left out only once less would have done for so many seconds in a row.
const CALM_SECONDS: usize = 5;

/// Beyond this share, one in 2^40, there is no order.
const NONE: u32 = 40;

/// What is left out is looked after so often, and told once in a minute.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The bound of one role's lines about events, over all its ledgers.
#[derive(Debug)]
pub struct LineRate {
    limit: u64,
    window: Mutex<Window>,
    left_out: Counter,
}

/// Of what share of all orders lines are written: of one in 2^n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shares {
    between: u32,
    /// For lines that begin or end an order's story. Never more than `between`.
    ends: u32,
}

/// The second that runs.
#[derive(Debug, Default)]
struct Window {
    /// Unix time.
    second: i64,
    shares: Shares,
    /// What would have done for each of the last seconds.
    before: [Shares; CALM_SECONDS],
    /// Lines that might have been written in this second.
    between: u64,
    ends: u64,
    /// Lines that were, and how many may be before the shares shrink at once.
    written: u64,
    allowed: u64,
    /// Of those since the shares last shrank, lines between.
    steps: u64,
    untold: u64,
}

impl Shares {
    /// What keeps a second with so many lines within the limit. Lines between go first. Where the others alone are too
    /// many, a quarter of the limit is theirs again: an order that is told of is told of from its beginning to its end.
    fn within(limit: u64, between: u64, ends: u64) -> Shares {
        let of_between = share(between, limit.checked_sub(ends).unwrap_or(limit / 4));
        let of_ends = share(ends, limit - (between >> of_between).min(limit));
        Shares { between: of_between.max(of_ends), ends: of_ends }
    }

    fn max(self, other: Shares) -> Shares {
        Shares { between: self.between.max(other.between), ends: self.ends.max(other.ends) }
    }

    fn of(self, place: InStory) -> u32 {
        match place {
            InStory::Between => self.between,
            InStory::Begins | InStory::Ends => self.ends,
        }
    }
}

/// The largest share, as a power of two, that leaves so many lines.
fn share(lines: u64, room: u64) -> u32 {
    (0..NONE).find(|n| lines >> n <= room).unwrap_or(NONE)
}

impl Window {
    /// Goes on to another second, which is not the one that runs.
    fn go_on(&mut self, second: i64, limit: u64) {
        match usize::try_from(second - self.second) {
            Ok(passed @ 1..=CALM_SECONDS) => {
                self.before.rotate_right(passed);
                self.before[..passed].fill(Shares::default());
                self.before[passed - 1] = Shares::within(limit, self.between, self.ends);
            }
            // Long ago, or the clock was set back.
            Ok(_) | Err(_) => self.before = Default::default(),
        }
        self.shares = self.before.iter().fold(Shares::default(), |most, share| most.max(*share));
        *self = Window { second, allowed: limit, between: 0, ends: 0, written: 0, steps: 0, ..*self };
    }

    fn has_room(&mut self, fact: &Fact, limit: u64) -> bool {
        let place = fact.kind.place();
        match place {
            InStory::Between => self.between += 1,
            InStory::Begins | InStory::Ends => self.ends += 1,
        }
        if fact.lot.leading_zeros() < self.shares.of(place) {
            self.untold += 1;
            return false;
        }
        self.written += 1;
        self.steps += u64::from(place == InStory::Between);
        if self.written >= self.allowed {
            self.shrink(limit);
        }
        true
    }

    /// The load grew since the last second: the next one begins with what this one turns out to need.
    fn shrink(&mut self, limit: u64) {
        let step = (limit / 16).max(1);
        if self.steps * 4 >= step {
            self.shares.between = (self.shares.between + 1).min(NONE);
        } else {
            self.shares.ends = (self.shares.ends + 1).min(NONE);
            self.shares.between = self.shares.between.max(self.shares.ends);
        }
        self.allowed += step;
        self.steps = 0;
    }
}

impl LineRate {
    /// `role` is a label of the metric that counts what is left out. The limit is at least 1.
    pub fn new(role: impl Into<Arc<str>>, max_lines_per_second: u32) -> LineRate {
        let left_out = metrics::counter!(
            "spillway_log_lines_dropped_total", "role" => role.into(), "reason" => "rate"
        );
        // Seen as 0 before the first one.
        left_out.increment(0);
        let limit = u64::from(max_lines_per_second.max(1));
        LineRate { limit, window: Mutex::new(Window { allowed: limit, ..Window::default() }), left_out }
    }

    /// Leaves in only what is to be written of a commit.
    pub(crate) fn choose(&self, facts: &mut Vec<Fact>, at: Timestamp) {
        let all = facts.len();
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.second != at.as_second() {
            window.go_on(at.as_second(), self.limit);
        }
        facts.retain(|fact| window.has_room(fact, self.limit));
        drop(window);
        if facts.len() < all {
            self.left_out.increment(u64::try_from(all - facts.len()).unwrap_or(u64::MAX));
        }
    }

    /// Tells in a warning what is left out, once a minute while anything is, until `stop`; then what is untold.
    pub async fn tell(self: Arc<Self>, stop: CancellationToken) {
        let mut told: Option<Instant> = None;
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let is_last = tokio::select! {
                _ = look.tick() => false,
                () = stop.cancelled() => true,
            };
            if (is_last || told.is_none_or(|told| told.elapsed() >= TELL_EVERY)) && self.tell_now() {
                told = Some(Instant::now());
            }
            if is_last {
                return;
            }
        }
    }

    fn tell_now(&self) -> bool {
        let (lines, shares) = {
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut window.untold), window.shares)
        };
        if lines == 0 {
            return false;
        }
        tracing::warn!(
            lines,
            max_lines_per_second = self.limit,
            one_order_in = 1_u64 << shares.ends,
            steps_of_one_in = 1_u64 << shares.between,
            "lines about orders left out of the log, whole orders at a time"
        );
        true
    }
}

#[cfg(test)]
mod tests;
