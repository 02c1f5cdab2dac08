//! Opening a ledger: the file and its lock, the schema, the lease, the writer.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};
use spillway_proto::Incarnation;
use spillway_proto::time::{self, Timestamp};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::act::InForce;
use super::commit::Memory;
use super::condition::Condition;
use super::dead_letter;
use super::due::DueFeed;
use super::due_in_hand::{self, CALL, Found};
use super::error::{OpenError, StoreError};
use super::handle::{Ledger, Shared};
use super::in_hand::Caution;
use super::inbox::Inbox;
use super::outbox::Heads;
use super::pace::Pace;
use super::readers::Readers;
use super::schema;
use super::service::Service;
use super::spec::{self, Identity, LedgerSpec};
use super::suspects;
use super::tx::{Tx, Value};
use super::writer::{CommitFigures, Writer};
use crate::logs;
use crate::priority::Behind;

/// Rows of a kind of due work that are held in memory at most.
const DUE_WINDOW: usize = 4096;

/// How long one try of a commit waits for another's lock. After it the ledger is known to be locked, and says so.
const LOCK_WAIT: Duration = Duration::from_millis(250);

/// Pages (of 4 KiB) of the write-ahead log after which it is copied into the database.
const CHECKPOINT_PAGES: i64 = 4000;

impl<S: Service> Ledger<S> {
    /// Opens a ledger, made new where there is none. `due_kinds` names every kind of due work that it has.
    pub fn open(spec: LedgerSpec, service: S, due_kinds: &[&'static str]) -> Result<Self, OpenError> {
        let path = spec.path();
        std::fs::create_dir_all(&spec.folder)
            .map_err(|source| OpenError::Folder { path: spec.folder.clone(), source })?;
        let lock = lock(&path)?;
        let failed = |source: StoreError| OpenError::Store { path: path.clone(), source };
        let mut connection = connect(&path).map_err(failed)?;
        let at = spec::now(spec.clock.as_ref());
        let opened = prepare(&mut connection, &spec, at)?;
        connection.busy_timeout(LOCK_WAIT).map_err(|error| failed(error.into()))?;
        let readers = Readers::open(&path, spec.limits.readers).map_err(failed)?;
        let (shared, memory) = share(&spec, opened, due_kinds);
        let shared = Arc::new(shared);
        let (jobs, waiting) = mpsc::channel(spec.limits.queue);
        let service = Arc::new(service);
        let gone = shared.gone.clone();
        let writer = Writer {
            connection,
            service: service.clone(),
            shared: shared.clone(),
            memory,
            jobs: waiting,
            last: at,
            pace: Pace::new(spec.limits.gather),
            figures: CommitFigures::of(spec.id.ledger.name()),
        };
        std::thread::Builder::new()
            .name(spec.id.name())
            .spawn(move || {
                Behind::Calls.stand();
                logs::on_thread(spec.id.ledger.name().into(), || writer.run());
                // Held as long as anything is written.
                drop(lock);
                gone.cancel();
            })
            .map_err(|source| OpenError::Thread { path, source })?;
        Ok(Ledger { jobs, service, shared, readers })
    }
}

/// What an opening finds.
struct Opened {
    identity: Identity,
    memory: Memory,
    in_force: InForce,
    caution: Caution,
    suspects: Vec<Found>,
}

fn share(spec: &LedgerSpec, opened: Opened, due_kinds: &[&'static str]) -> (Shared, Memory) {
    let Opened { identity, memory, in_force, caution, suspects } = opened;
    let feeds: Vec<_> = due_kinds.iter().map(|kind| Arc::new(DueFeed::new(kind, DUE_WINDOW))).collect();
    suspects::hold_back(&feeds, suspects);
    let shared = Shared {
        identity,
        limits: spec.limits,
        lines: spec.lines.clone(),
        clock: spec.clock.clone(),
        tracer: spec.tracer.clone(),
        heads: watch::Sender::new(memory.heads.numbers.clone()),
        inbox: watch::Sender::new(Arc::new(memory.inbox.clone())),
        relayed: Mutex::new(memory.heads.relayed.clone()),
        acknowledged: Condvar::new(),
        unnumbered: Notify::new(),
        changed: broadcast::Sender::new(1024),
        recorded: broadcast::Sender::new(1024),
        feeds,
        pauses: watch::Sender::new(in_force.pauses),
        settings: watch::Sender::new(in_force.settings),
        incidents: Default::default(),
        failed: watch::Sender::new(None),
        condition: Condition::default(),
        heard_events: Default::default(),
        said_events: Default::default(),
        gone: CancellationToken::new(),
        folder: spec.folder.clone(),
        caution,
        dead_letters: Notify::new(),
    };
    (shared, memory)
}

/// The lock of a ledger, held by the process that writes it. The file beside it names the holder.
fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path: PathBuf = path.with_extension("lock");
    let failed = |source| OpenError::Lock { path: lock_path.clone(), source };
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(&lock_path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(failed)?;
            return Err(OpenError::InUse { path: path.to_owned(), holder: holder.trim().to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "process {}", std::process::id()).map_err(failed)?;
    Ok(file)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A commit is on disk before anybody is told: NORMAL loses commits in a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    plan_once(&connection)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    // Negative is KiB.
    connection.pragma_update(None, "cache_size", -16384)?;
    Ok(connection)
}

/// A statement is planned once, not again for every new value of its parameters.
pub(super) fn plan_once(connection: &Connection) -> Result<(), StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Brings the schema up to date, takes the lease, and loads what the writer remembers.
fn prepare(connection: &mut Connection, spec: &LedgerSpec, at: Timestamp) -> Result<Opened, OpenError> {
    let path = spec.path();
    let failed = |source: StoreError| OpenError::Store { path: path.clone(), source };
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| failed(e.into()))?;
    let tx = Tx::new(&transaction);
    for (owner, migrations) in [("ledger", schema::LEDGER), ("service", spec.migrations)] {
        if let Err(found) = schema::migrate(&tx, owner, migrations, at).map_err(failed)? {
            return Err(OpenError::Newer { path, found, known: migrations.len() });
        }
    }
    let incarnation = identify(&tx, spec, at, &path)?;
    let epoch = take_lease(&tx, at).map_err(failed)?;
    let serves = spec.id.serves(spec.partitions);
    let heads = Heads::load(&tx, incarnation, &serves).map_err(failed)?;
    let inbox = Inbox::load(&tx).map_err(failed)?;
    let in_force = InForce::load(&tx).map_err(failed)?;
    let mut caution = Caution::begin(&tx, &inbox, at).map_err(failed)?;
    let found = due_in_hand::begin(&tx, caution.was_unclean()).map_err(failed)?;
    let (calls, suspects) = found.into_iter().partition::<Vec<_>, _>(|found| found.kind == CALL);
    caution.calls = calls.into_iter().map(|found| (found.key, found.found)).collect();
    let any_unread = dead_letter::any_unread(&tx).map_err(failed)?;
    let set_aside = dead_letter::set_aside(&tx).map_err(failed)?;
    transaction.commit().map_err(|e| failed(e.into()))?;
    if !caution.is_calm() || !suspects.is_empty() {
        tracing::info!(ledger = %spec.id, "the last end was not clean: what was in hand is taken with care");
    }
    let identity = Identity {
        id: spec.id,
        partitions: spec.partitions,
        serves,
        incarnation,
        epoch,
        numbering: spec.numbering,
        build: spec.build.clone(),
    };
    Ok(Opened {
        identity,
        memory: Memory { inbox, heads, any_unread, set_aside, is_clean: false },
        in_force,
        caution,
        suspects,
    })
}

/// Who this ledger is; decided at its first opening.
fn identify(tx: &Tx<'_>, spec: &LedgerSpec, at: Timestamp, path: &Path) -> Result<Incarnation, OpenError> {
    let failed = |source: StoreError| OpenError::Store { path: path.to_owned(), source };
    let name = spec.id.name();
    let rows = tx
        .read("select name, incarnation, partitions from ledger", &[], |row| {
            Ok((row.text(0)?, row.blob(1)?, row.int(2)?))
        })
        .map_err(failed)?;
    let Some((found, incarnation, partitions)) = rows.into_iter().next() else {
        let incarnation = Incarnation(uuid::Uuid::new_v4());
        tx.write(
            "insert into ledger (one, name, incarnation, partitions, created_us) values (1, $1, $2, $3, $4)",
            &[
                Value::Text(&name),
                incarnation.as_bytes().into(),
                i64::from(spec.partitions).into(),
                time::to_micros(at).into(),
            ],
        )
        .map_err(failed)?;
        return Ok(incarnation);
    };
    if found != name {
        return Err(OpenError::Stranger { path: path.to_owned(), found, wanted: name });
    }
    if partitions != i64::from(spec.partitions) {
        return Err(OpenError::Partitions { path: path.to_owned(), found: partitions, wanted: spec.partitions });
    }
    Incarnation::from_bytes(&incarnation)
        .ok_or_else(|| failed(StoreError::Statement("the incarnation is no id".to_owned())))
}

/// Every opening is a new epoch: a commit under an older one is refused. The file's lock keeps out other writers;
/// the epoch is what a store with several writers goes by.
fn take_lease(tx: &Tx<'_>, at: Timestamp) -> Result<i64, StoreError> {
    let holder = format!("process {}", std::process::id());
    tx.write(
        "insert into lease (partition, epoch, holder, taken_us) values (0, 1, $1, $2)
         on conflict (partition)
         do update set epoch = lease.epoch + 1, holder = excluded.holder, taken_us = excluded.taken_us",
        &[Value::Text(&holder), time::to_micros(at).into()],
    )?;
    let epochs = tx.read("select epoch from lease where partition = 0", &[], |row| row.int(0))?;
    epochs.into_iter().next().ok_or_else(|| StoreError::Statement("the lease row is missing".to_owned()))
}
