//! The file: its table, its pragmas, its name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::config::Synchronous;

/// `PRAGMA user_version` of the files that this build reads and writes.
const VERSION: i64 = 1;

/// One row per attempt, written once. The indexes are what a charge needs and no more: its key, its reference.
/// The one on refunds costs a charge nothing.
const SCHEMA: &str = "
CREATE TABLE ledger (name TEXT NOT NULL) STRICT;
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    kind TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    reference TEXT NOT NULL,
    asked_amount INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    currency TEXT NOT NULL,
    source TEXT NOT NULL,
    status TEXT NOT NULL,
    decline_code TEXT,
    error_code TEXT,
    http INTEGER NOT NULL,
    effect INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    stored_id INTEGER,
    settles_ms INTEGER
) STRICT;
CREATE INDEX attempts_by_key ON attempts (idempotency_key);
CREATE INDEX attempts_by_reference ON attempts (reference);
CREATE INDEX refunds_by_charge ON attempts (source) WHERE kind = 'refund' AND effect = 1;
";

/// Why the ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the ledger {path} cannot be opened: {source}")]
    Database { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the ledger {path} has version {found}, this build knows {VERSION}: use the build that made it, or another \
         data folder"
    )]
    OtherVersion { path: PathBuf, found: i64 },
    #[error("no thread for the ledger: {0}")]
    Thread(std::io::Error),
}

/// The writing connection and the ledger's name.
pub(super) fn open_to_write(path: &Path, synchronous: Synchronous) -> Result<(Connection, Arc<str>), OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    set_up(&connection, synchronous).map_err(failed)?;
    let found = version(&connection).map_err(failed)?;
    if found != 0 && found != VERSION {
        return Err(OpenError::OtherVersion { path: path.to_owned(), found });
    }
    let name = made_or_found(&mut connection).map_err(failed)?;
    Ok((connection, Arc::from(name)))
}

/// A connection that only reads. The file must have been opened to write before.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    Ok(connection)
}

fn set_up(connection: &Connection, synchronous: Synchronous) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(
        None,
        "synchronous",
        match synchronous {
            Synchronous::Full => "FULL",
            Synchronous::Off => "OFF",
        },
    )?;
    // In pages of 4 KiB: a checkpoint every 16 MiB of log, a page cache of 32 MiB.
    connection.pragma_update(None, "wal_autocheckpoint", 4_096)?;
    connection.pragma_update(None, "cache_size", 8_192)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The name of the ledger in this file; an empty file becomes a ledger first, whole or not at all.
fn made_or_found(connection: &mut Connection) -> rusqlite::Result<String> {
    let making = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if version(&making)? == 0 {
        let name = uuid::Uuid::new_v4().simple().to_string();
        making.execute_batch(SCHEMA)?;
        making.execute("INSERT INTO ledger (name) VALUES (?1)", [&name[..8]])?;
        making.pragma_update(None, "user_version", VERSION)?;
    }
    let name = making.query_row("SELECT name FROM ledger", [], |row| row.get(0)).optional()?;
    making.commit()?;
    name.ok_or(rusqlite::Error::QueryReturnedNoRows)
}
