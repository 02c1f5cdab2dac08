//! The accept loop, shared by the gRPC and the admin server: a cap on connections, a time for the opening, an age
//! with jitter, and a drain that ends in time.
//!
//! tonic's own server is not used for this: it ends when `accept` fails in the wrong way, waits for open
//! connections without limit, gives all connections the same age, and answers CANCELLED where a deadline passed.

use std::convert::Infallible;
use std::future::Future;
use std::future::poll_fn;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

use super::gathering::{GatheringStream, Turns};
use super::opening::OpeningReader;
use super::paced::PacedReader;
use super::{AtOnce, Name};
use crate::logs::as_here;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The pause after a failed accept: without file descriptors (EMFILE) accept fails at once, again and again.
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// What a connection above the cap is told: an HTTP/2 SETTINGS frame and a GOAWAY that names stream 0 as the last
/// one served and NO_ERROR as the reason, so that a client knows that nothing of it was begun (RFC 9113, 6.8).
const REFUSAL: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x1c\x07\0\0\0\0\0\0\0\0\0\0\0\0\0too many connections";

/// Who answers the requests of all connections.
pub trait Serve: Clone + Send + 'static {
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
    type Future: Future<Output = Result<Response<Self::Body>, Infallible>> + Send + 'static;

    /// Answers a request of this peer.
    fn serve(&self, request: Request<Incoming>, peer: &TcpConnectInfo) -> Self::Future;

    /// Whether more comes than can be served. Asked for every read: connections are read in turns then.
    fn is_crowded(&self) -> bool {
        false
    }
}

/// A tower service that answers them, a copy of it each.
#[derive(Clone)]
pub struct Tower<S>(pub S);

impl<S, B> Serve for Tower<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
    type Future = Oneshot<S, Request<Incoming>>;

    fn serve(&self, request: Request<Incoming>, _peer: &TcpConnectInfo) -> Self::Future {
        self.0.clone().oneshot(request)
    }
}

/// How connections are taken and let go.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Connections open at once. One more is accepted, told so and closed: a client that is refused goes to
    /// another replica, one that waits in the kernel's backlog does not even know that it waits.
    pub max_connections: usize,
    /// Time for the first 24 bytes (HTTP/2's preface) to arrive, else the connection is closed.
    pub opening_timeout: Duration,
    /// After this time, with a jitter of 10 % each way, a connection is told to go (GOAWAY) and ends when its calls
    /// have ended. Never cut: a call that runs is finished.
    pub max_age: Option<Duration>,
    /// Under which open connections are counted; None for a listener whose connections are of no interest.
    pub name: Option<Name>,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were open when it began.
    pub open: usize,
    /// Those of them that had to be cut when the time was up.
    pub cut: usize,
}

/// Serves every connection of the listener until `stop` resolves; then accepts no more, tells every connection to
/// go, waits for them for `drain` at most, and cuts what is left.
pub async fn serve<S: Serve>(
    listener: TcpListener,
    http: Builder<AtOnce>,
    limits: ConnectionLimits,
    service: S,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> Drained {
    let mut stop = pin!(stop);
    let mut open = Open::new(limits.max_connections, limits.name);
    let mut accepting = Accepting::default();
    let epoch = Instant::now();
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(ended) = open.tasks.join_next(), if !open.tasks.is_empty() => {
                note_end(ended);
                open.measure();
            }
            accepted = listener.accept() => {
                let Some((stream, peer)) = accepting.outcome(accepted).await else { continue };
                if let Some(stream) = open.admit(stream, peer) {
                    let (http, limits, service) = (http.clone(), limits.clone(), service.clone());
                    let leave = open.leave.clone();
                    open.tasks.spawn(as_here(hold((stream, epoch), http, limits, service, leave)));
                    open.measure();
                }
            }
        }
    }
    drop(listener);
    open.drain(drain).await
}

/// The connections that are open.
struct Open {
    tasks: JoinSet<()>,
    max: usize,
    is_full: bool,
    leave: CancellationToken,
    name: Option<Name>,
}

impl Open {
    fn new(max: usize, name: Option<Name>) -> Open {
        Open { tasks: JoinSet::new(), max, is_full: false, leave: CancellationToken::new(), name }
    }

    fn measure(&self) {
        if let Some(Name { role, listener }) = self.name {
            let open = self.tasks.len() as f64;
            metrics::gauge!("spillway_connections", "role" => role, "listener" => listener).set(open);
        }
    }

    /// Gives the stream back when there is room for it, else refuses and closes it.
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<TcpStream> {
        while let Some(ended) = self.tasks.try_join_next() {
            note_end(ended);
        }
        let was_full = std::mem::replace(&mut self.is_full, self.tasks.len() >= self.max);
        if !self.is_full {
            return Some(stream);
        }
        if !was_full {
            tracing::warn!(max_connections = self.max, %peer, "too many connections: refusing more until one ends");
        }
        if let Some(Name { role, listener }) = self.name {
            let refused =
                metrics::counter!("spillway_connections_refused_total", "role" => role, "listener" => listener);
            refused.increment(1);
        }
        if let Err(error) = refuse(stream) {
            tracing::debug!(%peer, %error, "a refused connection could not be told why");
        }
        None
    }

    async fn drain(mut self, within: Duration) -> Drained {
        let open = self.tasks.len();
        self.leave.cancel();
        let all_gone = async {
            while let Some(ended) = self.tasks.join_next().await {
                note_end(ended);
            }
        };
        if tokio::time::timeout(within, all_gone).await.is_ok() {
            return Drained { open, cut: 0 };
        }
        let cut = self.tasks.len();
        tracing::warn!(open, cut, ?within, "connections were still open when the drain ended: cutting them");
        self.tasks.shutdown().await;
        Drained { open, cut }
    }
}

fn refuse(stream: TcpStream) -> io::Result<()> {
    // tokio's stream would first wait to hear that it is writable; a new socket's buffer is empty, so it is.
    stream.into_std()?.write_all(REFUSAL)
}

fn note_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a connection panicked");
    }
}

/// Keeps the accept loop alive, and its log readable, while accepting fails.
#[derive(Default)]
struct Accepting {
    failures: u64,
}

impl Accepting {
    async fn outcome(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<(TcpStream, SocketAddr)> {
        match accepted {
            Ok(connection) => {
                if self.failures > 0 {
                    tracing::info!(failures = self.failures, "accepting connections again");
                    self.failures = 0;
                }
                Some(connection)
            }
            Err(error) => {
                if self.failures == 0 {
                    tracing::error!(%error, "cannot accept connections: trying again and again");
                }
                self.failures += 1;
                tokio::time::sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
                None
            }
        }
    }
}

/// Serves one connection to its end.
async fn hold<S: Serve>(
    (stream, epoch): (TcpStream, Instant),
    http: Builder<AtOnce>,
    limits: ConnectionLimits,
    service: S,
    leave: CancellationToken,
) {
    // Small answers must not wait for the peer's delayed acknowledgement (Nagle).
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let peer: TcpConnectInfo = stream.connect_info();
    let (reader, writer) = stream.into_split();
    let (reader, opening) = OpeningReader::new(reader);
    let crowd = service.clone();
    let reader = PacedReader::new(reader, epoch, move || crowd.is_crowded());
    let turns = Turns::default();
    let stream = GatheringStream::new(tokio::io::join(reader, writer), turns.clone());
    let service = service_fn(move |request| service.serve(request, &peer));
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut opened_by = pin!(tokio::time::sleep(limits.opening_timeout));
    let mut too_old = pin!(past_age(limits.max_age));
    let (mut is_opening, mut is_leaving) = (true, false);
    loop {
        tokio::select! {
            ended = poll_fn(|cx| { turns.begin(); connection.as_mut().poll(cx) }) => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a connection ended with an error");
                }
                return;
            }
            () = &mut opened_by, if is_opening => {
                if !opening.is_complete() {
                    tracing::debug!(timeout = ?limits.opening_timeout, "closing a connection that never opened");
                    return;
                }
                is_opening = false;
                continue;
            }
            () = &mut too_old, if !is_leaving => {}
            () = leave.cancelled(), if !is_leaving => {}
        }
        is_leaving = true;
        connection.as_mut().graceful_shutdown();
    }
}

/// Resolves when the connection has reached its age. The jitter keeps clients that came together, after a restart,
/// from leaving together.
async fn past_age(max_age: Option<Duration>) {
    match max_age {
        Some(age) => tokio::time::sleep(age.mul_f64(rand::random_range(0.9..=1.1))).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::REFUSAL;

    #[test]
    fn the_refusal_is_two_frames_whose_lengths_are_right() {
        let (settings, goaway) = REFUSAL.split_at(9);
        assert_eq!(settings, [0, 0, 0, 4, 0, 0, 0, 0, 0]);
        assert_eq!(usize::from(goaway[2]), goaway.len() - 9);
        assert_eq!(goaway[3], 7, "the type of a GOAWAY frame");
    }
}
