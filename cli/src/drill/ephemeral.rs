//! An installation of the drill's own: a nats-server, the sandbox provider, and every role a process of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use spillway_natsd::Running;
use spillway_shared::config::Origin;
use tempfile::TempDir;

use super::process::Process;
use crate::cli::{DrillArgs, Role};
use crate::context::Context;
use crate::exit::Failure;
use crate::system::nats::{self, NatsServerConfig};
use crate::system::room::Fit;

const ANY: &str = "127.0.0.1:0";

/// In the order in which they are started; the provider goes before.
const ROLES: [Role; 6] =
    [Role::Inventory, Role::Payments, Role::Orders, Role::Notifications, Role::Audit, Role::Gateway];

pub struct Ephemeral {
    nats: Running,
    folder: PathBuf,
    /// Removed at the end, where nobody wants to keep it.
    _temporary: Option<TempDir>,
    /// `--config` and `--set` of the drill.
    passed_on: Vec<String>,
    processes: BTreeMap<&'static str, Process>,
    /// By role and name; kept, so that a role listens again where it did.
    addresses: BTreeMap<&'static str, serde_json::Value>,
}

impl Ephemeral {
    /// # Errors
    /// Exit 3 where there is no nats-server, exit 1 where a role does not start.
    pub async fn start(args: &DrillArgs, ctx: &Context) -> Result<Ephemeral, Failure> {
        let loaded = ctx.load_config(Vec::new())?;
        let sizes_streams = loaded.origin("nats.stream.max_bytes") != Origin::Default;
        let config = loaded.config;
        let (folder, temporary) = folder(args.data.as_deref())?;
        let binary = nats::obtain(args.nats_server.clone(), !args.no_fetch).await?;
        let ports = NatsServerConfig { port: 0, monitoring_port: 0, ..config.nats_server };
        let of_nats = folder.join("nats");
        let fit = Fit::of(&of_nats, config.partitions, &config.nats.stream, sizes_streams);
        let fit = fit.map_err(|e| Failure::missing(format!("{}: {e}", of_nats.display())))?;
        let nats = nats::start(binary, &of_nats, &ports, Some(fit.max_file_store)).await?;
        let mut passed_on = vec!["--set".to_owned(), format!("nats.stream.max_bytes={}", fit.max_bytes)];
        passed_on.extend(ctx.global.set.iter().flat_map(|set| ["--set".to_owned(), set.clone()]));
        if let Some(file) = &ctx.global.config {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            passed_on.extend(["--config".to_owned(), file.display().to_string()]);
        }
        let mut started = Ephemeral {
            nats,
            folder,
            _temporary: temporary,
            passed_on,
            processes: BTreeMap::new(),
            addresses: BTreeMap::new(),
        };
        started.begin(Role::Provider).await?;
        for role in ROLES {
            started.begin(role).await?;
        }
        Ok(started)
    }

    /// Starts a role: where it listened before, or on free ports.
    pub async fn begin(&mut self, role: Role) -> Result<(), Failure> {
        let at = |name: &str| self.address(role, name).unwrap_or(ANY.to_owned()).replace("http://", "");
        let mut arguments: Vec<String> = ["run", role.name(), "--output", "json", "--data"].map(str::to_owned).into();
        arguments.push(self.folder.join("data").display().to_string());
        let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        flag("--admin", at("admin"));
        match role {
            Role::Provider => flag("--listen", at("provider")),
            Role::Gateway => {
                flag("--listen", at("grpc"));
                flag("--ops-listen", at("ops"));
            }
            Role::Payments => flag("--provider-url", self.address(Role::Provider, "provider").unwrap_or_default()),
            Role::Orders | Role::Inventory | Role::Notifications | Role::Audit => {}
        }
        if role != Role::Provider {
            flag("--nats-url", self.nats.client_url());
        }
        arguments.extend(self.passed_on.iter().cloned());
        let process = Process::start(&self.folder, role.name(), &arguments).await?;
        self.addresses.insert(role.name(), process.addresses.clone());
        self.processes.insert(role.name(), process);
        Ok(())
    }

    pub async fn kill(&mut self, role: Role) -> Result<(), Failure> {
        match self.processes.remove(role.name()) {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Where a role listens under a name.
    pub fn address(&self, role: Role, name: &str) -> Option<String> {
        self.addresses.get(role.name())?[name].as_str().map(str::to_owned)
    }

    pub fn nats_url(&self) -> String {
        self.nats.client_url()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Drains all roles at once, then the provider, then nats-server.
    pub async fn end(mut self) {
        let provider = self.processes.remove(Role::Provider.name());
        futures::future::join_all(self.processes.into_values().map(Process::stop)).await;
        if let Some(provider) = provider {
            provider.stop().await;
        }
        self.nats.stop().await;
    }
}

/// The folder, and what removes it where it is a temporary one.
fn folder(kept: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), Failure> {
    let missing = |error: std::io::Error| Failure::missing(format!("cannot make a folder for the drill: {error}"));
    match kept {
        Some(kept) => {
            std::fs::create_dir_all(kept).map_err(missing)?;
            Ok((std::path::absolute(kept).map_err(missing)?, None))
        }
        None => {
            let temporary = tempfile::Builder::new().prefix("spillway-drill-").tempdir().map_err(missing)?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}
