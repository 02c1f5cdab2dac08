//! The circuit breaker before the provider: `failsafe`, in a guard that closes its three holes.
//!
//! By itself it lets every caller through while it is half open, does not see calls that are dropped, and closes on a
//! success that belongs to a call from before it opened. Here one probe at a time is let through, a permit that is
//! dropped in the middle of its call counts as a failure, and verdicts of an older generation count for nothing.
//!
//! What opened it is due again first when it probes, so the probes are just the orders that failed. Where it is the order
//! that is sick and not the provider, one such order after the other would keep everybody waiting: a probe that fails opens
//! it again at once only where nothing speaks for the provider. Where the same order had failed before, or a probe has gone
//! well since, it takes as many failures in a row as opened it first.
//!
//! Its time is that of `std::time::Instant`: the breaker does not move with a ledger's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use failsafe::failure_policy::{ConsecutiveFailures, consecutive_failures};
use failsafe::{Instrument, StateMachine, backoff};
use tokio::sync::watch;

use crate::counters;

/// Probes in a row that must go well before everybody may call again.
pub const PROBES: u32 = 3;

/// What the breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// No calls, since then.
    Open { since: Instant },
    /// One probe at a time.
    HalfOpen,
}

impl BreakerState {
    pub fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open { .. } => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// How a call went, as far as the breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    /// The peer is sick: how that showed, in words.
    Sick(&'static str),
}

/// The breaker at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub state: BreakerState,
    /// For how long it has been in this state.
    pub lasts: Duration,
    /// While open: when it lets the next call through.
    pub opens_in: Option<Duration>,
    /// Failures in a row so far.
    pub failures: u32,
    /// How the last failure showed; empty where there was none.
    pub last_failure: &'static str,
}

/// The breaker. Cheap to clone.
#[derive(Clone)]
pub struct Breaker {
    inner: Arc<Inner>,
}

struct Inner {
    machine: StateMachine<ConsecutiveFailures<backoff::Constant>, Watched>,
    opens_after: u32,
    open_for: Duration,
    turns: Mutex<Turns>,
    state: watch::Sender<BreakerState>,
    /// Moves whenever somebody who was turned away may ask again.
    turned: watch::Sender<u64>,
}

struct Turns {
    /// Counts changes of state: a permit is worth something only in the one it was given in.
    generation: u64,
    is_probing: bool,
    /// Probes in a row that went well.
    probed: u32,
    /// Probes in a row that failed.
    failed_probes: u32,
    /// A probe has gone well since it was open.
    has_probed_well: bool,
    /// Nothing was called yet, but it is known to have been sick: the first calls are probes.
    is_suspect: bool,
    failures: u32,
    last_failure: &'static str,
    since: Instant,
}

impl Breaker {
    /// Opens after `failures` in a row for `open_for`.
    pub fn new(failures: u32, open_for: Duration) -> Self {
        Breaker::with(failures, open_for, false)
    }

    /// Before a peer that was sick when it was last called: the first calls are probes.
    pub fn suspicious(failures: u32, open_for: Duration) -> Self {
        Breaker::with(failures, open_for, true)
    }

    fn with(failures: u32, open_for: Duration, is_suspect: bool) -> Self {
        let state = watch::Sender::new(BreakerState::Closed);
        let opens_after = failures.max(1);
        let policy = consecutive_failures(opens_after, backoff::constant(open_for));
        let machine = StateMachine::new(policy, Watched(state.clone()));
        if is_suspect {
            state.send_replace(BreakerState::HalfOpen);
        }
        let turns = Turns {
            generation: 0,
            is_probing: false,
            probed: 0,
            failed_probes: 0,
            has_probed_well: false,
            is_suspect,
            failures: 0,
            last_failure: "",
            since: Instant::now(),
        };
        let turned = watch::Sender::new(0);
        Breaker { inner: Arc::new(Inner { machine, opens_after, open_for, turns: Mutex::new(turns), state, turned }) }
    }

    /// The state, as it changes.
    pub fn watch(&self) -> watch::Receiver<BreakerState> {
        self.inner.state.subscribe()
    }

    /// Changes whenever somebody who was turned away may ask again.
    pub fn turned(&self) -> watch::Receiver<u64> {
        self.inner.turned.subscribe()
    }

    pub fn state(&self) -> BreakerState {
        *self.inner.state.borrow()
    }

    /// How it stands.
    pub fn look(&self) -> Look {
        let turns = self.inner.turns();
        let state = self.state();
        let opens_in = match state {
            BreakerState::Open { since } => Some(self.inner.open_for.saturating_sub(since.elapsed())),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        };
        let Turns { failures, last_failure, since, .. } = *turns;
        Look { state, lasts: since.elapsed(), opens_in, failures, last_failure }
    }

    /// A permit for one call, or how long to wait before asking again.
    pub fn admit(&self) -> Result<Permit, Duration> {
        let mut turns = self.inner.turns();
        let before = self.state();
        let is_permitted = self.inner.machine.is_call_permitted();
        let state = self.state();
        if state != before {
            turns.turn();
        }
        let is_probe = match state {
            BreakerState::Closed => false,
            BreakerState::HalfOpen if !turns.is_probing => true,
            BreakerState::HalfOpen => return Err(self.inner.open_for / 8),
            BreakerState::Open { since } => return Err(self.inner.open_for.saturating_sub(since.elapsed())),
        };
        if !is_permitted {
            return Err(self.inner.open_for);
        }
        turns.is_probing = is_probe;
        let generation = turns.generation;
        Ok(Permit { inner: self.inner.clone(), generation, is_probe, is_again: false, use_of: UseOf::None })
    }
}

impl Inner {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, generation: u64, (is_probe, is_again): (bool, bool), verdict: Verdict) {
        let mut turns = self.turns();
        match verdict {
            Verdict::Healthy => turns.failures = 0,
            Verdict::Sick(words) => {
                turns.failures = turns.failures.saturating_add(1);
                turns.last_failure = words;
            }
        }
        if turns.generation != generation {
            return;
        }
        let before = *self.state.borrow();
        match verdict {
            Verdict::Healthy if is_probe => {
                turns.probed_well();
                if turns.probed >= PROBES {
                    self.close(&mut turns);
                }
            }
            Verdict::Healthy => self.machine.on_success(),
            Verdict::Sick(_) if is_probe && !turns.probe_decides(is_again, self.opens_after) => {}
            Verdict::Sick(_) if turns.is_suspect => {
                turns.is_suspect = false;
                // It takes the word of the process before this one for the failures that it did not see.
                (0..self.opens_after).for_each(|_| self.machine.on_error());
            }
            Verdict::Sick(_) => self.machine.on_error(),
        }
        if *self.state.borrow() != before {
            turns.turn();
        }
        drop(turns);
        if is_probe {
            self.turned.send_modify(|times| *times += 1);
        }
    }

    fn close(&self, turns: &mut Turns) {
        self.machine.on_success();
        if turns.is_suspect {
            turns.is_suspect = false;
            Watched(self.state.clone()).turn(BreakerState::Closed);
        }
    }

    /// A permit that was not used gives its turn back.
    fn unused(&self, generation: u64, is_probe: bool) {
        let mut turns = self.turns();
        if is_probe && turns.generation == generation {
            turns.is_probing = false;
            drop(turns);
            self.turned.send_modify(|times| *times += 1);
        }
    }
}

impl Turns {
    fn turn(&mut self) {
        self.generation += 1;
        self.is_probing = false;
        (self.probed, self.failed_probes, self.has_probed_well) = (0, 0, false);
        self.since = Instant::now();
    }

    fn probed_well(&mut self) {
        self.is_probing = false;
        self.has_probed_well = true;
        (self.probed, self.failed_probes) = (self.probed + 1, 0);
    }

    /// A probe has failed. Whether that says enough of the provider.
    fn probe_decides(&mut self, is_again: bool, opens_after: u32) -> bool {
        self.is_probing = false;
        (self.probed, self.failed_probes) = (0, self.failed_probes + 1);
        let may_be_the_order = is_again || self.has_probed_well;
        !may_be_the_order || self.failed_probes >= opens_after
    }
}

/// Leave to make one call. Dropped before the call it changes nothing; dropped without a verdict after it has begun, the
/// call counts as a failure.
pub struct Permit {
    inner: Arc<Inner>,
    generation: u64,
    is_probe: bool,
    /// The same was tried before, in vain.
    is_again: bool,
    use_of: UseOf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum UseOf {
    None,
    Begun,
    Judged,
}

impl Permit {
    /// The call begins; `is_again` where the same was tried before, in vain.
    pub fn begin(&mut self, is_again: bool) {
        self.use_of = UseOf::Begun;
        self.is_again = is_again;
        if self.is_probe {
            counters::probe();
        }
    }

    /// Says how the call went.
    pub fn judge(mut self, verdict: Verdict) {
        self.use_of = UseOf::Judged;
        self.inner.judge(self.generation, (self.is_probe, self.is_again), verdict);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match self.use_of {
            UseOf::None => self.inner.unused(self.generation, self.is_probe),
            UseOf::Begun => {
                let broken_off = Verdict::Sick("a call was broken off by ourselves");
                self.inner.judge(self.generation, (self.is_probe, self.is_again), broken_off);
            }
            UseOf::Judged => {}
        }
    }
}

/// Hears of every change of state, under the lock of the turns.
struct Watched(watch::Sender<BreakerState>);

impl Watched {
    fn turn(&self, state: BreakerState) {
        let before = self.0.send_replace(state);
        counters::breaker(state);
        if before.name() != state.name() {
            tracing::warn!(state = state.name(), before = before.name(), "provider breaker changed");
        }
    }
}

impl Instrument for Watched {
    fn on_call_rejected(&self) {
        counters::rejection();
    }

    fn on_open(&self) {
        self.turn(BreakerState::Open { since: Instant::now() });
    }

    fn on_half_open(&self) {
        self.turn(BreakerState::HalfOpen);
    }

    fn on_closed(&self) {
        self.turn(BreakerState::Closed);
    }
}

#[cfg(test)]
mod tests;
