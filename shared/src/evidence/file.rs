//! The ledger of a stopped system, read from its file by the same queries.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags};

use super::answer::{Page, about, page};
use super::{Cell, Evidence};
use crate::ledger::{StoreError, Tx};

/// A ledger's file, opened to read alone.
pub struct LedgerFile {
    connection: Connection,
}

impl LedgerFile {
    /// Opens it; it must be there.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(LedgerFile { connection })
    }

    /// Rows after a key; an empty one begins at the start.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn page(&self, evidence: &Evidence, after: Vec<Cell>, limit: i32) -> Result<Page, StoreError> {
        let view = self.connection.unchecked_transaction()?;
        page(&Tx::new(&view), evidence, after, limit)
    }

    /// Rows about these subjects.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn about(&self, evidence: &Evidence, subjects: &[Bytes]) -> Result<Page, StoreError> {
        let view = self.connection.unchecked_transaction()?;
        about(&Tx::new(&view), evidence, subjects)
    }
}
