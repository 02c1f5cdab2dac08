//! Keeps the share that is let in: asks the services how far they have come, and regulates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use spillway_proto::pb::internal::{PulseRequest, PulseResponse};
use spillway_proto::{Incarnation, Ledger as Source, Partition};
use spillway_shared::bus::{Bus, CallFailed, Caller};
use spillway_shared::ledger::Ledger;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::backlog::{self, Backlog};
use super::edges::{Edges, Listener, STOPPED_AFTER, Unheard};
use super::pressure::{Pressure, Seen};
use super::served::{Count, Served};
use super::{Admission, Signal};
use crate::intake::Intake;

/// How often the share is set, and the services asked while anything is placed.
const EVERY: Duration = Duration::from_millis(100);

/// The services are asked for so long after the last order was placed.
const ASKED_AFTER: Duration = Duration::from_secs(5);

/// The regulator's task.
pub struct Pulse {
    admission: Arc<Admission>,
    ledger: Ledger<Intake>,
    bus: Bus,
    partitions: Vec<Partition>,
    pressure: Pressure,
    edges: Edges,
    served: Served,
    /// How long due work of a ledger waits for a free hand, and when it was said.
    queues: BTreeMap<Listener, (Instant, Duration)>,
    backlog: Backlog,
    target: Duration,
}

/// Who answered what, and when it was asked.
type Answer = (Listener, Instant, Result<PulseResponse, CallFailed>);

impl Pulse {
    /// `target` is how long an order may wait behind others.
    pub fn new(
        admission: Arc<Admission>,
        ledger: Ledger<Intake>,
        bus: Bus,
        partitions: u16,
        target: Duration,
    ) -> Pulse {
        let partitions = (0..partitions).map(Partition).collect();
        let pressure = Pressure::new(target);
        let (edges, served, queues) = (Edges::default(), Served::default(), BTreeMap::new());
        let backlog = Backlog::default();
        Pulse { admission, ledger, bus, partitions, pressure, edges, served, queues, backlog, target }
    }

    /// Until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked: FuturesUnordered<BoxFuture<'static, Answer>> = FuturesUnordered::new();
        let mut open: BTreeSet<Listener> = BTreeSet::new();
        let (mut before, mut used) = (Instant::now(), None::<Instant>);
        loop {
            tokio::select! {
                Some((who, at, answer)) = asked.next(), if !asked.is_empty() => {
                    open.remove(&who);
                    self.hear(who, answer, (at, Instant::now()));
                }
                _ = ticks.tick() => {
                    let now = Instant::now();
                    let came = self.admission.came.swap(0, Ordering::Relaxed);
                    if came > 0 {
                        used = Some(now);
                    }
                    self.regulate(came, now, now.duration_since(before));
                    before = now;
                    if used.is_some_and(|used| now.duration_since(used) < ASKED_AFTER) {
                        let fresh: Vec<Listener> = self.all().filter(|who| open.insert(*who)).collect();
                        asked.extend(fresh.into_iter().map(|who| self.ask(who)));
                    }
                }
                () = stop.cancelled() => return,
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = Listener> {
        let partitioned = self.partitions.iter().flat_map(|p| [(Source::Orders, *p), (Source::Payments, *p)]);
        partitioned.chain([(Source::Inventory, Partition(0))])
    }

    fn ask(&self, who: Listener) -> BoxFuture<'static, Answer> {
        let bus = self.bus.clone();
        Box::pin(async move {
            let (caller, at) = (Caller::background(STOPPED_AFTER), Instant::now());
            (who, at, bus.call(who.0, who.1, "pulse", &caller, &PulseRequest {}).await)
        })
    }

    fn hear(&mut self, who: Listener, answer: Result<PulseResponse, CallFailed>, (asked, now): (Instant, Instant)) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // NATS tells at once where nobody listens: who stops for a moment is not taken for a jam.
                tracing::debug!(%error, "no pulse");
                self.edges.gone(who);
                return;
            }
        };
        self.hear_own(now);
        self.edges.answered(who, now);
        self.queues.insert(who, (now, Duration::from_micros(answer.queue_wait_us)));
        self.served.told(who, Count { at: asked, heard: answer.heard_events, said: answer.said_events });
        for head in answer.heads {
            if let Some((partition, incarnation)) = identity(head.partition, &head.incarnation) {
                self.edges.head((who.0, partition), incarnation, head.number, now);
            }
        }
        for mark in answer.marks {
            if let Some((partition, incarnation)) = identity(mark.partition, &mark.incarnation) {
                self.edges.mark(who, partition, incarnation, mark.number, (asked, now));
            }
        }
    }

    /// The gateway's own heads.
    fn hear_own(&mut self, now: Instant) {
        let incarnation = self.ledger.identity().incarnation;
        for (partition, head) in self.ledger.heads().borrow().iter() {
            self.edges.head((Source::Gateway, *partition), incarnation, *head, now);
        }
    }

    fn regulate(&mut self, came: u64, now: Instant, passed: Duration) {
        self.hear_own(now);
        // Another's lock is no overload: who comes meanwhile is told so by the ledger itself.
        let commit = if self.ledger.is_locked() { Duration::ZERO } else { self.admission.waits.longest(now) };
        let unheard = self.unheard(now);
        let signal = if unheard.wait > commit { Signal::Unheard } else { Signal::CommitWait };
        let ended = self.partitions.iter().map(|partition| {
            // Work that waits for a hand, and not for the provider, has not come to its end.
            let is_queued = queue(&self.queues, *partition, now) >= EVERY;
            self.served.ended_per_second(*partition, is_queued || self.edges.waits_for_orders(*partition, now), now)
        });
        let served = self.served.per_second(ended.sum(), now);
        let wait = commit + unheard.wait;
        self.backlog.let_in(self.admission.take_let_in(), now);
        let unknown = unheard.asked.map_or(Duration::ZERO, |asked| now.saturating_duration_since(asked));
        let on_their_way = self.backlog.orders(wait.max(unknown), now) as f64;
        let most = backlog::most(self.pressure.best, self.target);
        let too_many = (on_their_way > most).then(|| self.target.mul_f64(on_their_way / most));
        let seen = Seen { wait: wait.max(too_many.unwrap_or_default()), served, came, passed };
        let share = self.pressure.update(&seen);
        let limit = self.pressure.limit.map(|limit| limit * EVERY.as_secs_f64());
        self.admission.let_in_at_most(backlog::room(on_their_way, most, limit, share));
        self.admission.let_in(share, signal);
        for (signal, wait) in [(Signal::CommitWait, commit), (Signal::Unheard, unheard.wait)] {
            metrics::gauge!("spillway_admission_wait_seconds", "role" => "gateway", "signal" => signal.name())
                .set(wait.as_secs_f64());
        }
        self.tell(served);
        if let Some((listener, source)) = unheard.longest.filter(|_| share < 1.0) {
            tracing::debug!(share, ?commit, unheard = ?unheard.wait, %listener, %source, "regulated");
        }
    }

    /// What the regulator knows, as figures.
    fn tell(&self, served: f64) {
        let gauge = |name: &'static str, value: f64| metrics::gauge!(name, "role" => "gateway").set(value);
        gauge("spillway_admission_share_ratio", self.admission.share());
        gauge("spillway_admission_waiting_accepts", self.admission.waits.count() as f64);
        gauge("spillway_admission_arrivals_per_second", self.pressure.arrivals);
        gauge("spillway_admission_served_per_second", served);
        gauge("spillway_admission_capacity_per_second", self.pressure.capacity);
        gauge("spillway_admission_best_per_second", self.pressure.best);
        gauge("spillway_admission_limit_per_second", self.pressure.limit.unwrap_or(0.0));
    }

    /// The longest of all partitions. Nothing where NATS is away.
    fn unheard(&mut self, now: Instant) -> Unheard {
        if !self.bus.carries() {
            return Unheard::default();
        }
        let (edges, queues) = (&mut self.edges, &self.queues);
        let waits = self.partitions.iter().map(|partition| {
            let unheard = edges.unheard(*partition, now);
            Unheard { wait: unheard.wait + queue(queues, *partition, now), ..unheard }
        });
        waits.max_by_key(|unheard| unheard.wait).unwrap_or_default()
    }
}

/// How long a payment waits for a hand that is not waiting for the provider.
fn queue(queues: &BTreeMap<Listener, (Instant, Duration)>, partition: Partition, now: Instant) -> Duration {
    let told = queues.get(&(Source::Payments, partition));
    let fresh = told.filter(|(at, _)| now.saturating_duration_since(*at) < STOPPED_AFTER);
    fresh.map_or(Duration::ZERO, |(_, wait)| *wait)
}

fn identity(partition: u32, incarnation: &[u8]) -> Option<(Partition, Incarnation)> {
    Some((Partition(u16::try_from(partition).ok()?), Incarnation::from_bytes(incarnation)?))
}

#[cfg(test)]
mod tests;
