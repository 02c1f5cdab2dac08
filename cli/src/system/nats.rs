//! The nats-server that `up` and `bench` run beside them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spillway_natsd::{NatsServer, Obtain, Running, StartError, SyncInterval};
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// A server that died is started again after this long.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// The nats-server that `up` starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NatsServerConfig {
    /// The port for clients; 0 takes a free one. Never 4222, where another may live.
    pub port: u16,
    /// The port of its HTTP monitoring; 0 takes a free one.
    pub monitoring_port: u16,
    /// When JetStream's files are forced to the disk. The ledgers lose nothing either way: what a stream loses in a
    /// power cut is asked for again.
    pub sync: Sync,
}

/// When JetStream's files are forced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// nats-server's own default, every two minutes.
    Default,
    /// At every message.
    Always,
}

impl Default for NatsServerConfig {
    fn default() -> Self {
        NatsServerConfig { port: 14222, monitoring_port: 18222, sync: Sync::Default }
    }
}

/// Finds or fetches the binary, saying so on standard error first.
///
/// # Errors
/// Exit 3 with the lines that install it.
pub async fn obtain(explicit: Option<PathBuf>, fetch: bool) -> Result<PathBuf, Failure> {
    let say = |line: &str| eprintln!("{line}");
    let found = Obtain { explicit, fetch, say: &say }.run().await;
    found.map(|obtained| obtained.path).map_err(|e| Failure::missing(e.to_string()))
}

/// Starts the server with its store in a folder.
///
/// # Errors
/// Exit 3: a taken port with its holder, a server that does not start with the end of its log.
pub async fn start(binary: PathBuf, folder: &Path, config: &NatsServerConfig) -> Result<Running, Failure> {
    let mut server = NatsServer::new(binary, folder);
    server.client_port = config.port;
    server.monitor_port = config.monitoring_port;
    server.sync_interval = match config.sync {
        Sync::Default => None,
        Sync::Always => Some(SyncInterval::Always),
    };
    server.start().await.map_err(|error| match error {
        StartError::PortTaken { .. } => Failure::missing(format!("{error}; choose another with --nats-port")),
        other => Failure::missing(other.to_string()),
    })
}

/// Keeps the server running until `stop`, then ends it.
pub async fn keep(mut server: Running, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            exit = server.exited() => tracing::error!(%exit, "nats-server ended by itself, starting it again"),
        }
        tokio::time::sleep(RESTART_PAUSE).await;
        while let Err(error) = server.restart().await {
            tracing::error!(%error, "nats-server does not start");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RESTART_PAUSE) => {}
            }
        }
    }
    let exit = server.stop().await;
    tracing::info!(%exit, "nats-server ended");
}
