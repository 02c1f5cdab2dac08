//! Works off due rows: bounded workers take what is due, and hand the result to the ledger like any other input.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::due::{self, DueFeed, Sweep};
use super::handle::Ledger;
use super::pause::Pause;
use super::says::Due;
use super::service::Service;
use crate::logs::as_here;

/// A result that the ledger did not take is tried again after this long: the row is still there.
const NOT_TAKEN_PAUSE: Duration = Duration::from_secs(1);

/// What due work has to pass beside a free hand: a breaker, a rate. Rows stay where they are until it lets one through.
pub trait Gate: Send + Sync {
    /// Leave to do one piece of work. Dropped unused it changes nothing.
    type Pass: Send + 'static;

    /// Waits until one piece of work may be done.
    fn pass(&self) -> impl Future<Output = Self::Pass> + Send;

    /// Nothing is due any more.
    fn nothing_due(&self) {}

    /// What an operator held up goes on: there may be much of it.
    fn resumed(&self) {}
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
        W: Fn(Due) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = S::Input> + Send + 'static,
    {
        self.work_off_through((kind, flow), workers, stop, NoGate, move |due, ()| work(due)).await;
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
        W: Fn(Due, G::Pass) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = S::Input> + Send + 'static,
    {
        let Some(feed) = self.due(kind) else {
            tracing::error!(kind, "no due work of this kind was named when the ledger was opened");
            return;
        };
        let permits = Arc::new(Semaphore::new(workers.max(1)));
        let in_hand = TaskTracker::new();
        let mut pauses = self.pauses();
        let take = async {
            while let Ok(permit) = permits.clone().acquire_owned().await {
                let (pass, due, ticket) = take(&feed, flow, &gate, &mut pauses).await;
                let (ledger, feed, work) = (self.clone(), feed.clone(), work.clone());
                in_hand.spawn(as_here(async move {
                    let key = due.key.clone();
                    let input = work(due, pass).await;
                    drop(permit);
                    match ledger.command(input).await {
                        Ok(answer) => ledger.service.worked(answer),
                        Err(error) => {
                            tracing::warn!(kind, %error, "result of due work was not taken, trying again");
                            tokio::time::sleep(NOT_TAKEN_PAUSE).await;
                        }
                    }
                    feed.release(&key, ticket);
                }));
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = take => {}
            () = self.sweep(&feed) => {}
        }
        in_hand.close();
        in_hand.wait().await;
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
}

/// The next row that is due while the flow is not paused, and the leave to work on it.
async fn take<G: Gate>(
    feed: &DueFeed,
    flow: &str,
    gate: &G,
    pauses: &mut watch::Receiver<Arc<BTreeMap<String, Pause>>>,
) -> (G::Pass, Due, u64) {
    loop {
        if pauses.borrow_and_update().contains_key(flow) {
            let is_open = |pauses: &Arc<BTreeMap<String, Pause>>| !pauses.contains_key(flow);
            if pauses.wait_for(is_open).await.is_err() {
                // The ledger is gone, and with it everything that is due.
                std::future::pending::<()>().await;
            }
            gate.resumed();
        }
        let let_through = async {
            feed.until_ready(|| gate.nothing_due()).await;
            gate.pass().await
        };
        let pass = tokio::select! {
            biased;
            // A pause comes before what is due.
            changed = pauses.changed() => {
                drop(changed);
                continue;
            }
            pass = let_through => pass,
        };
        // What was ready may have ended while the gate was closed.
        if let Some((due, ticket)) = feed.try_take() {
            return (pass, due, ticket);
        }
    }
}
