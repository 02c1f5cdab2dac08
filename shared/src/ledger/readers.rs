//! Connections that answer queries beside the writer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{ReadError, StoreError};
use super::tx::Tx;

pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

/// A connection that comes home however its query ends, also where nobody waits for it any more.
struct Lent {
    connection: Option<Connection>,
    home: Arc<Readers>,
    /// Given back after the connection.
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.connection.take());
    }
}

impl Readers {
    pub fn open(path: &Path, count: usize) -> Result<Arc<Self>, StoreError> {
        let connections: Result<Vec<_>, _> = (0..count.max(1)).map(|_| open(path)).collect();
        Ok(Arc::new(Readers { idle: Mutex::new(connections?), permits: Arc::new(Semaphore::new(count.max(1))) }))
    }

    /// Runs a query on an idle connection, in one consistent view.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| ReadError::Closed)?;
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lent = Lent { connection, home: self.clone(), _permit: permit };
        let ran = tokio::task::spawn_blocking(move || {
            let connection = lent.connection.as_ref().ok_or(ReadError::Closed)?;
            consistent(connection, query).map_err(ReadError::from)
        });
        ran.await.map_err(|_| ReadError::Closed)?
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
