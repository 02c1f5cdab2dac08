//! A thread that reads: SQLite blocks, the server must not.

use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{LedgerError, OpenError};

/// Questions that may wait; further ones wait in their connections.
const INBOX: usize = 1_024;

type Question = Box<dyn FnOnce(&Connection) + Send>;

pub(super) struct Reader {
    inbox: mpsc::Sender<Question>,
    thread: JoinHandle<()>,
}

impl Reader {
    pub(super) fn start(name: &str, connection: Connection) -> Result<Reader, OpenError> {
        let (inbox, mut questions) = mpsc::channel::<Question>(INBOX);
        let answer_until_closed = move || {
            while let Some(question) = questions.blocking_recv() {
                question(&connection);
            }
        };
        let thread =
            std::thread::Builder::new().name(name.to_owned()).spawn(answer_until_closed).map_err(OpenError::Thread)?;
        Ok(Reader { inbox, thread })
    }

    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (answer, answered) = oneshot::channel();
        let ask: Question = Box::new(move |connection| {
            if !answer.is_closed() && answer.send(question(connection)).is_err() {
                tracing::debug!("nobody waits for this reading any more");
            }
        });
        self.inbox.send(ask).await.map_err(|_| LedgerError::Stopped)?;
        Ok(answered.await.map_err(|_| LedgerError::Stopped)??)
    }

    pub(super) fn close(self) {
        drop(self.inbox);
        if self.thread.join().is_err() {
            tracing::error!("a reader of the ledger panicked");
        }
    }
}
