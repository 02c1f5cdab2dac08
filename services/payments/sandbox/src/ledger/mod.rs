//! The provider's ledger: one SQLite file, one writer thread with group commit, two reader threads.
//!
//! There is one table, of attempts, and it is append-only. One attempt is one row: it carries the charge or refund
//! it made, the key and the answer that is stored for that key.

mod reader;
mod rows;
mod schema;
mod summary;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Synchronous;
use crate::entry::{Create, Entry, Kind};
use crate::mode::Mode;
use reader::Reader;
pub use schema::OpenError;
pub(crate) use summary::Summary;
pub(crate) use writer::{Outcome, unix_ms};

/// Attempts that may wait for the next commit; further ones wait in their connections.
const INBOX: usize = 4_096;

/// How much less of a busy core the ledger asks for than those who answer calls, as a nice value: as those of the services.
const BEHIND_CALLS: i32 = 5;

/// What a row cannot say by itself.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub key_window_ms: i64,
    pub pending_ms: i64,
}

/// Why the ledger did not answer. What failed is in the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("the ledger could not commit; nothing of this attempt may be concluded")]
    NotCommitted,
    #[error("the ledger has stopped")]
    Stopped,
    #[error("the ledger could not be read: {0}")]
    Read(#[from] rusqlite::Error),
}

pub(crate) struct Ledger {
    /// A random name, made with the file, that its charge ids carry: ids of another ledger are never found here.
    name: Arc<str>,
    inbox: mpsc::Sender<writer::Command>,
    /// Lookups have a thread of their own, so that no long report delays them.
    lookups: Reader,
    reports: Reader,
    /// Turns true when the writer has ended.
    writer_ended: watch::Receiver<bool>,
    writer: JoinHandle<()>,
}

impl Ledger {
    /// Opens the ledger in this file, and makes it when it is not there.
    pub(crate) fn open(path: &Path, synchronous: Synchronous, settings: Settings) -> Result<Ledger, OpenError> {
        let (connection, name) = schema::open_to_write(path, synchronous)?;
        let lookups = Reader::start("sandbox-lookups", schema::open_to_read(path)?)?;
        let reports = Reader::start("sandbox-reports", schema::open_to_read(path)?)?;
        let (inbox, commands) = mpsc::channel(INBOX);
        let (ended, writer_ended) = watch::channel(false);
        let work = writer::Writer::new(connection, name.clone(), settings, writer::MOMENT);
        let writer = std::thread::Builder::new()
            .name("sandbox-ledger".to_owned())
            .spawn(move || {
                let _tells_its_end = EndGuard(ended);
                // On a core that it shares with who asks, it takes together what comes together.
                if let Err(error) = rustix::process::nice(BEHIND_CALLS) {
                    tracing::debug!(%error, "the ledger is as important as the calls");
                }
                work.write_until_closed(commands);
            })
            .map_err(OpenError::Thread)?;
        Ok(Ledger { name, inbox, lookups, reports, writer_ended, writer })
    }

    /// Decides an attempt, and answers after the commit that holds it.
    pub(crate) async fn attempt(
        &self,
        asked: Create,
        key_in_use: bool,
        mode: Arc<Mode>,
    ) -> Result<Outcome, LedgerError> {
        let (answer, answered) = oneshot::channel();
        let attempt = writer::Command::Attempt { asked, key_in_use, mode, answer };
        self.inbox.send(attempt).await.map_err(|_| LedgerError::Stopped)?;
        answered.await.map_err(|_| LedgerError::Stopped)?.ok_or(LedgerError::NotCommitted)
    }

    /// Goes once through the writer.
    pub(crate) async fn ping(&self) -> Result<(), LedgerError> {
        let (answer, answered) = oneshot::channel();
        self.inbox.send(writer::Command::Ping(answer)).await.map_err(|_| LedgerError::Stopped)?;
        let is_committed = answered.await.map_err(|_| LedgerError::Stopped)?;
        if is_committed { Ok(()) } else { Err(LedgerError::NotCommitted) }
    }

    /// Whether an answer may be stored for this key, its window left aside.
    pub(crate) async fn has_answer_for(&self, key: Arc<str>) -> Result<bool, LedgerError> {
        self.lookups.ask(move |reading| rows::has_stored_answer(reading, &key)).await
    }

    /// The charge or refund with this public id, made at `made_until_ms` (Unix time) at the latest.
    pub(crate) async fn find(&self, kind: Kind, id: &str, made_until_ms: i64) -> Result<Option<Entry>, LedgerError> {
        let Some(id) = rows::row_id(&self.name, kind, id) else {
            return Ok(None);
        };
        let is_asked_for =
            move |entry: &Entry| entry.asked.kind == kind && entry.status.is_object() && entry.time_ms <= made_until_ms;
        let found = self.lookups.ask(move |reading| rows::by_id(reading, id)).await?;
        Ok(found.filter(is_asked_for))
    }

    /// At most `limit` charges or refunds of this reference, oldest first, made at `made_until_ms` at the latest.
    pub(crate) async fn by_reference(
        &self,
        kind: Kind,
        reference: String,
        made_until_ms: i64,
        limit: usize,
    ) -> Result<Vec<Entry>, LedgerError> {
        self.lookups.ask(move |reading| rows::by_reference(reading, kind, &reference, made_until_ms, limit)).await
    }

    /// At most `limit` attempts after this row id, in the order in which they were committed.
    pub(crate) async fn attempts_after(&self, after: i64, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        self.reports.ask(move |reading| rows::after(reading, after, limit)).await
    }

    pub(crate) async fn summary(&self, now_ms: i64) -> Result<Summary, LedgerError> {
        let name = self.name.clone();
        self.reports.ask(move |reading| summary::summarize(reading, &name, now_ms)).await
    }

    /// The public id of a charge or refund.
    pub(crate) fn public_id(&self, entry: &Entry) -> String {
        rows::public_id(&self.name, entry.asked.kind, entry.id)
    }

    /// Waits until the writer has ended by itself, which it only does when it fails.
    pub(crate) async fn failed(&self) {
        let mut ended = self.writer_ended.clone();
        // An error means that its guard is gone without a word: it has ended as well.
        if ended.wait_for(|ended| *ended).await.is_err() {
            tracing::error!("the ledger's writer ended without saying so");
        }
    }

    /// Commits what waits and closes the file.
    pub(crate) fn close(self) {
        let Ledger { inbox, lookups, reports, writer, .. } = self;
        drop(inbox);
        lookups.close();
        reports.close();
        if writer.join().is_err() {
            tracing::error!("the ledger's writer panicked");
        }
    }
}

struct EndGuard(watch::Sender<bool>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}
