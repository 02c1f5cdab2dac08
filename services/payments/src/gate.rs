//! What a call to the provider has to pass: the breaker, and after an outage a rate that rises from slow to free.
//!
//! While the breaker is open nothing is taken: due rows stay where they are, spend no try and are not rewritten. An
//! outage begins when the breaker opens, and is over when what had waited is worked off, or nothing holds it back any
//! more: a breaker that opens again before that is still the same outage. At rest there is neither.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spillway_proto::time::{self, Timestamp};
use spillway_shared::ledger::{self, Clock};
use tokio::sync::watch;

use crate::breaker::{Breaker, BreakerState, Look, Permit};
use crate::counters;
use crate::ramp::Ramp;

/// How it goes with the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Well,
    /// It cannot be reached, since then; what waits says so.
    Out {
        since: Timestamp,
    },
    /// It can be reached again, and what has waited since then is worked off.
    Draining {
        since: Timestamp,
    },
}

impl Phase {
    /// When the outage began that is not over yet.
    pub fn since(self) -> Option<Timestamp> {
        match self {
            Phase::Well => None,
            Phase::Out { since } | Phase::Draining { since } => Some(since),
        }
    }
}

/// Calls a second at most while a backlog is worked off; `None` where nothing bounds them.
pub type DrainRate = watch::Receiver<Option<f64>>;

/// The gate before one provider, for all ledgers of the process. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    breaker: Breaker,
    drain_rate: DrainRate,
    clock: Arc<dyn Clock>,
    flow: Mutex<Flow>,
    phase: watch::Sender<Phase>,
    /// Something of the flow is not at rest: whatever is called asks it first.
    is_stirred: AtomicBool,
}

#[derive(Default)]
struct Flow {
    ramp: Option<Ramp>,
    /// Failures that the ramp knows of.
    failures: u32,
    /// Of each lane: there has been nothing to do since the ramp began.
    drained: Vec<bool>,
    /// Of each lane: there is nothing to do now.
    idle: Vec<Arc<AtomicBool>>,
}

impl Gate {
    /// `outage` began before this process did and is not known to be over: the breaker then starts suspicious.
    pub fn new(breaker: Breaker, drain_rate: DrainRate, clock: Arc<dyn Clock>, outage: Option<Timestamp>) -> Self {
        let phase = watch::Sender::new(outage.map_or(Phase::Well, |since| Phase::Out { since }));
        let is_stirred = AtomicBool::new(outage.is_some());
        let inner = Inner { breaker, drain_rate, clock, flow: Mutex::default(), phase, is_stirred };
        Gate { inner: Arc::new(inner) }
    }

    /// A way through, for the work of one kind of one ledger.
    pub fn lane(&self) -> Lane {
        let mut flow = self.inner.flow();
        let is_idle = Arc::new(AtomicBool::new(false));
        flow.idle.push(is_idle.clone());
        flow.drained.push(false);
        Lane { gate: self.clone(), number: flow.idle.len() - 1, is_idle }
    }

    /// How it goes, as it changes.
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.inner.phase.subscribe()
    }

    pub fn phase(&self) -> Phase {
        self.observe();
        *self.inner.phase.borrow()
    }

    /// How the breaker stands.
    pub fn look(&self) -> Look {
        self.inner.breaker.look()
    }

    /// When the breaker's state changes.
    pub fn breaker(&self) -> watch::Receiver<BreakerState> {
        self.inner.breaker.watch()
    }

    /// When so many calls from now the last of them is let through, as far as that can be told.
    pub fn expected(&self, calls: u64) -> Timestamp {
        let (look, now) = (self.look(), Instant::now());
        let bound = *self.inner.drain_rate.borrow();
        let ramp = self.inner.flow().ramp;
        let wait = match (self.phase(), ramp) {
            (Phase::Well, _) => Duration::ZERO,
            (Phase::Draining { .. }, Some(ramp)) => ramp.time_for(calls, now, bound),
            (Phase::Out { .. } | Phase::Draining { .. }, _) => {
                look.opens_in.unwrap_or_default() + Ramp::begin(now).time_for(calls, now, bound)
            }
        };
        time::from_micros(time::to_micros(self.inner.clock.now()).saturating_add_unsigned(micros(wait)))
    }

    /// Calls a second that are let through now, where something holds them back.
    pub fn held_to(&self) -> Option<f64> {
        let bound = *self.inner.drain_rate.borrow();
        self.inner.flow().ramp.map(|ramp| ramp.rate(Instant::now(), bound))
    }

    /// Takes the breaker's state to heart: an outage begins, its backlog is worked off, it is over.
    pub fn observe(&self) {
        let mut flow = self.inner.flow();
        self.inner.observe(&mut flow);
    }

    fn try_pass(&self, number: usize) -> Result<Permit, Duration> {
        let is_calm = self.inner.breaker.state() == BreakerState::Closed;
        if is_calm && !self.inner.is_stirred.load(Ordering::Acquire) {
            return self.inner.breaker.admit();
        }
        let mut flow = self.inner.flow();
        self.inner.observe(&mut flow);
        if let Some(drained) = flow.drained.get_mut(number) {
            *drained = false;
        }
        let bound = *self.inner.drain_rate.borrow();
        if let Some(ramp) = &mut flow.ramp {
            ramp.take(Instant::now(), bound)?;
        }
        self.inner.breaker.admit()
    }

    /// A lane has nothing to do.
    fn nothing_due(&self, number: usize) {
        if !self.inner.is_stirred.load(Ordering::Acquire) {
            return;
        }
        let mut flow = self.inner.flow();
        if let Some(drained) = flow.drained.get_mut(number) {
            *drained = true;
        }
        self.inner.observe(&mut flow);
    }

    /// What was held up goes on at a rate that rises, as after an outage.
    fn resumed(&self) {
        let mut flow = self.inner.flow();
        let failures = self.look().failures;
        if flow.ramp.is_none() && self.inner.breaker.state() == BreakerState::Closed {
            flow.drain(failures, Instant::now());
        }
        self.inner.is_stirred.store(true, Ordering::Release);
    }
}

impl Inner {
    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, flow: &mut Flow) {
        let look = self.breaker.look();
        let before = *self.phase.borrow();
        let (now, bound) = (Instant::now(), *self.drain_rate.borrow());
        let after = match (look.state, before.since()) {
            (BreakerState::Closed, None) => {
                if flow.is_drained(now, bound) {
                    flow.ramp = None;
                }
                Phase::Well
            }
            (BreakerState::Open { .. } | BreakerState::HalfOpen, since) => {
                flow.ramp = None;
                Phase::Out { since: since.unwrap_or_else(|| time::whole_micros(self.clock.now())) }
            }
            (BreakerState::Closed, Some(since)) => {
                flow.drain(look.failures, now);
                if flow.is_drained(now, bound) {
                    flow.ramp = None;
                    Phase::Well
                } else {
                    Phase::Draining { since }
                }
            }
        };
        if after != before {
            tracing::info!(?after, "the provider's outage");
            self.phase.send_replace(after);
        }
        self.is_stirred.store(after != Phase::Well || flow.ramp.is_some(), Ordering::Release);
        counters::drain_rate(flow.ramp.map_or(0.0, |ramp| ramp.rate(now, bound)));
    }
}

impl Flow {
    /// A fresh failure while the backlog is worked off begins the ramp anew.
    fn drain(&mut self, failures: u32, now: Instant) {
        if self.ramp.is_none() {
            for (drained, is_idle) in self.drained.iter_mut().zip(&self.idle) {
                *drained = is_idle.load(Ordering::Acquire);
            }
        }
        if self.ramp.is_none() || failures > self.failures {
            self.ramp = Some(Ramp::begin(now));
        }
        self.failures = failures;
    }

    /// Every lane has run dry since the ramp began, or nothing is held back by it any more.
    fn is_drained(&self, now: Instant, bound: Option<f64>) -> bool {
        self.ramp.is_none_or(|ramp| ramp.is_over(now, bound)) || self.drained.iter().all(|drained| *drained)
    }
}

fn micros(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)
}

/// One kind of one ledger's work before the gate.
pub struct Lane {
    gate: Gate,
    number: usize,
    is_idle: Arc<AtomicBool>,
}

impl ledger::Gate for Lane {
    type Pass = Permit;

    async fn pass(&self) -> Permit {
        self.is_idle.store(false, Ordering::Release);
        if let Ok(permit) = self.gate.try_pass(self.number) {
            return permit;
        }
        let mut turned = self.gate.inner.breaker.turned();
        loop {
            turned.borrow_and_update();
            let wait = match self.gate.try_pass(self.number) {
                Ok(permit) => return permit,
                Err(wait) => wait,
            };
            tokio::select! {
                () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
                _ = turned.changed() => {}
            }
        }
    }

    fn is_probing(&self) -> bool {
        self.gate.inner.breaker.state() == BreakerState::HalfOpen
    }

    fn nothing_due(&self) {
        self.is_idle.store(true, Ordering::Release);
        self.gate.nothing_due(self.number);
    }

    fn resumed(&self) {
        self.is_idle.store(false, Ordering::Release);
        self.gate.resumed();
    }
}

/// Who is gone holds nothing up.
impl Drop for Lane {
    fn drop(&mut self) {
        ledger::Gate::nothing_due(self);
    }
}

#[cfg(test)]
mod tests;
