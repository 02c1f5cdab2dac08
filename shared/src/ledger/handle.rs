//! The handle on an open ledger: hand in, read, and learn what was committed.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use spillway_proto::Partition;
use spillway_proto::time::Timestamp;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use super::commit::Memory;
use super::condition::Condition;
use super::due::DueFeed;
use super::error::{NotTaken, ReadError, StoreError};
use super::in_hand::Caution;
use super::inbox::Inbox;
use super::incident::Unwritten;
use super::job::{ActFn, HeardJob, Job, ToldMark};
use super::outbox::{self, Numbering, OutboxBatch};
use super::pause::Pause;
use super::reader::Reader;
use super::readers::Readers;
use super::says::{Recorded, Says};
use super::service::{Heard, Service};
use super::spec::{Clock, Identity, Limits};
use super::tx::Tx;
use crate::logs::LineRate;
use crate::telemetry::Tracer;

/// An open ledger. Cheap to clone; the file is closed when the last clone is gone.
pub struct Ledger<S: Service> {
    pub(super) jobs: mpsc::Sender<Job<S>>,
    pub(super) service: Arc<S>,
    pub(super) shared: Arc<Shared>,
    pub(super) readers: Arc<Readers>,
}

impl<S: Service> Clone for Ledger<S> {
    fn clone(&self) -> Self {
        Ledger {
            jobs: self.jobs.clone(),
            service: self.service.clone(),
            shared: self.shared.clone(),
            readers: self.readers.clone(),
        }
    }
}

/// How much a ledger has done since its process began, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throughput {
    /// Heard of others, and committed.
    pub heard: u64,
    pub said: u64,
}

/// What the writer tells everybody.
pub(super) struct Shared {
    pub identity: Identity,
    pub limits: Limits,
    pub lines: Arc<LineRate>,
    pub clock: Arc<dyn Clock>,
    pub tracer: Tracer,
    /// The last number of each partition.
    pub heads: watch::Sender<BTreeMap<Partition, i64>>,
    pub inbox: watch::Sender<Arc<Inbox>>,
    pub relayed: Mutex<BTreeMap<Partition, i64>>,
    /// Of [`Shared::relayed`]: it has come further.
    pub acknowledged: Condvar,
    /// There are batches without a number.
    pub unnumbered: Notify,
    pub changed: broadcast::Sender<Arc<Vec<[u8; 16]>>>,
    pub recorded: broadcast::Sender<Arc<Vec<Recorded>>>,
    pub feeds: Vec<Arc<DueFeed>>,
    pub pauses: watch::Sender<Arc<BTreeMap<String, Pause>>>,
    pub settings: watch::Sender<Arc<BTreeMap<String, String>>>,
    pub incidents: Unwritten,
    /// The folder of its file.
    pub folder: PathBuf,
    /// What the run before left.
    pub caution: Caution,
    /// Dead letters were written, or something was done about them.
    pub dead_letters: Notify,
    pub failed: watch::Sender<Option<String>>,
    pub condition: Condition,
    pub heard_events: AtomicU64,
    pub said_events: AtomicU64,
    /// Closed once the writer has let go of the file.
    pub gone: tokio_util::sync::CancellationToken,
}

impl Shared {
    pub fn fail(&self, why: String) {
        self.failed.send_replace(Some(why));
    }

    pub fn relayed_so_far(&self, written: &BTreeMap<Partition, i64>) -> BTreeMap<Partition, i64> {
        let relayed = self.relayed.lock().unwrap_or_else(PoisonError::into_inner);
        written.iter().map(|(p, number)| (*p, relayed.get(p).copied().unwrap_or(0).max(*number))).collect()
    }

    /// Blocks until all that was said so far is acknowledged, or for so long.
    pub fn until_relayed(&self, numbers: &BTreeMap<Partition, i64>, within: Duration) {
        let relayed = self.relayed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_behind = |relayed: &mut BTreeMap<Partition, i64>| {
            numbers.iter().any(|(partition, number)| relayed.get(partition).is_none_or(|known| known < number))
        };
        drop(self.acknowledged.wait_timeout_while(relayed, within, is_behind));
    }

    /// After a commit, before anybody is answered; `heard` is how many events were, `None` where the inbox stands still.
    pub fn committed(&self, memory: &Memory, heard: Option<u64>, says: &mut Says, at: Timestamp) {
        self.heard_events.fetch_add(heard.unwrap_or(0), Ordering::Relaxed);
        self.said_events.fetch_add(u64::try_from(says.events()).unwrap_or(0), Ordering::Relaxed);
        if self.identity.numbering == Numbering::ByRelay && says.events() > 0 {
            self.unnumbered.notify_one();
        }
        self.heads.send_if_modified(|heads| {
            let moved = *heads != memory.heads.numbers;
            if moved {
                heads.clone_from(&memory.heads.numbers);
            }
            moved
        });
        if heard.is_some() {
            self.inbox.send_replace(Arc::new(memory.inbox.clone()));
        }
        if let Some(in_force) = says.in_force.take() {
            self.pauses.send_replace(in_force.pauses);
            self.settings.send_replace(in_force.settings);
        }
        if !says.due.is_empty() {
            self.feeds.iter().for_each(|feed| feed.committed(&says.due, at));
        }
        for span in std::mem::take(&mut says.spans) {
            self.tracer.end(span);
        }
        if !says.recorded.is_empty() && self.recorded.receiver_count() > 0 {
            drop(self.recorded.send(Arc::new(std::mem::take(&mut says.recorded))));
        }
        if !says.changed.is_empty() && self.changed.receiver_count() > 0 {
            // Nobody listening is no mistake: it is a hint.
            drop(self.changed.send(Arc::new(std::mem::take(&mut says.changed))));
        }
    }
}

impl<S: Service> Ledger<S> {
    pub fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    pub fn service(&self) -> &Arc<S> {
        &self.service
    }

    pub fn now(&self) -> Timestamp {
        super::spec::now(self.shared.clock.as_ref())
    }

    pub fn tracer(&self) -> &Tracer {
        &self.shared.tracer
    }

    /// Who reads what comes now.
    pub fn reader(&self) -> Reader<'_> {
        let listener = self.shared.identity.id.ledger;
        Reader { listener, now: self.now(), tracer: &self.shared.tracer, is_redriven: false }
    }

    /// Takes batches that were heard; answers after the commit, and then they may be acknowledged.
    pub async fn hear(&self, batches: Vec<Heard<S::Input>>) -> Result<(), NotTaken> {
        self.post(|reply| Job::Heard(HeardJob { batches, hand: None, reply })).await
    }

    /// Does the machine's own work in a commit, with the events that tell of it; answers after the commit. `act` may be
    /// done several times before it is committed once, and changes nothing but what it is handed.
    pub async fn act<T: Send + 'static>(
        &self,
        act: impl Fn(&Tx<'_>, &mut Says, Timestamp) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, NotTaken> {
        let done = Arc::new(Mutex::new(None));
        let slot = done.clone();
        let act: ActFn = Box::new(move |tx, says, at| {
            let outcome = act(tx, says, at)?;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            Ok(())
        });
        self.post(|reply| Job::Act(act, reply)).await?;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.take().ok_or(NotTaken::Closed)
    }

    /// Numbers every batch that has none yet (the gateway's relay).
    pub async fn number(&self) -> Result<(), NotTaken> {
        self.post(Job::Number).await
    }

    /// Commits what waits, and how far the relay has come.
    pub async fn flush(&self) -> Result<(), NotTaken> {
        self.post(Job::Flush).await
    }

    /// Writes down how far listeners say they have heard this ledger.
    pub async fn told(&self, marks: Vec<ToldMark>) -> Result<(), NotTaken> {
        self.jobs.send(Job::Marks(marks)).await.map_err(|_| NotTaken::Closed)
    }

    /// Writes something of no consequence. What comes of it shows in the ledger's condition.
    async fn try_to_write(&self) {
        let written = self.act(|tx, _says, at| {
            let taken_us = spillway_proto::time::to_micros(at);
            tx.write("update lease set taken_us = $1 where partition = 0", &[taken_us.into()])
        });
        if let Err(error) = written.await {
            tracing::debug!(ledger = %self.shared.identity.id, %error, "still cannot write");
        }
    }

    pub(super) async fn post(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<(), NotTaken>>) -> Job<S>,
    ) -> Result<(), NotTaken> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| NotTaken::Closed)?;
        answer.await.unwrap_or(Err(NotTaken::Closed))
    }

    /// Answers a query from what is committed, on a thread where waiting is allowed.
    pub async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        self.readers.run(query).await
    }

    /// Batches from a number on, oldest first, up to so many bytes (at least one batch, if there is one).
    pub async fn outbox(
        &self,
        partition: Partition,
        from: i64,
        to: i64,
        max_bytes: usize,
    ) -> Result<Vec<OutboxBatch>, ReadError> {
        let incarnation = self.shared.identity.incarnation;
        self.query(move |tx| outbox::from(tx, incarnation, partition, from, to, max_bytes)).await
    }

    /// When the oldest batch of a partition that is not yet published was committed; `None` where all are.
    pub async fn unsaid_since(&self, partition: Partition) -> Result<Option<Timestamp>, ReadError> {
        let incarnation = self.shared.identity.incarnation;
        let relayed = self.relayed_up_to(partition);
        self.query(move |tx| outbox::unsaid_since(tx, incarnation, partition, relayed)).await
    }

    /// The last number of each partition, as it moves.
    pub fn heads(&self) -> watch::Receiver<BTreeMap<Partition, i64>> {
        self.shared.heads.subscribe()
    }

    /// How much it has done so far.
    pub fn throughput(&self) -> Throughput {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Throughput { heard: of(&self.shared.heard_events), said: of(&self.shared.said_events) }
    }

    /// How long due work waits for a free hand behind other work, of the kind that waits longest; zero where a gate, an
    /// operator or a slow peer holds it up.
    pub fn queue_wait(&self) -> Duration {
        let now = Instant::now();
        self.shared.feeds.iter().map(|feed| feed.queue_wait.now(now)).max().unwrap_or_default()
    }

    /// The inbox, as it moves.
    pub fn inbox(&self) -> watch::Receiver<Arc<Inbox>> {
        self.shared.inbox.subscribe()
    }

    /// Waits until dead letters were written, or something was done about them. Spurious returns are possible.
    pub async fn dead_letters_changed(&self) {
        self.shared.dead_letters.notified().await;
    }

    /// Says that something was done about dead letters.
    pub fn note_dead_letters_changed(&self) {
        self.shared.dead_letters.notify_one();
    }

    /// Waits until there are batches without a number. Spurious returns are possible.
    pub async fn unnumbered(&self) {
        self.shared.unnumbered.notified().await;
    }

    /// The relay has published up to this number; it is written down with the next commit.
    pub fn relayed(&self, partition: Partition, number: i64) {
        let mut relayed = self.shared.relayed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = relayed.entry(partition).or_insert(0);
        *known = number.max(*known);
        drop(relayed);
        self.shared.acknowledged.notify_one();
    }

    /// How far the relay has come.
    pub fn relayed_up_to(&self, partition: Partition) -> i64 {
        let relayed = self.shared.relayed.lock().unwrap_or_else(PoisonError::into_inner);
        relayed.get(&partition).copied().unwrap_or(0)
    }

    /// The keys that commits change, as a lossy hint.
    pub fn changed(&self) -> broadcast::Receiver<Arc<Vec<[u8; 16]>>> {
        self.shared.changed.subscribe()
    }

    /// What commits left to be told from the record, as a lossy hint.
    pub fn recorded(&self) -> broadcast::Receiver<Arc<Vec<Recorded>>> {
        self.shared.recorded.subscribe()
    }

    /// What operators hold up, by flow, as it changes.
    pub fn pauses(&self) -> watch::Receiver<Arc<BTreeMap<String, Pause>>> {
        self.shared.pauses.subscribe()
    }

    /// What operators have set, by name, as it changes. What is not there goes by the configuration.
    pub fn settings(&self) -> watch::Receiver<Arc<BTreeMap<String, String>>> {
        self.shared.settings.subscribe()
    }

    /// The folder of its file.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// The kinds of due work that were named when the ledger was opened.
    pub fn due_kinds(&self) -> Vec<&'static str> {
        self.shared.feeds.iter().map(|feed| feed.kind()).collect()
    }

    /// The due rows of a kind that was named when the ledger was opened.
    pub fn due(&self, kind: &str) -> Option<Arc<DueFeed>> {
        self.shared.feeds.iter().find(|feed| feed.kind() == kind).cloned()
    }

    /// Waits until the ledger cannot go on, and says why.
    pub async fn failed(&self) -> String {
        let mut failed = self.shared.failed.subscribe();
        loop {
            if let Some(why) = failed.borrow_and_update().clone() {
                return why;
            }
            if failed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the writer has let go of the file: after the last handle is dropped, or after a failure.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        self.shared.gone.clone().cancelled_owned()
    }

    /// Whether a commit meets another's lock right now: it is tried again, and the door is closed meanwhile.
    pub fn is_locked(&self) -> bool {
        self.shared.condition.at_the_door().is_err()
    }

    /// Whether the database answers, and takes what is written. Where it last did not, it is tried.
    pub async fn is_ready(&self) -> Result<(), ReadError> {
        if self.jobs.is_closed() {
            return Err(ReadError::Closed);
        }
        if self.shared.condition.is_well().is_err() && self.shared.condition.at_the_door().is_ok() {
            self.try_to_write().await;
        }
        self.shared.condition.is_well()?;
        self.query(|tx| tx.read("select 1", &[], |row| row.int(0)).map(|_| ())).await
    }
}
