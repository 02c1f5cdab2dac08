//! Accepting connections, bounded in number, and ending them in bounded time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::answer::Answer;

#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub connections: usize,
    /// How long a connection may stay without a request.
    pub idle: Duration,
}

/// A request that is to have no answer: its connection is cut.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut without an answer, as it was steered")]
pub(super) struct Cut;

/// The end of a listener, in two steps.
#[derive(Clone)]
pub(super) struct Closing {
    requested: CancellationToken,
    overdue: CancellationToken,
    tasks: TaskTracker,
}

impl Closing {
    pub(super) fn new() -> Closing {
        Closing { requested: CancellationToken::new(), overdue: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// Waits until the listener begins to close.
    pub(super) async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// A task that outlives its connection, and that the end waits for. It must end by itself when closing is
    /// requested.
    pub(super) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.tasks.spawn(task)
    }

    pub(super) fn cut_on_drop(&self) -> (DropGuard, DropGuard) {
        (self.requested.clone().drop_guard(), self.overdue.clone().drop_guard())
    }

    /// Takes no more connections, lets requests in hand end for so long, then cuts them.
    pub(super) async fn close(&self, drain: Duration) {
        self.requested.cancel();
        self.tasks.close();
        if tokio::time::timeout(drain, self.tasks.wait()).await.is_err() {
            let hanging = self.tasks.len();
            tracing::warn!(hanging, "connections are cut: their requests did not end in time");
            self.overdue.cancel();
            self.tasks.wait().await;
        }
    }
}

/// Serves until it is told to close. While all connections are taken, further ones wait in the listener's queue.
pub(super) async fn serve<S, F>(listener: TcpListener, limits: Limits, service: S, closing: Closing)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Answer, Cut>> + Send + 'static,
{
    let free = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accept = async {
            let permit = free.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = closing.requested.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = converse(stream, limits, service.clone(), closing.clone());
                closing.tasks.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file handles, most often: without a pause this would be a busy loop.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse<S, F>(stream: TcpStream, limits: Limits, service: S, closing: Closing)
where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Answer, Cut>>,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .serve_connection(TokioIo::new(stream), service_fn(service));
    tokio::pin!(connection);
    tokio::select! {
        // Hang-ups, cuts and idle ends are all in a day's work here.
        ended = connection.as_mut() => return log_end(ended),
        () = closing.requested.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection => log_end(ended),
        () = closing.overdue.cancelled() => {}
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// An answer of an axum router among ours.
pub(super) fn of_router(answer: Response<axum::body::Body>) -> Answer {
    answer.map(Either::Right)
}
