//! The writer: whatever attempts wait are decided and committed in one transaction, then answered.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{Settings, rows};
use crate::decide::{ChargeState, Decision, Delivery, Known, decide};
use crate::entry::{Create, Entry, Kind, Status};
use crate::mode::Mode;

/// Attempts in one transaction. A commit costs the same for one and for many; beyond some hundreds nothing is won.
const BATCH_MAX: usize = 512;

/// Where so many wait, more are about to come: a commit waits a moment for those, so that it is one and not three. On a core
/// that others use as well, few attempts in a commit made each cost twice as much.
const MANY: usize = 8;
pub(super) const MOMENT: Duration = Duration::from_millis(4);

pub(super) enum Command {
    Attempt {
        asked: Create,
        key_in_use: bool,
        mode: Arc<Mode>,
        /// `None` when the commit failed.
        answer: oneshot::Sender<Option<Outcome>>,
    },
    /// Answered with whether its commit went well.
    Ping(oneshot::Sender<bool>),
}

/// What is told of an attempt after its commit.
pub(crate) struct Outcome {
    /// The attempt whose answer this is: itself, or for a replay the one that was stored.
    pub told: Entry,
    pub is_replay: bool,
    pub delivery: Delivery,
}

pub(super) struct Writer {
    connection: Connection,
    /// The name of the ledger, in every public id.
    name: Arc<str>,
    settings: Settings,
    moment: Duration,
}

impl Writer {
    /// `moment`: [`MOMENT`].
    pub(super) fn new(connection: Connection, name: Arc<str>, settings: Settings, moment: Duration) -> Writer {
        Writer { connection, name, settings, moment }
    }

    pub(super) fn write_until_closed(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while inbox.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
            if (MANY..BATCH_MAX).contains(&batch.len()) {
                std::thread::sleep(self.moment);
                batch.extend(std::iter::from_fn(|| inbox.try_recv().ok()).take(BATCH_MAX - batch.len()));
            }
            match self.commit(&batch) {
                Ok(outcomes) => answer(batch.drain(..), outcomes),
                Err(error) => {
                    tracing::error!(%error, attempts = batch.len(), "the ledger could not commit");
                    refuse(batch.drain(..));
                }
            }
        }
    }

    /// One transaction. The outcomes are those of the attempts in the batch, in its order.
    fn commit(&mut self, batch: &[Command]) -> rusqlite::Result<Vec<Outcome>> {
        let now_ms = unix_ms(SystemTime::now());
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut book = Book::open(&transaction, &self.name, &self.settings)?;
        for command in batch {
            match command {
                Command::Attempt { asked, key_in_use, mode, .. } => {
                    outcomes.push(book.record(asked, *key_in_use, mode, now_ms)?);
                }
                Command::Ping(_) => {}
            }
        }
        drop(book);
        transaction.commit()?;
        Ok(outcomes)
    }
}

fn answer(batch: impl Iterator<Item = Command>, outcomes: Vec<Outcome>) {
    let mut outcomes = outcomes.into_iter();
    for command in batch {
        let is_heard = match command {
            Command::Attempt { answer, .. } => answer.send(outcomes.next()).is_ok(),
            Command::Ping(answer) => answer.send(true).is_ok(),
        };
        if !is_heard {
            tracing::debug!("a caller hung up before its attempt was committed");
        }
    }
}

fn refuse(batch: impl Iterator<Item = Command>) {
    for command in batch {
        let is_heard = match command {
            Command::Attempt { answer, .. } => answer.send(None).is_ok(),
            Command::Ping(answer) => answer.send(false).is_ok(),
        };
        if !is_heard {
            tracing::debug!("a caller hung up before its attempt failed");
        }
    }
}

/// The statements of one transaction.
struct Book<'t> {
    latest_of_key: CachedStatement<'t>,
    by_id: CachedStatement<'t>,
    refunded: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    name: &'t str,
    settings: &'t Settings,
}

impl<'t> Book<'t> {
    fn open(transaction: &'t Transaction<'_>, name: &'t str, settings: &'t Settings) -> rusqlite::Result<Book<'t>> {
        Ok(Book {
            latest_of_key: transaction.prepare_cached(rows::LATEST_OF_KEY)?,
            by_id: transaction.prepare_cached(rows::BY_ID)?,
            refunded: transaction.prepare_cached(rows::REFUNDED)?,
            insert: transaction.prepare_cached(rows::INSERT)?,
            name,
            settings,
        })
    }

    fn record(&mut self, asked: &Create, key_in_use: bool, mode: &Mode, now_ms: i64) -> rusqlite::Result<Outcome> {
        let oldest_ms = now_ms - self.settings.key_window_ms;
        let latest = self.latest_of_key.query_row([&*asked.idempotency_key], rows::entry);
        let latest = latest.optional()?.filter(|latest| latest.time_ms > oldest_ms);
        let attempt = latest.as_ref().map_or(1, |latest| latest.attempt + 1);
        let stored = self.stored_answer(latest)?;
        let charge = self.charge_of(asked)?;
        let known = Known {
            attempt,
            key_in_use,
            stored: stored.as_ref().filter(|stored| stored.time_ms > oldest_ms && !mode.forget_keys),
            charge: charge.as_ref(),
        };
        let decision = decide(asked, &known, mode, now_ms);
        let is_replay = decision.status == Status::Replayed;
        let mut entry = self.entry(asked, attempt, &decision, now_ms);
        // What the key had stays its answer, whatever this attempt met.
        entry.stored_id = entry.stored_id.or(stored.as_ref().map(|stored| stored.id));
        entry.id = rows::insert(&mut self.insert, &entry)?;
        let told = if is_replay { stored.unwrap_or(entry) } else { entry };
        Ok(Outcome { told, is_replay, delivery: decision.delivery })
    }

    /// The attempt whose answer the key has, by its latest attempt.
    fn stored_answer(&mut self, latest: Option<Entry>) -> rusqlite::Result<Option<Entry>> {
        match latest {
            Some(latest) if latest.stored_id == Some(0) => Ok(Some(latest)),
            Some(latest) => match latest.stored_id {
                Some(id) => self.by_id.query_row([id], rows::entry).optional(),
                None => Ok(None),
            },
            None => Ok(None),
        }
    }

    fn charge_of(&mut self, asked: &Create) -> rusqlite::Result<Option<ChargeState>> {
        let id = match asked.kind {
            Kind::Charge => None,
            Kind::Refund => rows::row_id(self.name, Kind::Charge, &asked.source),
        };
        let Some(id) = id else {
            return Ok(None);
        };
        let entry = self.by_id.query_row([id], rows::entry).optional()?;
        let Some(entry) = entry.filter(|entry| entry.asked.kind == Kind::Charge && entry.status.is_object()) else {
            return Ok(None);
        };
        let refunded = self.refunded.query_row([&asked.source], |row| row.get(0))?;
        Ok(Some(ChargeState { entry, refunded }))
    }

    fn entry(&self, asked: &Create, attempt: i64, decision: &Decision, now_ms: i64) -> Entry {
        Entry {
            id: 0,
            time_ms: now_ms,
            attempt,
            asked: asked.clone(),
            amount: decision.amount,
            status: decision.status,
            decline: decision.decline,
            error: decision.error,
            http: decision.http,
            answered: decision.delivery == Delivery::Answered,
            stored_id: decision.is_stored.then_some(0),
            settles_ms: decision.settles_later.then_some(now_ms + self.settings.pending_ms),
        }
    }
}

/// Unix time in milliseconds.
pub(crate) fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Range;

    use super::*;
    use crate::config::Synchronous;
    use crate::ledger::schema;

    fn attempt(number: usize) -> (Command, oneshot::Receiver<Option<Outcome>>) {
        let (answer, answered) = oneshot::channel();
        let asked = Create {
            kind: Kind::Charge,
            idempotency_key: format!("key-{number}").into(),
            reference: format!("order-{number}"),
            amount: 100,
            currency: "EUR".to_owned(),
            source: "pm_ok".to_owned(),
        };
        (Command::Attempt { asked, key_in_use: false, mode: Arc::default(), answer }, answered)
    }

    /// How many transactions a number of attempts becomes, and as many again a little later.
    fn commits_of_twice(many: usize) -> usize {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ledger.db");
        let (connection, name) = schema::open_to_write(&file, Synchronous::Off).expect("a ledger");
        let settings = Settings { key_window_ms: 1_000, pending_ms: 0 };
        let (inbox, commands) = mpsc::channel(100);
        let place = |numbers: Range<usize>| -> Vec<_> {
            let place = |number| {
                let (command, answered) = attempt(number);
                assert!(inbox.try_send(command).is_ok(), "there is room");
                answered
            };
            numbers.map(place).collect()
        };
        let mut answers = place(0..many);
        let writer = Writer::new(connection, name, settings, Duration::from_secs(1));
        let writing = std::thread::spawn(move || writer.write_until_closed(commands));
        let mut commits = BTreeSet::new();
        if many < MANY {
            // However late the thread begins, these are committed before the others come.
            commits.extend(answers.drain(..).map(time));
        }
        std::thread::sleep(Duration::from_millis(100));
        answers.extend(place(many..2 * many));
        commits.extend(answers.into_iter().map(time));
        drop(inbox);
        writing.join().expect("it ends");
        commits.len()
    }

    /// All attempts of a transaction are of one time.
    fn time(answered: oneshot::Receiver<Option<Outcome>>) -> i64 {
        answered.blocking_recv().expect("answered").expect("committed").told.time_ms
    }

    #[test]
    fn where_many_come_those_a_moment_later_are_in_the_same_transaction_and_few_wait_for_nobody() {
        assert_eq!(commits_of_twice(MANY), 1);
        assert_eq!(commits_of_twice(1), 2);
    }
}
