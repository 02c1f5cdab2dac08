//! What became of every order of a run: counts, latencies, and who waits for which end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use spillway_proto::OrderId;
use tokio::sync::Notify;

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Confirmed,
    Rejected,
    Cancelled,
}

/// The counts and latencies of a run.
#[derive(Debug)]
pub struct Tracker {
    state: Mutex<State>,
    /// An order came to its end.
    ended: Notify,
}

#[derive(Debug)]
struct State {
    open: HashMap<OrderId, (Instant, bool)>,
    /// Ends that were heard before the answer to PlaceOrder was.
    early: HashMap<OrderId, End>,
    tally: Tally,
}

/// What is counted; only orders sent after the warm-up.
#[derive(Clone, Debug)]
pub struct Tally {
    pub sent: u64,
    pub accepted: u64,
    pub confirmed: u64,
    pub rejected: u64,
    pub cancelled: u64,
    /// Answers that were no acceptance, by gRPC code.
    pub refused: BTreeMap<String, u64>,
    /// From when it was (or should have been) sent to the answer.
    pub accept: Histogram<u64>,
    /// From when it was (or should have been) sent to its end as confirmed.
    pub confirm: Histogram<u64>,
    /// When the first was sent and the last came to its end.
    pub first: Option<Instant>,
    pub last: Option<Instant>,
}

impl Tally {
    fn new() -> Self {
        // 1 µs to 5 minutes, to three digits.
        let histogram = || Histogram::new_with_bounds(1, 300_000_000, 3).expect("valid bounds");
        Tally {
            sent: 0,
            accepted: 0,
            confirmed: 0,
            rejected: 0,
            cancelled: 0,
            refused: BTreeMap::new(),
            accept: histogram(),
            confirm: histogram(),
            first: None,
            last: None,
        }
    }

    /// Accepted and not yet at their end.
    pub fn open(&self) -> u64 {
        self.accepted.saturating_sub(self.confirmed + self.rejected + self.cancelled)
    }
}

impl Tracker {
    pub fn new() -> Self {
        let state = State { open: HashMap::new(), early: HashMap::new(), tally: Tally::new() };
        Tracker { state: Mutex::new(state), ended: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn sent(&self, at: Instant, counts: bool) {
        if counts {
            let tally = &mut self.state().tally;
            tally.sent += 1;
            tally.first.get_or_insert(at);
        }
    }

    /// An order was accepted. True where its end is known already.
    pub fn accepted(&self, order: OrderId, sent: Instant, counts: bool, follows: bool) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        if counts {
            state.tally.accepted += 1;
            record(&mut state.tally.accept, now - sent);
        }
        if !follows {
            state.tally.last = Some(now);
            return true;
        }
        if let Some(end) = state.early.remove(&order) {
            state.end(end, sent, counts, now);
            return true;
        }
        state.open.insert(order, (sent, counts));
        false
    }

    pub fn refused(&self, code: &str, counts: bool) {
        if counts {
            *self.state().tally.refused.entry(code.to_owned()).or_insert(0) += 1;
        }
    }

    /// Orders came to their ends; others' orders are among them.
    pub fn ended(&self, ends: impl IntoIterator<Item = (OrderId, End)>) {
        let now = Instant::now();
        let mut state = self.state();
        for (order, end) in ends {
            match state.open.remove(&order) {
                Some((sent, counts)) => state.end(end, sent, counts, now),
                None => {
                    // Bounded: an end that was not claimed soon is somebody else's order.
                    if state.early.len() > 100_000 {
                        state.early.clear();
                    }
                    state.early.insert(order, end);
                }
            }
        }
        drop(state);
        self.ended.notify_waiters();
    }

    /// Waits until this order is not open any more.
    pub async fn until_ended(&self, order: OrderId) {
        loop {
            let notified = self.ended.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if !self.state().open.contains_key(&order) {
                return;
            }
            notified.await;
        }
    }

    /// Waits until no order is open any more.
    pub async fn until_settled(&self) {
        loop {
            let notified = self.ended.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.state().open.is_empty() {
                return;
            }
            notified.await;
        }
    }

    pub fn tally(&self) -> Tally {
        self.state().tally.clone()
    }

    /// (sent, accepted, confirmed, open), for progress.
    pub fn counts(&self) -> (u64, u64, u64, u64) {
        let state = self.state();
        (state.tally.sent, state.tally.accepted, state.tally.confirmed, state.tally.open())
    }
}

impl State {
    fn end(&mut self, end: End, sent: Instant, counts: bool, now: Instant) {
        if !counts {
            return;
        }
        self.tally.last = Some(now);
        match end {
            End::Confirmed => {
                self.tally.confirmed += 1;
                record(&mut self.tally.confirm, now - sent);
            }
            End::Rejected => self.tally.rejected += 1,
            End::Cancelled => self.tally.cancelled += 1,
        }
    }
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    histogram.saturating_record(micros.max(1));
}
