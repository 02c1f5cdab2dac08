//! The circuit breaker before the provider: `failsafe`, in a guard that closes its three holes.
//!
//! By itself it lets every caller through while it is half open, does not see calls that are dropped, and closes on a
//! success that belongs to a call from before it opened. Here one probe at a time is let through, a permit that is
//! dropped without a verdict counts as a failure, and verdicts of an older generation count for nothing.
//!
//! Its time is that of `std::time::Instant`: the breaker does not move with a ledger's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use failsafe::failure_policy::{ConsecutiveFailures, consecutive_failures};
use failsafe::{Instrument, StateMachine, backoff};
use tokio::sync::watch;

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
    Sick,
}

/// The breaker. Cheap to clone.
#[derive(Clone)]
pub struct Breaker {
    inner: Arc<Inner>,
}

struct Inner {
    machine: StateMachine<ConsecutiveFailures<backoff::Constant>, Watched>,
    open_for: Duration,
    gate: Mutex<Gate>,
    state: watch::Sender<BreakerState>,
}

#[derive(Default)]
struct Gate {
    /// Counts changes of state: a permit is worth something only in the one it was given in.
    generation: u64,
    is_probing: bool,
}

impl Breaker {
    /// Opens after `failures` in a row for `open_for`.
    pub fn new(failures: u32, open_for: Duration) -> Self {
        let state = watch::Sender::new(BreakerState::Closed);
        let policy = consecutive_failures(failures.max(1), backoff::constant(open_for));
        let machine = StateMachine::new(policy, Watched(state.clone()));
        Breaker { inner: Arc::new(Inner { machine, open_for, gate: Mutex::default(), state }) }
    }

    /// The state, as it changes.
    pub fn watch(&self) -> watch::Receiver<BreakerState> {
        self.inner.state.subscribe()
    }

    /// A permit for one call, or how long to wait before asking again.
    pub fn admit(&self) -> Result<Permit, Duration> {
        let mut gate = self.inner.gate();
        let before = *self.inner.state.borrow();
        let is_permitted = self.inner.machine.is_call_permitted();
        let state = *self.inner.state.borrow();
        if state != before {
            gate.turn();
        }
        let is_probe = match state {
            BreakerState::Closed => false,
            BreakerState::HalfOpen if !gate.is_probing => true,
            BreakerState::HalfOpen => return Err(self.inner.open_for / 8),
            BreakerState::Open { since } => return Err(self.inner.open_for.saturating_sub(since.elapsed())),
        };
        if !is_permitted {
            return Err(self.inner.open_for);
        }
        gate.is_probing = is_probe;
        Ok(Permit { inner: self.inner.clone(), generation: gate.generation, is_probe, is_judged: false })
    }
}

impl Inner {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, generation: u64, is_probe: bool, verdict: Verdict) {
        let mut gate = self.gate();
        if gate.generation != generation {
            return;
        }
        if is_probe {
            gate.is_probing = false;
        }
        let before = *self.state.borrow();
        match verdict {
            Verdict::Healthy => self.machine.on_success(),
            Verdict::Sick => self.machine.on_error(),
        }
        if *self.state.borrow() != before {
            gate.turn();
        }
    }
}

impl Gate {
    fn turn(&mut self) {
        self.generation += 1;
        self.is_probing = false;
    }
}

/// Leave to make one call. Dropped without a verdict, the call counts as a failure.
pub struct Permit {
    inner: Arc<Inner>,
    generation: u64,
    is_probe: bool,
    is_judged: bool,
}

impl Permit {
    /// Says how the call went.
    pub fn judge(mut self, verdict: Verdict) {
        self.is_judged = true;
        self.inner.judge(self.generation, self.is_probe, verdict);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_judged {
            self.inner.judge(self.generation, self.is_probe, Verdict::Sick);
        }
    }
}

/// Hears of every change of state, under the gate's lock.
struct Watched(watch::Sender<BreakerState>);

impl Watched {
    fn turn(&self, state: BreakerState) {
        let before = self.0.send_replace(state);
        if before.name() != state.name() {
            tracing::warn!(state = state.name(), before = before.name(), "provider breaker changed");
        }
    }
}

impl Instrument for Watched {
    fn on_call_rejected(&self) {}

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
mod tests {
    use super::*;

    /// Open long enough that a test never sees it end.
    const LONG: Duration = Duration::from_secs(3600);

    fn permit(breaker: &Breaker) -> Permit {
        breaker.admit().expect("lets a call through")
    }

    fn state(breaker: &Breaker) -> &'static str {
        breaker.watch().borrow().name()
    }

    fn fail(breaker: &Breaker, times: usize) {
        (0..times).for_each(|_| permit(breaker).judge(Verdict::Sick));
    }

    /// A breaker that opened and whose time has passed: the next call is a probe.
    fn about_to_probe() -> Breaker {
        let breaker = Breaker::new(2, Duration::ZERO);
        fail(&breaker, 2);
        assert_eq!(state(&breaker), "open");
        breaker
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_not_before() {
        let breaker = Breaker::new(5, LONG);
        fail(&breaker, 4);
        permit(&breaker).judge(Verdict::Healthy);
        fail(&breaker, 4);
        assert_eq!(state(&breaker), "closed");
        fail(&breaker, 1);
        assert_eq!(state(&breaker), "open");
        let wait = breaker.admit().err().expect("open");
        assert!(wait <= LONG && wait > LONG / 2, "{wait:?}");
    }

    #[test]
    fn a_call_that_is_dropped_is_a_failure() {
        let breaker = Breaker::new(3, LONG);
        (0..3).for_each(|_| drop(permit(&breaker)));
        assert_eq!(state(&breaker), "open");
    }

    #[test]
    fn half_open_lets_one_probe_through_at_a_time() {
        let breaker = about_to_probe();
        let probe = permit(&breaker);
        assert_eq!(state(&breaker), "half_open");
        assert!((0..100).all(|_| breaker.admit().is_err()));
        probe.judge(Verdict::Healthy);
        assert_eq!(state(&breaker), "closed");
        let many: Vec<Permit> = (0..100).map(|_| permit(&breaker)).collect();
        many.into_iter().for_each(|permit| permit.judge(Verdict::Healthy));
    }

    #[test]
    fn a_probe_that_fails_or_is_dropped_opens_it_again_and_leaves_room_for_the_next() {
        let breaker = about_to_probe();
        permit(&breaker).judge(Verdict::Sick);
        assert_eq!(state(&breaker), "open");
        drop(permit(&breaker));
        assert_eq!(state(&breaker), "open");
        permit(&breaker).judge(Verdict::Healthy);
        assert_eq!(state(&breaker), "closed");
    }

    #[test]
    fn what_was_called_before_it_opened_neither_closes_nor_opens_it() {
        let breaker = Breaker::new(2, Duration::ZERO);
        let (late_success, late_failure) = (permit(&breaker), permit(&breaker));
        fail(&breaker, 2);
        let probe = permit(&breaker);
        late_success.judge(Verdict::Healthy);
        assert_eq!(state(&breaker), "half_open", "a late success must not close it");
        late_failure.judge(Verdict::Sick);
        assert_eq!(state(&breaker), "half_open", "a late failure must not open it");
        assert!(breaker.admit().is_err(), "the probe is still out");
        probe.judge(Verdict::Healthy);
        assert_eq!(state(&breaker), "closed");
    }

    #[test]
    fn a_failure_from_before_an_outage_counts_for_nothing_after_it() {
        let breaker = Breaker::new(2, Duration::ZERO);
        let late: Vec<Permit> = (0..5).map(|_| permit(&breaker)).collect();
        fail(&breaker, 2);
        permit(&breaker).judge(Verdict::Healthy);
        late.into_iter().for_each(|permit| permit.judge(Verdict::Sick));
        assert_eq!(state(&breaker), "closed");
    }
}
