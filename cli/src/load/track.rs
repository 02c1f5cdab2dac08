//! What became of every order of a run: counts, latencies, and who waits for which end.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spillway_proto::OrderId;
use tokio::sync::Notify;

use super::tally::{End, Refused, Sent, Tally};

/// The counts and latencies of a run.
#[derive(Debug)]
pub struct Tracker {
    state: Mutex<State>,
    /// An order came to its end.
    ended: Notify,
}

#[derive(Debug)]
struct State {
    open: HashMap<OrderId, Sent>,
    /// Ends that were heard before the answer to PlaceOrder was.
    early: HashMap<OrderId, End>,
    tally: Tally,
}

impl Tracker {
    /// An order that is confirmed `within` this time is a good one.
    pub fn new(within: Duration) -> Self {
        let state = State { open: HashMap::new(), early: HashMap::new(), tally: Tally::new(within) };
        Tracker { state: Mutex::new(state), ended: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn sent(&self, sent: &Sent) {
        self.state().tally.sent(sent);
    }

    /// An order was accepted. True where its end is known already.
    pub fn accepted(&self, order: OrderId, sent: Sent, follows: bool) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        state.tally.accepted(&sent, now);
        if !follows {
            state.tally.last = Some(now);
            return true;
        }
        if let Some(end) = state.early.remove(&order) {
            state.tally.ended(&sent, end, now);
            return true;
        }
        state.open.insert(order, sent);
        false
    }

    pub fn refused(&self, sent: &Sent, refused: &Refused) {
        self.state().tally.refused(sent, refused);
    }

    /// Orders came to their ends; others' orders are among them.
    pub fn ended(&self, ends: impl IntoIterator<Item = (OrderId, End)>) {
        let now = Instant::now();
        let mut state = self.state();
        for (order, end) in ends {
            match state.open.remove(&order) {
                Some(sent) => state.tally.ended(&sent, end, now),
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
