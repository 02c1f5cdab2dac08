//! What can go wrong with a ledger, told apart by what is to be done about it.

use std::path::PathBuf;

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
    /// What was written cannot be trusted to be on disk: the process ends rather than go on.
    #[error("database cannot be read or written: {0}")]
    Broken(String),
    /// A statement and its schema do not fit: a mistake in this build.
    #[error("statement failed: {0}")]
    Statement(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let text = error.to_string();
        let code = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => failure.code,
            _ => return StoreError::Statement(text),
        };
        match code {
            Code::ConstraintViolation | Code::TooBig | Code::TypeMismatch => StoreError::Constraint(text),
            Code::DatabaseBusy | Code::DatabaseLocked => StoreError::Busy(text),
            Code::DiskFull => StoreError::Full(text),
            Code::SystemIoFailure | Code::DatabaseCorrupt | Code::NotADatabase | Code::CannotOpen | Code::ReadOnly => {
                StoreError::Broken(text)
            }
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
    /// This very input cannot be decided or stored.
    #[error("the input cannot be taken: {0}")]
    Poison(String),
}

/// A query was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the ledger is closed")]
    Closed,
}
