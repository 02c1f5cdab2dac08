//! Works off due rows: bounded workers take what is due, and hand the result to the ledger like any other input.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use spillway_proto::time::Timestamp;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::due::{self, DueFeed, Sweep};
use super::handle::Ledger;
use super::pause::Pause;
use super::says::Due;
use super::service::Service;
use super::suspects::{Done, Turn};
use crate::logs::as_here;

/// A result that the ledger did not take is tried again after this long: the row is still there.
pub(super) const NOT_TAKEN_PAUSE: Duration = Duration::from_secs(1);

/// What due work has to pass beside a free hand: a breaker, a rate. Rows stay where they are until it lets one through.
pub trait Gate: Send + Sync {
    /// Leave to do one piece of work. Dropped unused it changes nothing.
    type Pass: Send + 'static;

    /// Waits until one piece of work may be done.
    fn pass(&self) -> impl Future<Output = Self::Pass> + Send;

    /// What is let through now is to tell whether the peer is well: better by work that has not failed before.
    fn is_probing(&self) -> bool {
        false
    }

    /// Nothing is due any more.
    fn nothing_due(&self) {}

    /// What an operator held up goes on: there may be much of it.
    fn resumed(&self) {}
}

/// Why due work had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Other work went first.
    Queue,
    /// Its gate was closed.
    Gate,
    /// An operator had paused it.
    Pause,
}

impl Held {
    pub fn name(self) -> &'static str {
        match self {
            Held::Queue => "queue",
            Held::Gate => "breaker",
            Held::Pause => "pause",
        }
    }
}

/// How a row came to be worked off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When it was due.
    pub due: Timestamp,
    /// When it was taken.
    pub taken: Timestamp,
    pub held: Held,
}

/// When work of a kind was last held up.
#[derive(Clone, Copy, Debug, Default)]
struct LastHeld {
    paused_until: Option<Timestamp>,
    closed_until: Option<Timestamp>,
}

impl LastHeld {
    fn wait(&self, due: Timestamp, taken: Timestamp) -> Wait {
        let was = |until: Option<Timestamp>| until.is_some_and(|until| until > due);
        let held = match (was(self.paused_until), was(self.closed_until)) {
            (true, _) => Held::Pause,
            (false, true) => Held::Gate,
            (false, false) => Held::Queue,
        };
        Wait { due, taken, held }
    }
}

/// A gate that stands open.
#[derive(Clone, Copy, Debug)]
pub struct NoGate;

impl Gate for NoGate {
    type Pass = ();

    async fn pass(&self) {}
}

impl<S: Service> Ledger<S> {
    /// Works off the due rows of a kind, `workers` at a time, until `stop`; then finishes what is in hand.
    /// While `flow` is paused no row is taken. `work` does what is due and says what came of it.
    pub async fn work_off<W, F>(
        &self,
        kind: &'static str,
        flow: &'static str,
        workers: usize,
        stop: CancellationToken,
        work: W,
    ) where
        W: Fn(Due, Wait) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = S::Input> + Send + 'static,
    {
        self.work_off_through((kind, flow), workers, stop, NoGate, move |due, wait, ()| work(due, wait)).await;
    }

    /// Works off the due rows of a kind like [`Ledger::work_off`], each of them through a gate, what has been due for
    /// longest first.
    pub async fn work_off_through<G, W, F>(
        &self,
        (kind, flow): (&'static str, &'static str),
        workers: usize,
        stop: CancellationToken,
        gate: G,
        work: W,
    ) where
        G: Gate,
        W: Fn(Due, Wait, G::Pass) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = S::Input> + Send + 'static,
    {
        let Some(feed) = self.due(kind) else {
            tracing::error!(kind, "no due work of this kind was named when the ledger was opened");
            return;
        };
        let permits = Arc::new(Semaphore::new(workers.max(1)));
        let in_hand = TaskTracker::new();
        let mut before = Before::of(self, flow, &gate);
        let take = async {
            while let Ok(permit) = permits.clone().acquire_owned().await {
                let (pass, due, ticket) = self.take_due(&feed, &mut before).await;
                let wait = before.held.wait(due.at, self.now());
                let (ledger, feed, work) = (self.clone(), feed.clone(), work.clone());
                in_hand.spawn(as_here(async move {
                    match ledger.watch(&due).await {
                        Ok(hand) => {
                            let (row, began) = (due.clone(), Instant::now());
                            let done = caught(async move { work(row, wait, pass).await }).await;
                            // What is done alone waits for its turn, and not for a hand.
                            if done.is_ok() {
                                feed.queue_wait.note(&wait, began.elapsed(), Instant::now());
                            }
                            drop(permit);
                            ledger.hand_in(&feed, &due, ticket, hand, done).await;
                        }
                        Err(error) => {
                            tracing::warn!(kind, %error, "due work cannot be put in hand, trying again");
                            tokio::time::sleep(NOT_TAKEN_PAUSE).await;
                            feed.release(&due.key, ticket);
                        }
                    }
                }));
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = take => {}
            () = self.work_off_suspects(&feed, flow, &gate, &in_hand, work.clone()) => {}
            () = self.sweep(&feed) => {}
        }
        in_hand.close();
        in_hand.wait().await;
    }

    /// Works off what may have ended the process, one row after the other, beside everything else.
    async fn work_off_suspects<G, W, F>(
        &self,
        feed: &Arc<DueFeed>,
        flow: &str,
        gate: &G,
        in_hand: &TaskTracker,
        work: W,
    ) where
        G: Gate,
        W: Fn(Due, Wait, G::Pass) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = S::Input> + Send + 'static,
    {
        let mut before = Before::of(self, flow, gate);
        loop {
            let (turn, suspect) = self.next_turn(feed).await;
            let (ledger, feed, work) = (self.clone(), feed.clone(), work.clone());
            let task = match turn {
                Turn::SetAside(due, found) => in_hand.spawn(as_here(async move {
                    ledger.set_suspect_aside(&feed, &due, suspect, found).await;
                })),
                Turn::Work(due) => {
                    let pass = before.let_through(self, || std::future::ready(())).await;
                    // What was ready may have ended while the gate was closed.
                    if !feed.is_held(&suspect) {
                        feed.suspect(suspect);
                        continue;
                    }
                    let wait = before.held.wait(due.at, self.now());
                    in_hand.spawn(as_here(async move {
                        let row = due.clone();
                        let work = caught(async move { work(row, wait, pass).await });
                        ledger.alone(&feed, due, suspect, work).await;
                    }))
                }
            };
            if let Err(error) = task.await {
                tracing::error!(%flow, %error, "suspected due work broke off, and waits for the next start");
            }
        }
    }

    /// Keeps the window filled from the table.
    async fn sweep(&self, feed: &DueFeed) {
        loop {
            let now = self.now();
            match feed.wants(now) {
                Sweep::Now { limit } => {
                    let kind = feed.kind();
                    match self.query(move |tx| due::read(tx, kind, now, limit)).await {
                        Ok((rows, next)) => {
                            let whole = rows.len() < limit;
                            feed.swept(rows, next, whole, now);
                        }
                        Err(error) => {
                            tracing::warn!(kind, %error, "due rows cannot be read, trying again");
                            tokio::time::sleep(NOT_TAKEN_PAUSE).await;
                        }
                    }
                }
                Sweep::At(None) => feed.until_sweep().await,
                Sweep::At(Some(at)) => {
                    let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
                    tokio::select! {
                        () = feed.until_sweep() => {}
                        () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
                    }
                }
            }
        }
    }

    /// The next row that is due while the flow is not paused, and the leave to work on it.
    async fn take_due<G: Gate>(&self, feed: &DueFeed, before: &mut Before<'_, G>) -> (G::Pass, Due, u64) {
        loop {
            let gate = before.gate;
            let pass = before.let_through(self, || feed.until_ready(|| gate.nothing_due())).await;
            // What was ready may have ended while the gate was closed.
            let taken = if gate.is_probing() { feed.try_take_untried() } else { feed.try_take() };
            if let Some((due, ticket)) = taken {
                return (pass, due, ticket);
            }
        }
    }
}

/// What stands before due work.
struct Before<'g, G> {
    flow: &'g str,
    gate: &'g G,
    pauses: watch::Receiver<Arc<BTreeMap<String, Pause>>>,
    held: LastHeld,
}

impl<'g, G: Gate> Before<'g, G> {
    fn of<S: Service>(ledger: &Ledger<S>, flow: &'g str, gate: &'g G) -> Self {
        Before { flow, gate, pauses: ledger.pauses(), held: LastHeld::default() }
    }

    /// Waits until something is `ready`, its flow is not paused and the gate lets it through.
    async fn let_through<S, R, F>(&mut self, ledger: &Ledger<S>, ready: R) -> G::Pass
    where
        S: Service,
        R: Fn() -> F,
        F: Future<Output = ()>,
    {
        let Before { flow, gate, pauses, held } = self;
        loop {
            if pauses.borrow_and_update().contains_key(*flow) {
                let is_open = |pauses: &Arc<BTreeMap<String, Pause>>| !pauses.contains_key(*flow);
                if pauses.wait_for(is_open).await.is_err() {
                    // The ledger is gone, and with it everything that is due.
                    std::future::pending::<()>().await;
                }
                held.paused_until = Some(ledger.now());
                gate.resumed();
            }
            let let_through = async {
                ready().await;
                let mut pass = std::pin::pin!(gate.pass());
                match pass.as_mut().now_or_never() {
                    Some(pass) => pass,
                    None => {
                        let pass = pass.await;
                        held.closed_until = Some(ledger.now());
                        pass
                    }
                }
            };
            tokio::select! {
                biased;
                // A pause comes before what is due.
                changed = pauses.changed() => drop(changed),
                pass = let_through => return pass,
            }
        }
    }
}

/// Work whose panic is a result as well.
async fn caught<I>(work: impl Future<Output = I>) -> Done<I> {
    AssertUnwindSafe(work).catch_unwind().await
}
