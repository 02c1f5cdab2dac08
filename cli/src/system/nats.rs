//! The nats-server that `up` and `bench` run beside them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spillway_natsd::{NatsServer, Obtain, Running, Sick, StartError, SyncInterval};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// A server that died is started again after this long; one that does not start, after ever longer.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
const RESTART_PAUSE_AT_MOST: Duration = Duration::from_secs(30);

/// How often a server is asked whether it works, and how long its answer may take.
const LOOK_EVERY: Duration = Duration::from_secs(3);
const HEALTH_WITHIN: Duration = Duration::from_secs(5);

/// For how long a server may not work before it is started again, at first and at the most.
const SICK_FOR: Duration = Duration::from_secs(10);
const SICK_FOR_AT_MOST: Duration = Duration::from_secs(600);

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

/// Starts the server with its store in a folder, where JetStream may set aside so many bytes; without a bound, what
/// nats-server itself thinks that the disk has room for.
///
/// # Errors
/// Exit 3: a taken port with its holder, a server that does not start with the end of its log.
pub async fn start(
    binary: PathBuf,
    folder: &Path,
    config: &NatsServerConfig,
    max_file_store: Option<u64>,
) -> Result<Running, Failure> {
    let mut server = NatsServer::new(binary, folder);
    server.max_file_store = max_file_store;
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

/// Keeps the server running and working until `stop`, then ends it. One that ended is started again, and one that does
/// not work for a while is ended and started again: a server that once found its disk full stays wedged until then.
pub async fn keep(mut server: Running, stop: CancellationToken) {
    let mut sick_for = SICK_FOR;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            exit = server.exited() => tracing::error!(%exit, "nats-server ended by itself, starting it again"),
            why = sick(&server, &mut sick_for) => {
                tracing::error!(%why, "nats-server does not work, starting it again");
                sick_for = SICK_FOR_AT_MOST.min(sick_for * 2);
            }
        }
        metrics::counter!("spillway_nats_server_restarts_total").increment(1);
        let mut pause = RESTART_PAUSE;
        let started = async {
            tokio::time::sleep(pause).await;
            while let Err(error) = server.restart().await {
                pause = RESTART_PAUSE_AT_MOST.min(pause * 2);
                tracing::error!(%error, "nats-server does not start, trying again in {} s", pause.as_secs_f32());
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = started => tracing::info!(pid = server.pid(), "nats-server runs again"),
            () = stop.cancelled() => break,
        }
    }
    let exit = server.stop().await;
    tracing::info!(%exit, "nats-server ended");
}

/// Until the server has not worked for some time, in which it may recover by itself. Where that did not help before, the
/// time is longer: what a start cannot heal, such as one damaged stream, is no reason to stop the others every few seconds.
async fn sick(server: &Running, sick_for: &mut Duration) -> Sick {
    let mut since = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match server.health(HEALTH_WITHIN).await {
            Ok(()) => {
                since = None;
                *sick_for = SICK_FOR;
            }
            Err(why) => {
                let since = *since.get_or_insert_with(Instant::now);
                tracing::warn!(%why, "nats-server does not work");
                if since.elapsed() >= *sick_for {
                    return why;
                }
            }
        }
    }
}
