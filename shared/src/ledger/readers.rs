//! Connections that answer queries beside the writer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::error::{ReadError, StoreError};
use super::tx::Tx;

pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Readers {
    pub fn open(path: &Path, count: usize) -> Result<Arc<Self>, StoreError> {
        let connections: Result<Vec<_>, _> = (0..count.max(1)).map(|_| open(path)).collect();
        Ok(Arc::new(Readers { idle: Mutex::new(connections?), permits: Semaphore::new(count.max(1)) }))
    }

    /// Runs a query on an idle connection, in one consistent view.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let _permit = self.permits.acquire().await.map_err(|_| ReadError::Closed)?;
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().ok_or(ReadError::Closed)?;
        let home = self.clone();
        let ran = tokio::task::spawn_blocking(move || {
            let answer = consistent(&connection, query);
            home.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer
        });
        Ok(ran.await.map_err(|_| ReadError::Closed)??)
    }
}

fn consistent<T>(
    connection: &Connection,
    query: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let view = connection.unchecked_transaction()?;
    query(&Tx::new(&view))
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    super::open::plan_once(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}
