//! A nats-server with JetStream as a child: started, watched, stopped, started again.

mod config;
mod health;
mod ready;

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use thiserror::Error;
use tokio::time::timeout;

use crate::port::port_holder;
use crate::supervised::{self, Supervised};
pub use crate::supervised::{Exit, STOP_WITHIN};
pub use health::Sick;
use ready::Ports;

/// A server to be started: everything that may differ from one to the next.
#[derive(Clone, Debug)]
pub struct NatsServer {
    pub binary: PathBuf,
    /// Holds everything the server writes (`jetstream/`, its log, its generated configuration).
    /// Made if it is not there. One server at a time uses it.
    pub folder: PathBuf,
    /// The address to listen on, for clients and for monitoring; loopback unless told otherwise.
    pub listen: IpAddr,
    /// The port for clients; 0 chooses a free one.
    pub client_port: u16,
    /// The port of the HTTP monitoring; 0 chooses a free one.
    pub monitor_port: u16,
    pub server_name: String,
    /// When JetStream's files are forced to the disk; `None` leaves nats-server's default (every
    /// two minutes). A killed server loses nothing in either case, a power cut does.
    pub sync_interval: Option<SyncInterval>,
    /// Largest message in bytes; nats-server's default is 1 MiB.
    pub max_payload: u32,
    /// Most bytes that JetStream keeps on disk; `None` leaves nats-server's default, three
    /// quarters of what is free at its start.
    pub max_file_store: Option<u64>,
    /// Longest time from the start until clients can work with JetStream.
    pub ready_within: Duration,
    /// Name and password that every client must sign in with; without it, whoever reaches the port is served.
    pub authorization: Option<(String, String)>,
}

/// When JetStream's files are forced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncInterval {
    /// At every message, before it is acknowledged.
    Always,
    /// At this interval.
    Every(Duration),
}

/// Why a server is not running.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("{}: {source}", .path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("another nats-server is using {}", .folder.display())]
    FolderInUse { folder: PathBuf },
    #[error("port {} on {} is taken by {}", .address.port(), .address.ip(), holder_text(.holder))]
    PortTaken { address: SocketAddr, holder: Option<(u32, String)> },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("nats-server cannot be started: {0}")]
    Spawn(#[source] io::Error),
    #[error("nats-server ended while it was starting: it {exit}\n{log_tail}")]
    Ended { exit: Exit, log_tail: String },
    #[error("nats-server was not ready within {} s\n{log_tail}", .within.as_secs_f32())]
    NotReady { within: Duration, log_tail: String },
}

fn holder_text(holder: &Option<(u32, String)>) -> String {
    match holder {
        Some((pid, name)) => format!("{name} (pid {pid})"),
        None => "a process that this user cannot see".to_owned(),
    }
}

impl NatsServer {
    /// A server on free ports of the loopback address, with nats-server's own defaults.
    pub fn new(binary: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> NatsServer {
        NatsServer {
            binary: binary.into(),
            folder: folder.into(),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            client_port: 0,
            monitor_port: 0,
            server_name: "spillway".to_owned(),
            sync_interval: None,
            max_payload: 1024 * 1024,
            max_file_store: None,
            ready_within: Duration::from_secs(30),
            authorization: None,
        }
    }

    /// Starts it, and returns once it answers clients and JetStream is up with its streams
    /// recovered. A future dropped before leaves no server behind.
    pub async fn start(self) -> Result<Running, StartError> {
        let options = NatsServer { folder: absolute(&self.folder)?, ..self };
        let (supervised, ports) = options.launch().await?;
        Ok(Running { options, supervised, ports })
    }

    async fn launch(&self) -> Result<(Supervised, Ports), StartError> {
        let in_folder = |source| StartError::Folder { path: self.folder.clone(), source };
        std::fs::create_dir_all(&self.folder).map_err(in_folder)?;
        let output = self.take_folder().await?;
        self.check_ports()?;
        let log = ready::Log::open(&self.folder);
        config::write(self).map_err(in_folder)?;
        let arguments = ["-c".into(), config::config_file(&self.folder).into()];
        let supervised = Supervised::spawn(&self.binary, &arguments, output).await;
        let supervised = supervised.map_err(StartError::Spawn)?;
        match timeout(self.ready_within, ready::wait(self, &supervised)).await {
            Ok(Ok(ports)) => Ok((supervised, ports)),
            Ok(Err(exit)) => {
                // Taken between the check and the start.
                self.check_ports()?;
                Err(StartError::Ended { exit, log_tail: log.tail() })
            }
            Err(_) => Err(StartError::NotReady { within: self.ready_within, log_tail: log.tail() }),
        }
    }

    /// The file that takes the server's standard output and error (a panic, an error in its configuration).
    async fn take_folder(&self) -> Result<File, StartError> {
        let path = config::output_file(&self.folder);
        match supervised::take_output(&path).await {
            Ok(Some(file)) => Ok(file),
            Ok(None) => Err(StartError::FolderInUse { folder: self.folder.clone() }),
            Err(source) => Err(StartError::Folder { path, source }),
        }
    }

    /// Says who holds a port before the server fails on it with less to say.
    fn check_ports(&self) -> Result<(), StartError> {
        for port in [self.client_port, self.monitor_port] {
            let address = SocketAddr::new(self.listen, port);
            match TcpListener::bind(address) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    return Err(StartError::PortTaken { address, holder: port_holder(port) });
                }
                Err(source) => return Err(StartError::Listen { address, source }),
            }
        }
        Ok(())
    }
}

fn absolute(path: &Path) -> Result<PathBuf, StartError> {
    std::path::absolute(path).map_err(|source| StartError::Folder { path: path.to_owned(), source })
}

/// A running server. It ends with this value, with this process, and with nothing else: Ctrl-C
/// in a terminal does not reach it.
#[derive(Debug)]
pub struct Running {
    options: NatsServer,
    supervised: Supervised,
    ports: Ports,
}

impl Running {
    /// Where clients connect: `nats://127.0.0.1:14222`.
    pub fn client_url(&self) -> String {
        format!("nats://{}", self.address(self.ports.client))
    }

    /// The HTTP monitoring: `http://127.0.0.1:18222`.
    pub fn monitor_url(&self) -> String {
        format!("http://{}", self.address(self.ports.monitor))
    }

    /// Whether the server works, in its own view, JetStream included.
    ///
    /// # Errors
    /// Why not; also where it does not answer `within` the time.
    pub async fn health(&self, within: Duration) -> Result<(), Sick> {
        health::ask(self.address(self.ports.monitor), within).await
    }

    /// The server's process id (not the supervisor's).
    pub fn pid(&self) -> u32 {
        self.supervised.pid()
    }

    /// The server's log.
    pub fn log_file(&self) -> PathBuf {
        config::log_file(&self.options.folder)
    }

    /// Resolves when the server has ended, for whatever reason; at once when it already has.
    pub fn exited(&self) -> impl Future<Output = Exit> + Send + use<> {
        self.supervised.exited()
    }

    /// Ends the server as it wishes to end, within [`STOP_WITHIN`]; then it is killed.
    pub async fn stop(self) -> Exit {
        self.supervised.end(Signal::TERM).await
    }

    /// Kills the server (SIGKILL) and returns when it is gone: what a crash looks like.
    pub async fn kill(&mut self) -> Exit {
        self.supervised.end(Signal::KILL).await
    }

    /// Starts the server again on the same ports and the same store; stops it first if it runs.
    /// After an error nothing runs, and it can be tried again.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.supervised.end(Signal::TERM).await;
        let same =
            NatsServer { client_port: self.ports.client, monitor_port: self.ports.monitor, ..self.options.clone() };
        (self.supervised, self.ports) = same.launch().await?;
        Ok(())
    }

    fn address(&self, port: u16) -> SocketAddr {
        let ip = match self.options.listen {
            IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(any) if any.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
            address => address,
        };
        SocketAddr::new(ip, port)
    }
}
