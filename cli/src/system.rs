//! Roles in this process: started, watched, drained. `run` starts one of them, `up` all.

pub mod nats;
mod open_orders;
mod roles;
pub mod room;
pub mod said;
pub mod signals;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spillway_sandbox::Sandbox;
use spillway_shared::admin::{About, AdminServer, Metrics, Readiness};
use spillway_shared::bus::Bus;
use spillway_shared::ledger::SystemClock;
use spillway_shared::lifecycle::{Drained, Life, Stage, TaskFailed};
use spillway_shared::listen;
use spillway_shared::logs::LineRate;
use spillway_shared::role::{LogLevel, Place};
use spillway_shared::telemetry::Tracer;

pub use open_orders::count as count_open_orders;

use crate::check;
use crate::cli::{Format, Role};
use crate::config::Config;
use crate::exit::Failure;
use crate::logs::{self, LastLines};
use crate::metrics::Registry;

/// How long the admin server waits for running probes at the end.
const ADMIN_DRAIN: Duration = Duration::from_millis(500);

/// What the export of the last spans has of the time that stopping may take: what is left, within these bounds. Who
/// takes no spans holds nothing up.
const FLUSH_AT_LEAST: Duration = Duration::from_millis(250);
const FLUSH_AT_MOST: Duration = Duration::from_secs(3);

/// The ledgers' folder inside the data folder.
pub fn ledgers(data: &Path) -> std::path::PathBuf {
    data.join("ledgers")
}

/// What shows how this process does; one for all its roles.
#[derive(Clone)]
pub struct Instruments {
    pub log_level: LogLevel,
    pub metrics: Registry,
    /// Dropped last, when nothing is left to be said.
    _last_lines: Arc<LastLines>,
}

impl Instruments {
    /// Begins to log and to count.
    ///
    /// # Errors
    /// When the level is none, or this was done before.
    pub fn start(config: &Config, name: &'static str, printed: Format) -> Result<Instruments, Failure> {
        let (log_level, last_lines) = logs::init(&config.log, name, printed)?;
        Ok(Instruments { log_level, metrics: Registry::start(name)?, _last_lines: Arc::new(last_lines) })
    }
}

/// A role that runs in this process.
pub struct Running {
    pub role: Role,
    pub life: Life,
    pub readiness: Option<Readiness>,
    bus: Option<Bus>,
    tracer: Tracer,
    /// What it listens on, by name.
    pub addresses: BTreeMap<String, String>,
}

/// Starts a role. It is ready when its readiness says so.
///
/// # Errors
/// A ledger that cannot be opened, a port that is taken, an address of NATS that makes no sense.
pub async fn start(role: Role, config: &Config, instruments: &Instruments) -> Result<Running, Failure> {
    let life = Life::new(role.name(), Duration::from_secs(config.drain_timeout_s));
    if role == Role::Provider {
        return start_provider(config, life).await;
    }
    let admin = listen::bind(config.admin_of(role)).map_err(|e| Failure::missing(e.to_string()))?;
    let bus = Bus::connect(&config.nats, role.name()).await.map_err(|e| Failure::missing(e.to_string()))?;
    let mut place =
        Place::new(config.partitions, ledgers(&config.data), bus.clone(), Arc::new(SystemClock), life.clone());
    place.log_level = Some(instruments.log_level.clone());
    place.lines = Arc::new(LineRate::new(role.name(), config.log.max_lines_per_second));
    life.steady(Stage::Tell, "log lines", place.lines.clone().tell(life.stop(Stage::Tell)));
    place.tracer = Tracer::start(role.name(), &config.telemetry).map_err(|error| Failure::usage(error.to_string()))?;
    place.limits.gather = Duration::from_millis(config.gather_ms);
    let mut addresses = roles::open(role, config, &place).await?;
    if role != Role::Gateway {
        place.check(place.jetstream_check());
    }
    if role == Role::Audit && config.check.every_s > 0 {
        // Among the first to stop: a system that drains is not looked at.
        let checks = check::keep(config.clone(), bus.clone(), life.stop(Stage::Doors));
        life.task(Stage::Doors, "check", checks);
    }
    let readiness = place.readiness();
    let admin_addr = admin.local_addr().map_err(|e| Failure::failed(e.to_string()))?;
    addresses.insert("admin".to_owned(), admin_addr.to_string());
    let about = about(role, &addresses, config);
    serve_admin(&life, admin, about, readiness.clone(), instruments.metrics.of(role.name()));
    Ok(Running { role, life, readiness: Some(readiness), bus: Some(bus), tracer: place.tracer, addresses })
}

/// What a role tells of itself.
fn about(role: Role, addresses: &BTreeMap<String, String>, config: &Config) -> About {
    About {
        name: "spillway",
        version: env!("CARGO_PKG_VERSION"),
        role: role.name().to_owned(),
        addresses: addresses.clone(),
        pid: std::process::id(),
        started_at: jiff::Timestamp::now().to_string(),
        config: config.told_by(role),
        boot_id: About::boot_id(),
    }
}

fn serve_admin(life: &Life, listener: tokio::net::TcpListener, about: About, readiness: Readiness, metrics: Metrics) {
    let server = AdminServer::new(listener, about, readiness.clone(), metrics);
    let (leaving, stop) = (life.shutting_down(), life.stop(Stage::Tell));
    life.steady(Stage::Tell, "admin", async move {
        let not_ready = async {
            leaving.cancelled().await;
            readiness.drain();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _drained = server.run(stop.cancelled_owned(), ADMIN_DRAIN) => {}
            () = not_ready => {}
        }
    });
}

async fn start_provider(config: &Config, life: Life) -> Result<Running, Failure> {
    let folder = config.data.join("provider");
    std::fs::create_dir_all(&folder).map_err(|e| Failure::missing(format!("{}: {e}", folder.display())))?;
    let sandbox = Sandbox::bind(config.provider.clone(), &folder).await.map_err(|e| Failure::missing(e.to_string()))?;
    let at = sandbox.addresses();
    let addresses = BTreeMap::from([
        ("provider".to_owned(), format!("http://{}", at.api)),
        ("admin".to_owned(), at.admin.to_string()),
    ]);
    let stop = life.stop(Stage::Doors);
    life.task(Stage::Doors, "provider", sandbox.run(stop.cancelled_owned()));
    Ok(Running { role: Role::Provider, life, readiness: None, bus: None, tracer: Tracer::off(), addresses })
}

impl Running {
    /// Drains it. What ended it by itself is an error.
    pub async fn finish(&self) -> (Drained, Result<(), TaskFailed>) {
        let finished = self.life.finish().await;
        let left = self.life.drain_deadline().saturating_sub(finished.0.took);
        self.tracer.shut_down(left.clamp(FLUSH_AT_LEAST, FLUSH_AT_MOST)).await;
        if let Some(bus) = &self.bus {
            bus.close().await;
        }
        finished
    }

    /// What it waits for now, by the name of the check: what is wrong.
    pub async fn missing(&self) -> Vec<(&'static str, String)> {
        let Some(readiness) = &self.readiness else { return vec![] };
        let checks = readiness.report().await.checks.into_iter();
        checks.filter_map(|check| Some((check.name, check.problem?))).collect()
    }

    /// Waits until it is ready, or gives up and says what is missing.
    ///
    /// # Errors
    /// What is still missing at the end of `patience`.
    pub async fn until_ready(&self, patience: Duration) -> Result<(), Failure> {
        let give_up = tokio::time::Instant::now() + patience;
        loop {
            let missing = self.missing().await;
            if missing.is_empty() {
                return Ok(());
            }
            if self.life.shutting_down().is_cancelled() || tokio::time::Instant::now() >= give_up {
                let missing: Vec<String> = missing.into_iter().map(|(name, why)| format!("{name}: {why}")).collect();
                return Err(Failure::missing(format!("{} is not ready: {}", self.role.name(), missing.join("; "))));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The address of a listener, as `127.0.0.1:port` where it listens on all.
pub fn reachable(addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        return SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, addr.port()));
    }
    addr
}

/// As many files as this user may have open: connections, ledgers, streams.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
