//! How long a commit gathers before it begins, at most: not at all at rest, and the longer the more comes.
//!
//! It gathers until JetStream has acknowledged what was said before, as Nagle's algorithm does: where the processor is
//! free that is a millisecond or two, where it is not, it is as long as everybody behind this ledger needs anyway. A batch
//! costs each of them a message and a commit, some 3 ms of a core in all, however few are in it. Work that comes by the
//! clock comes in clumps, and a writer that took the head of each at once made half as many more batches as were needed.
//!
//! How much comes is one sign of that; that the writer itself waits for a processor is another, and the only one where the
//! others have most of it: at ten times the load, refusing has, and commits of few would leave the less to orders the
//! fewer of them there are.

use std::time::{Duration, Instant};

/// Inputs a second from which on a commit gathers, and from which on it gathers longest.
const SOME: f64 = 1_250.0;
const FULL: f64 = 2_500.0;

/// The part of its time that a writer waits for a processor, the same.
const CROWDED: f64 = 0.1;
const PACKED: f64 = 0.3;

/// Both are taken over about so long, older inputs counting less and less.
const SPAN: Duration = Duration::from_millis(250);

/// The load of one writer.
#[derive(Debug)]
pub(super) struct Pace {
    longest: Duration,
    /// Inputs of the last [`SPAN`], when the last commit began.
    lately: f64,
    /// Seconds waited for a processor, the same, and what was waited in all until then.
    crowded: f64,
    waited: Option<Duration>,
    at: Option<Instant>,
}

impl Pace {
    /// `longest`: [`super::Limits::gather`].
    pub fn new(longest: Duration) -> Self {
        Pace { longest, lately: 0.0, crowded: 0.0, waited: None, at: None }
    }

    /// A commit of so many inputs begins; its writer has waited so long for a processor, in all, where that is known.
    pub fn begins(&mut self, inputs: usize, waited: Option<Duration>, now: Instant) {
        let kept = self.kept(now);
        self.lately = self.lately * kept + inputs as f64;
        let more = waited.zip(self.waited).map(|(now, before)| now.saturating_sub(before));
        self.crowded = self.crowded * kept + more.unwrap_or_default().as_secs_f64();
        self.waited = waited;
        self.at = Some(now);
    }

    /// How long the next one gathers at most, from its first input on.
    pub fn gathers(&self, now: Instant) -> Duration {
        let kept = self.kept(now) / SPAN.as_secs_f64();
        let by = |seen: f64, some: f64, full: f64| if seen < some { 0.0 } else { (seen / full).min(1.0) };
        let part = by(self.lately * kept, SOME, FULL).max(by(self.crowded * kept, CROWDED, PACKED));
        self.longest.mul_f64(part)
    }

    /// What still counts now of what counted when the last commit began.
    fn kept(&self, now: Instant) -> f64 {
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        (-since.as_secs_f64() / SPAN.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(25);

    /// What a commit gathers after 2 s of so many inputs every so often.
    fn after(inputs: usize, every: Duration) -> Duration {
        let began = Instant::now();
        let mut pace = Pace::new(LONGEST);
        let commits = 2_000 / u32::try_from(every.as_millis()).expect("small");
        for commit in 0..commits {
            pace.begins(inputs, None, began + every * commit);
        }
        pace.gathers(began + every * commits)
    }

    #[test]
    fn at_rest_nothing_waits() {
        assert_eq!(Pace::new(LONGEST).gathers(Instant::now()), Duration::ZERO);
        assert_eq!(after(1, Duration::from_millis(1)), Duration::ZERO, "1,000 a second, one by one");
        assert_eq!(after(100, Duration::from_millis(100)), Duration::ZERO, "1,000 a second, in clumps");
    }

    #[test]
    fn the_more_comes_the_longer_it_gathers_up_to_a_bound() {
        let by_rate = [14, 18, 24].map(|inputs| after(inputs, Duration::from_millis(10)));
        assert!(by_rate.is_sorted() && by_rate[0] > Duration::from_millis(12), "{by_rate:?}");
        assert!(after(100, Duration::from_millis(1)) == LONGEST);
        let clumps = after(80, Duration::from_millis(50));
        assert!(clumps > Duration::from_millis(12), "clumps are load too: {clumps:?}");
    }

    #[test]
    fn a_burst_is_forgotten_after_a_moment() {
        let began = Instant::now();
        let mut pace = Pace::new(LONGEST);
        pace.begins(300, None, began);
        assert_eq!(pace.gathers(began), Duration::ZERO, "300 at once are no load yet");
        pace.begins(2_000, None, began);
        assert_eq!(pace.gathers(began), LONGEST);
        assert_eq!(pace.gathers(began + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn a_writer_that_waits_for_a_processor_gathers_however_little_comes() {
        let after = |percent: u32| {
            let (began, every) = (Instant::now(), Duration::from_millis(10));
            let mut pace = Pace::new(LONGEST);
            (0..200).for_each(|n| pace.begins(1, Some(every * n * percent / 100), began + every * n));
            pace.gathers(began + every * 200)
        };
        assert_eq!(after(5), Duration::ZERO);
        assert!((8..20).contains(&after(20).as_millis()), "{:?}", after(20));
        assert_eq!(after(50), LONGEST);
    }
}
