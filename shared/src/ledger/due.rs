//! Due rows: work that waits for the world. The queue is the [`table`]; memory holds a bounded window on it.

mod table;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use spillway_proto::time::{self, Timestamp};
use tokio::sync::Notify;

use super::due_in_hand::SET_ASIDE_US;
use super::queue_wait::QueueWait;
use super::says::{Due, DueChange};
pub use table::due_at;
pub(super) use table::{read, write};

/// The window on the due rows of one kind. What a commit makes due enters it at once, so nothing waits for a timer;
/// what does not fit stays in the table and is swept up later, and until it is, nothing that came after it enters the
/// window before it: what has been due for longest is taken first.
#[derive(Debug)]
pub struct DueFeed {
    kind: &'static str,
    capacity: usize,
    window: Mutex<Window>,
    /// There may be a row to take.
    ready: Notify,
    /// The table may hold more than the window.
    sweep: Notify,
    /// Rows that are held back, to be worked off alone.
    suspects: Mutex<VecDeque<Suspect>>,
    suspected: Notify,
    /// How long what is taken had to wait for a hand.
    pub(super) queue_wait: QueueWait,
}

/// A row that may be what ended the process.
#[derive(Debug)]
pub(super) struct Suspect {
    pub key: Bytes,
    /// Under which it is held back.
    pub ticket: u64,
    /// Starts at which it was found alone in hand.
    pub found: i64,
}

#[derive(Debug, Default)]
struct Window {
    slots: HashMap<Bytes, Slot>,
    order: VecDeque<Bytes>,
    /// The table may hold rows that are due and not in the window.
    behind: bool,
    /// When the first row in the table that is not yet due will be.
    next: Option<Timestamp>,
    /// While a sweep reads: what commits changed meanwhile.
    meanwhile: Option<Meanwhile>,
    /// The next ticket.
    tickets: u64,
}

/// What commits changed while a sweep read. What the sweep reads of it may not be so any more; this is.
#[derive(Debug, Default)]
struct Meanwhile {
    /// As it is now; `None` where it is not due any more.
    rows: HashMap<Bytes, Option<Due>>,
    order: Vec<Bytes>,
    /// More became due than is kept here.
    overflowed: bool,
}

#[derive(Debug)]
enum Slot {
    Ready(Due),
    /// Taken under this ticket; held back where it is not known what it says.
    InHand(u64, Option<Due>),
}

impl Slot {
    /// Whether it is this very row, not one that was moved since.
    fn holds(&self, row: &Due) -> bool {
        let (Slot::Ready(held) | Slot::InHand(_, Some(held))) = self else { return false };
        // The table keeps microseconds.
        let is_then = time::to_micros(held.at) == time::to_micros(row.at);
        is_then && (held.attempt, &held.payload) == (row.attempt, &row.payload)
    }
}

impl DueFeed {
    pub(super) fn new(kind: &'static str, capacity: usize) -> Self {
        let window = Mutex::new(Window { behind: true, ..Window::default() });
        let (ready, sweep, suspected) = (Notify::new(), Notify::new(), Notify::new());
        DueFeed {
            kind,
            capacity,
            window,
            ready,
            sweep,
            suspects: Mutex::default(),
            suspected,
            queue_wait: QueueWait::default(),
        }
    }

    pub fn kind(&self) -> &'static str {
        self.kind
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a commit: what it made due, moved or ended. A sweep may have read the commit before this tells of it: what it
    /// found is in the window, or in somebody's hand, and stays there.
    pub(super) fn committed(&self, changes: &[DueChange], now: Timestamp) {
        let mut window = self.window();
        let (mut offered, mut left) = (false, window.behind);
        for change in changes {
            match change {
                DueChange::Set(due) if window.slots.get(&due.key).is_some_and(|slot| slot.holds(due)) => {}
                DueChange::Set(due) if due.kind == self.kind => {
                    window.slots.remove(&due.key);
                    let fits = window.made_due(due, now, self.capacity);
                    (offered, left) = (offered || fits, left || !fits);
                }
                DueChange::Done { kind, key } if *kind == self.kind => {
                    window.slots.remove(key);
                    window.note(key, None);
                }
                DueChange::Set(_) | DueChange::Done { .. } => {}
            }
        }
        drop(window);
        if offered {
            self.ready.notify_waiters();
        }
        if left {
            self.sweep.notify_one();
        }
    }

    /// Rows that a sweep found: earliest first, all there are where it is `whole`.
    pub(super) fn swept(&self, rows: Vec<Due>, next: Option<Timestamp>, whole: bool, now: Timestamp) {
        let mut window = self.window();
        window.behind = !whole;
        window.next = [window.next, next].into_iter().flatten().min();
        let mut meanwhile = window.meanwhile.take().unwrap_or_default();
        window.behind |= meanwhile.overflowed;
        for due in rows {
            if !meanwhile.rows.contains_key(&due.key) && !window.slots.contains_key(&due.key) {
                window.offer(due, now, self.capacity);
            }
        }
        // What came meanwhile comes after what was there before. Where that is not all, it is swept up with the rest.
        for key in meanwhile.order.into_iter().filter(|_| whole) {
            if let Some(due) = meanwhile.rows.remove(&key).flatten() {
                window.offer(due, now, self.capacity);
            }
        }
        drop(window);
        self.ready.notify_waiters();
    }

    /// How many rows a sweep is to read, and when it is worth while: now, or at that time, or not before a commit.
    pub(super) fn wants(&self, now: Timestamp) -> Sweep {
        let mut window = self.window();
        if window.next.is_some_and(|next| next <= now) {
            window.behind = true;
        }
        if window.behind && window.slots.len() * 2 <= self.capacity {
            window.meanwhile = Some(Meanwhile::default());
            // What commits put off meanwhile counts beside what the sweep reads.
            window.next = None;
            return Sweep::Now { limit: self.capacity + window.slots.len() };
        }
        Sweep::At(window.next.filter(|_| !window.behind))
    }

    pub(super) async fn until_sweep(&self) {
        self.sweep.notified().await;
    }

    /// Waits until a row may be taken. `nothing_due` is told whenever there is none, neither here nor in the table.
    pub async fn until_ready(&self, nothing_due: impl Fn()) {
        loop {
            let notified = self.ready.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let (is_ready, is_behind) = self.window().look();
            if is_ready {
                return;
            }
            if !is_behind {
                nothing_due();
            }
            notified.await;
        }
    }

    /// Takes the row that has been due for longest, with a ticket, if there is one. It stays in hand until
    /// [`DueFeed::release`] of that ticket, or the commit that ends or moves it.
    pub fn try_take(&self) -> Option<(Due, u64)> {
        let mut window = self.window();
        while let Some(key) = window.order.pop_front() {
            if let Some(taken) = window.take(&key) {
                return Some(taken);
            }
        }
        None
    }

    /// Like [`DueFeed::try_take`], but what was never tried goes first. What has failed before says less about
    /// whether its peer is well.
    pub fn try_take_untried(&self) -> Option<(Due, u64)> {
        let mut window = self.window();
        let untried = |key: &&Bytes| matches!(window.slots.get(*key), Some(Slot::Ready(due)) if due.attempt <= 1);
        let Some(key) = window.order.iter().find(untried).cloned() else {
            drop(window);
            return self.try_take();
        };
        // Its place in the order is passed over when its turn comes: it is in hand by then, or gone.
        window.take(&key)
    }

    /// Holds a row back, as if it were in hand. `None` where it is in the window already.
    pub(super) fn hold(&self, key: &Bytes) -> Option<u64> {
        let mut window = self.window();
        let ticket = window.tickets;
        if window.slots.contains_key(key) {
            return None;
        }
        window.tickets += 1;
        window.slots.insert(key.clone(), Slot::InHand(ticket, None));
        Some(ticket)
    }

    /// Whether no commit has moved or ended it since it was held back.
    pub(super) fn is_held(&self, suspect: &Suspect) -> bool {
        let window = self.window();
        matches!(window.slots.get(&suspect.key), Some(Slot::InHand(ticket, _)) if *ticket == suspect.ticket)
    }

    /// A row that is held back is to be worked off alone.
    pub(super) fn suspect(&self, suspect: Suspect) {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).push_back(suspect);
        self.suspected.notify_one();
    }

    pub(super) async fn next_suspect(&self) -> Suspect {
        loop {
            if let Some(suspect) = self.suspects.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                return suspect;
            }
            self.suspected.notified().await;
        }
    }

    /// The row is no longer in hand; if it is still in the table it will be taken again.
    pub fn release(&self, key: &Bytes, ticket: u64) {
        let mut window = self.window();
        // Under a later ticket it is in somebody else's hand by now.
        if matches!(window.slots.get(key), Some(Slot::InHand(in_hand, _)) if *in_hand == ticket) {
            window.slots.remove(key);
            window.behind = true;
        }
        drop(window);
        self.sweep.notify_one();
    }
}

impl Window {
    /// Whether a row may be taken, and whether the table may hold further ones.
    fn look(&mut self) -> (bool, bool) {
        while let Some(key) = self.order.front() {
            if matches!(self.slots.get(key), Some(Slot::Ready(_))) {
                return (true, self.behind);
            }
            self.order.pop_front();
        }
        (false, self.behind)
    }

    /// Takes the row in hand if it is ready.
    fn take(&mut self, key: &Bytes) -> Option<(Due, u64)> {
        let ticket = self.tickets;
        let slot = self.slots.get_mut(key)?;
        let Slot::Ready(due) = slot else { return None };
        let due = due.clone();
        *slot = Slot::InHand(ticket, Some(due.clone()));
        self.tickets += 1;
        Some((due, ticket))
    }

    fn note(&mut self, key: &Bytes, due: Option<&Due>) {
        if let Some(meanwhile) = &mut self.meanwhile {
            if due.is_some() {
                meanwhile.order.push(key.clone());
            }
            meanwhile.rows.insert(key.clone(), due.cloned());
        }
    }

    /// A commit made it due, now or later. False where the row stays in the table for a sweep: behind what is there
    /// already, so that nothing overtakes it.
    fn made_due(&mut self, due: &Due, now: Timestamp, capacity: usize) -> bool {
        if due.at > now {
            self.note(&due.key, None);
            return self.offer(due.clone(), now, capacity);
        }
        if let Some(meanwhile) = &mut self.meanwhile {
            let is_kept = meanwhile.order.len() < capacity;
            meanwhile.overflowed |= !is_kept;
            self.note(&due.key, is_kept.then_some(due));
            return false;
        }
        if self.behind {
            return false;
        }
        self.offer(due.clone(), now, capacity)
    }

    /// False where the row stays in the table for a sweep.
    fn offer(&mut self, due: Due, now: Timestamp, capacity: usize) -> bool {
        if due.at > now {
            if time::to_micros(due.at) < SET_ASIDE_US {
                self.next = Some(self.next.map_or(due.at, |next| next.min(due.at)));
            }
            return false;
        }
        if self.slots.len() >= capacity {
            self.behind = true;
            return false;
        }
        self.order.push_back(due.key.clone());
        self.slots.insert(due.key.clone(), Slot::Ready(due));
        true
    }
}

/// When the table is to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sweep {
    Now {
        limit: usize,
    },
    /// At this time, or once a commit or a release says so.
    At(Option<Timestamp>),
}
