//! The server: bind, then build, then run until the shutdown that it is handed.

mod admin;
mod api;
mod connections;
mod control;
mod keys;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::SandboxConfig;
use crate::ledger::{Ledger, OpenError, Settings};
use crate::mode::Mode;
use crate::traffic::Traffic;
use connections::{Closing, Limits};

/// The file in the data folder.
const LEDGER_FILE: &str = "provider.db";

/// A sandbox provider that holds its addresses and its ledger, and is ready to run.
pub struct Sandbox {
    api: TcpListener,
    admin: TcpListener,
    addresses: Addresses,
    limits: Limits,
    drain: Duration,
    shared: Arc<Shared>,
}

/// Where it really listens, also where port 0 was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The provider's API, `/sandbox/*` included.
    pub api: SocketAddr,
    pub admin: SocketAddr,
}

/// Why the sandbox cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the sandbox provider cannot listen on {address} ({key}): {source}")]
    Listen { key: &'static str, address: SocketAddr, source: std::io::Error },
    #[error("the data folder {path} cannot be made: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Ledger(#[from] OpenError),
    #[error("token is empty: leave it out to ask for none")]
    EmptyToken,
}

/// Why a running sandbox ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the sandbox's ledger stopped by itself; its log says why")]
    LedgerFailed,
}

/// What every request needs.
pub(crate) struct Shared {
    pub config: SandboxConfig,
    /// The `Authorization` that is asked for.
    pub authorization: Option<String>,
    pub ledger: Ledger,
    pub mode: watch::Sender<Arc<Mode>>,
    pub traffic: Traffic,
}

impl Sandbox {
    /// Takes the addresses and opens the ledger `provider.db` in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// An address that is taken, a folder or file that cannot be used, an empty token.
    pub async fn bind(config: SandboxConfig, folder: &Path) -> Result<Sandbox, StartError> {
        if config.token.as_ref().is_some_and(String::is_empty) {
            return Err(StartError::EmptyToken);
        }
        let (api, api_address) = listen("listen", config.listen).await?;
        let (admin, admin_address) = listen("admin", config.admin).await?;
        std::fs::create_dir_all(folder).map_err(|source| StartError::Folder { path: folder.to_owned(), source })?;
        let settings =
            Settings { key_window_ms: saturated(config.key_window_ms), pending_ms: saturated(config.pending_ms) };
        let ledger = Ledger::open(&folder.join(LEDGER_FILE), config.synchronous, settings)?;
        let mode = Mode { lookup_lag_ms: config.lookup_lag_ms, ..Mode::default() };
        Ok(Sandbox {
            api,
            admin,
            addresses: Addresses { api: api_address, admin: admin_address },
            limits: Limits {
                connections: config.max_connections.get(),
                idle: Duration::from_millis(config.idle_timeout_ms),
            },
            drain: Duration::from_millis(config.drain_ms),
            shared: Arc::new(Shared {
                authorization: config.token.as_ref().map(|token| format!("Bearer {token}")),
                ledger,
                mode: watch::Sender::new(Arc::new(mode)),
                traffic: Traffic::new(),
                config,
            }),
        })
    }

    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until `shutdown`, then takes no more, lets requests in hand end for `drain_ms`, cuts what still hangs
    /// and closes the ledger.
    ///
    /// # Errors
    /// The ledger ended by itself.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Sandbox { api, admin, addresses, limits, drain, shared } = self;
        let closing = Closing::new();
        // The admin listener stays until the API has drained: a probe may watch the end.
        let admin_closing = Closing::new();
        // Whoever drops this future ends everything it started, without a drain.
        let _ends_with_this = (closing.cut_on_drop(), admin_closing.cut_on_drop());
        let api_service = api::service(shared.clone(), closing.clone(), limits.connections);
        let serve_api = tokio::spawn(connections::serve(api, limits, api_service, closing.clone()));
        let admin_service = admin::service(shared.clone());
        let serve_admin = tokio::spawn(connections::serve(admin, limits, admin_service, admin_closing.clone()));
        tracing::info!(api = %addresses.api, admin = %addresses.admin, "sandbox provider is serving");

        let result = tokio::select! {
            () = shutdown => Ok(()),
            () = shared.ledger.failed() => Err(RunError::LedgerFailed),
        };
        closing.close(drain).await;
        admin_closing.close(drain).await;
        for serving in [serve_api, serve_admin] {
            if let Err(error) = serving.await {
                tracing::error!(%error, "a listener failed");
            }
        }
        close_ledger(shared).await;
        tracing::info!("sandbox provider has stopped");
        result
    }
}

/// Every connection has ended, so nobody else holds it.
async fn close_ledger(shared: Arc<Shared>) {
    let Some(shared) = Arc::into_inner(shared) else {
        tracing::error!("a request outlived its connection; the ledger closes with the process");
        return;
    };
    if let Err(error) = tokio::task::spawn_blocking(move || shared.ledger.close()).await {
        tracing::error!(%error, "the ledger did not close");
    }
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { key, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn saturated(milliseconds: u64) -> i64 {
    // Far beyond any time that is added to it.
    i64::try_from(milliseconds).unwrap_or(i64::MAX).min(i64::MAX / 4)
}
