//! What can go wrong with a ledger, told apart by what is to be done about it.

use std::path::PathBuf;

use rusqlite::ffi::{SQLITE_IOERR_NOMEM, SQLITE_IOERR_SHMSIZE};

use super::service::Cause;

/// The database could not do what a statement asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The data and the schema disagree with what is to be written: the input at fault is found and set aside.
    #[error("constraint violated: {0}")]
    Constraint(String),
    /// Somebody else holds a lock; trying again helps.
    #[error("database is busy: {0}")]
    Busy(String),
    /// No space: nothing is lost, and it goes on once there is some.
    #[error("no space left for the database: {0}")]
    Full(String),
    /// The process has used up its memory or its file handles: nothing is lost, and it goes on once there are some.
    #[error("the process has run out of something that the database needs: {0}")]
    Exhausted(String),
    /// What was written cannot be trusted to be on disk: the process ends rather than go on.
    #[error("database cannot be read or written: {0}")]
    Broken(String),
    /// A statement and its schema do not fit: a mistake in this build.
    #[error("statement failed: {0}")]
    Statement(String),
}

impl StoreError {
    /// Whether the same may be done later: nothing is wrong with what was asked, and nothing of it was kept.
    pub fn is_passing(&self) -> bool {
        match self {
            StoreError::Busy(_) | StoreError::Full(_) | StoreError::Exhausted(_) => true,
            StoreError::Constraint(_) | StoreError::Broken(_) | StoreError::Statement(_) => false,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let text = error.to_string();
        let failure = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => failure,
            _ => return StoreError::Statement(text),
        };
        match failure.extended_code {
            // The shared index of the log cannot grow, before anything is written: of a full disk SQLite says so.
            SQLITE_IOERR_SHMSIZE => return StoreError::Full(text),
            SQLITE_IOERR_NOMEM => return StoreError::Exhausted(text),
            _ => {}
        }
        match failure.code {
            Code::ConstraintViolation | Code::TooBig | Code::TypeMismatch => StoreError::Constraint(text),
            Code::DatabaseBusy | Code::DatabaseLocked | Code::FileLockingProtocolFailed => StoreError::Busy(text),
            Code::DiskFull => StoreError::Full(text),
            Code::OutOfMemory | Code::CannotOpen => StoreError::Exhausted(text),
            Code::SystemIoFailure
            | Code::DatabaseCorrupt
            | Code::NotADatabase
            | Code::ReadOnly
            | Code::PermissionDenied => StoreError::Broken(text),
            _ => StoreError::Statement(text),
        }
    }
}

/// A ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot make the folder {path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the ledger {path} is in use by {holder}; one process at a time writes it")]
    InUse { path: PathBuf, holder: String },
    #[error("cannot lock {path}: {source}")]
    Lock { path: PathBuf, source: std::io::Error },
    #[error(
        "the ledger {path} was written by a newer version (schema {found}, this build knows {known}); use that version"
    )]
    Newer { path: PathBuf, found: String, known: usize },
    #[error(
        "the ledger {path} was made with partitions = {found}, not {wanted}; the number is fixed at the first start"
    )]
    Partitions { path: PathBuf, found: i64, wanted: u16 },
    #[error("the ledger {path} belongs to {found}, not to {wanted}")]
    Stranger { path: PathBuf, found: String, wanted: String },
    #[error("cannot open the ledger {path}: {source}")]
    Store { path: PathBuf, source: StoreError },
    #[error("cannot start the writer of {path}: {source}")]
    Thread { path: PathBuf, source: std::io::Error },
}

/// An input was not taken. Nothing of it is kept, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The ledger is closing or closed.
    #[error("the ledger is closed")]
    Closed,
    /// The queue before the writer is full.
    #[error("the ledger is busy")]
    Busy,
    /// The database is busy or full; the same input may be taken later.
    #[error("the ledger cannot write now: {0}")]
    Unavailable(StoreError),
    /// The disk failed while it was written, and the ledger ends: whether it is kept shows when it is opened again.
    #[error("whether the ledger has kept it is not known: {0}")]
    Unknown(StoreError),
    /// This very input cannot be decided or stored.
    #[error("the input cannot be taken: {error}")]
    Poison { cause: Cause, error: String },
}

/// A query was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the ledger is closed")]
    Closed,
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn each_failure_of_sqlite_is_told_apart_by_what_is_to_be_done() {
        type Kind = fn(String) -> StoreError;
        let cases: [(i32, Kind); 14] = [
            (ffi::SQLITE_BUSY, StoreError::Busy),
            (ffi::SQLITE_BUSY_SNAPSHOT, StoreError::Busy),
            (ffi::SQLITE_PROTOCOL, StoreError::Busy),
            (ffi::SQLITE_FULL, StoreError::Full),
            (ffi::SQLITE_IOERR_SHMSIZE, StoreError::Full),
            (ffi::SQLITE_NOMEM, StoreError::Exhausted),
            (ffi::SQLITE_IOERR_NOMEM, StoreError::Exhausted),
            (ffi::SQLITE_CANTOPEN, StoreError::Exhausted),
            (ffi::SQLITE_IOERR_FSYNC, StoreError::Broken),
            (ffi::SQLITE_IOERR_WRITE, StoreError::Broken),
            (ffi::SQLITE_CORRUPT, StoreError::Broken),
            (ffi::SQLITE_READONLY, StoreError::Broken),
            (ffi::SQLITE_CONSTRAINT_CHECK, StoreError::Constraint),
            (ffi::SQLITE_ERROR, StoreError::Statement),
        ];
        for (code, expected) in cases {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let text = error.to_string();
            assert_eq!(StoreError::from(error), expected(text), "{code}");
        }
    }
}
