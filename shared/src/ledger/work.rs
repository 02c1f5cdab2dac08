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

/// A result that the ledger did not take is tried again after this long: the row is still there.
const NOT_TAKEN_PAUSE: Duration = Duration::from_secs(1);

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
        let Some(feed) = self.due(kind) else {
            tracing::error!(kind, "no due work of this kind was named when the ledger was opened");
            return;
        };
        let permits = Arc::new(Semaphore::new(workers.max(1)));
        let in_hand = TaskTracker::new();
        let mut pauses = self.pauses();
        let take = async {
            while let Ok(permit) = permits.clone().acquire_owned().await {
                let (due, ticket) = take(&feed, flow, &mut pauses).await;
                let (ledger, feed, work) = (self.clone(), feed.clone(), work.clone());
                in_hand.spawn(async move {
                    let key = due.key.clone();
                    let input = work(due).await;
                    drop(permit);
                    if let Err(error) = ledger.command(input).await {
                        tracing::warn!(kind, %error, "result of due work was not taken, trying again");
                        tokio::time::sleep(NOT_TAKEN_PAUSE).await;
                    }
                    feed.release(&key, ticket);
                });
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

/// The next row that is due while the flow is not paused.
async fn take(feed: &DueFeed, flow: &str, pauses: &mut watch::Receiver<Arc<BTreeMap<String, Pause>>>) -> (Due, u64) {
    loop {
        let is_open = |pauses: &Arc<BTreeMap<String, Pause>>| !pauses.contains_key(flow);
        if pauses.wait_for(is_open).await.is_err() {
            // The ledger is gone, and with it everything that is due.
            std::future::pending::<()>().await;
        }
        tokio::select! {
            biased;
            // A pause comes before what is due.
            changed = pauses.changed() => drop(changed),
            taken = feed.take() => return taken,
        }
    }
}
