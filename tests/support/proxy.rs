//! A TCP proxy for any edge: what a network does to a connection, done on purpose, and undone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Bytes read at a time, and reads that may be on their way through: more wait in the sockets.
const READ_BYTES: usize = 16 << 10;
const ON_THE_WAY: usize = 256;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

/// What happens to the bytes that go one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// Every byte arrives so much later.
    pub delay: Duration,
    /// At most so many bytes a second.
    pub bytes_per_second: Option<u64>,
    /// Bytes wait, and go on once this is healed: a partition that TCP outlives, or half a connection that does not know
    /// yet that it is alone.
    pub held: bool,
    /// Bytes are thrown away. A connection that has lost some is cut when this is healed.
    pub dropped: bool,
    /// A connection is cut after so many more bytes of it.
    pub cut_after: Option<u64>,
}

impl Fault {
    pub fn delay(delay: Duration) -> Fault {
        Fault { delay, ..Fault::default() }
    }

    pub fn throttle(bytes_per_second: u64) -> Fault {
        Fault { bytes_per_second: Some(bytes_per_second), ..Fault::default() }
    }

    pub fn hold() -> Fault {
        Fault { held: true, ..Fault::default() }
    }

    pub fn drop() -> Fault {
        Fault { dropped: true, ..Fault::default() }
    }

    pub fn cut_after(bytes: u64) -> Fault {
        Fault { cut_after: Some(bytes), ..Fault::default() }
    }
}

/// Both ways, and whether connections are taken at all.
#[derive(Clone, Copy, Debug, Default)]
struct Rules {
    to_server: Fault,
    to_client: Fault,
    refused: bool,
}

impl Rules {
    fn of(&self, way: Way) -> Fault {
        match way {
            Way::ToServer => self.to_server,
            Way::ToClient => self.to_client,
        }
    }
}

/// Listens on a free port of 127.0.0.1 and passes everything on. Ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    /// Cancelled and renewed by every cut.
    connections: watch::Sender<CancellationToken>,
    accepted: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Proxy {
    /// A proxy in front of a server, which need not be there yet.
    pub async fn to(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let proxy = Proxy {
            address,
            rules: watch::Sender::new(Rules::default()),
            connections: watch::Sender::new(stop.child_token()),
            accepted: Arc::default(),
            stop: stop.clone(),
        };
        let (rules, tokens, accepted) =
            (proxy.rules.subscribe(), proxy.connections.subscribe(), proxy.accepted.clone());
        tokio::spawn(async move {
            loop {
                let client = tokio::select! {
                    taken = listener.accept() => taken,
                    () = stop.cancelled() => return,
                };
                let Ok((client, _)) = client else { continue };
                accepted.fetch_add(1, Ordering::Relaxed);
                if rules.borrow().refused {
                    continue;
                }
                let over = tokens.borrow().child_token();
                tokio::spawn(carry(client, server, rules.clone(), over));
            }
        });
        proxy
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that were tried so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// From now on, also on connections that are open.
    pub fn set(&self, way: Way, fault: Fault) {
        self.rules.send_modify(|rules| match way {
            Way::ToServer => rules.to_server = fault,
            Way::ToClient => rules.to_client = fault,
        });
    }

    pub fn set_both(&self, fault: Fault) {
        self.set(Way::ToServer, fault);
        self.set(Way::ToClient, fault);
    }

    /// Ends every open connection; new ones are taken.
    pub fn cut(&self) {
        self.connections.send_replace(self.stop.child_token()).cancel();
    }

    /// Ends every open connection, and every new one at once.
    pub fn refuse(&self) {
        self.rules.send_modify(|rules| rules.refused = true);
        self.cut();
    }

    /// Passes everything on again.
    pub fn heal(&self) {
        self.rules.send_replace(Rules::default());
    }
}

/// One connection, until either end closes it, something cuts it, or the proxy ends.
async fn carry(client: TcpStream, server: SocketAddr, rules: watch::Receiver<Rules>, over: CancellationToken) {
    // A server that cannot be reached closes the client's connection too.
    let Ok(server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a TCP socket");
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        Pump { way: Way::ToServer, rules: rules.clone(), over: over.clone() }.run(from_client, to_server),
        Pump { way: Way::ToClient, rules, over }.run(from_server, to_client),
    );
}

/// One way of a connection.
struct Pump {
    way: Way,
    rules: watch::Receiver<Rules>,
    over: CancellationToken,
}

impl Pump {
    async fn run(self, from: OwnedReadHalf, to: OwnedWriteHalf) {
        let (queue, queued) = mpsc::channel(ON_THE_WAY);
        let over = self.over.clone();
        tokio::select! {
            ((), ()) = async { tokio::join!(self.read(from, queue), self.write(queued, to)) } => {}
            () = over.cancelled() => {}
        }
        over.cancel();
    }

    /// Notes for all that is read when it may arrive.
    async fn read(&self, mut from: OwnedReadHalf, queue: mpsc::Sender<(Instant, Bytes)>) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
            let due = Instant::now() + self.rules.borrow().of(self.way).delay;
            if queue.send((due, Bytes::copy_from_slice(&buffer[..count]))).await.is_err() {
                return;
            }
        }
    }

    async fn write(&self, mut queue: mpsc::Receiver<(Instant, Bytes)>, mut to: OwnedWriteHalf) {
        let mut rules = self.rules.clone();
        let (mut passed, mut has_lost) = (0u64, false);
        while let Some((due, mut bytes)) = queue.recv().await {
            tokio::time::sleep_until(due).await;
            let Ok(fault) = rules.wait_for(|rules| !rules.of(self.way).held).await.map(|rules| rules.of(self.way))
            else {
                return;
            };
            if fault.dropped {
                has_lost = true;
                continue;
            }
            if has_lost {
                return;
            }
            match fault.cut_after {
                Some(last) if passed + bytes.len() as u64 >= last => {
                    bytes.truncate(usize::try_from(last.saturating_sub(passed)).expect("within a read"));
                    drop(to.write_all(&bytes).await);
                    return;
                }
                Some(_) => passed += bytes.len() as u64,
                None => passed = 0,
            }
            if let Some(speed) = fault.bytes_per_second {
                tokio::time::sleep(Duration::from_secs_f64(bytes.len() as f64 / speed.max(1) as f64)).await;
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}
