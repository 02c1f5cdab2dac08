//! Where a role runs: its bus, its folder, its life; and what must be there before it is ready.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use spillway_proto::LedgerId;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::{Check, Readiness};
use crate::bus::{self, Bus, Routes};
use crate::flow;
use crate::ledger::{Clock, LINES_PER_SECOND, Ledger, LedgerSpec, Limits, Migration, Numbering, OpenError, Service};
use crate::lifecycle::{Life, Stage};
use crate::logs::LineRate;
use crate::telemetry::Tracer;

/// The setting that changes what is logged, in every role.
pub const LOG_LEVEL: &str = "log.level";

/// Whether text is a level of the log.
///
/// # Errors
/// What is wrong with it.
pub fn check_log_level(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // A bare word is a level. The filter would take any other for a module, and turn everything else off.
    let bare = text.split(',').map(str::trim).find(|part| !part.contains('=') && !LEVELS.contains(part));
    if bare.is_some() {
        return Err(format!("a level is one of {}, or MODULE=LEVEL; several with commas", LEVELS.join(", ")));
    }
    tracing_subscriber::EnvFilter::try_new(text).map(|_| ()).map_err(|_bad| "no such level".to_owned())
}

/// Puts a level of the log in force for this process; `None` is the configured one.
pub type LogLevel = Arc<dyn Fn(Option<&str>) + Send + Sync>;

/// What a role is given.
#[derive(Clone)]
pub struct Place {
    /// How many partitions there are.
    pub partitions: u16,
    /// The folder of its ledgers.
    pub folder: PathBuf,
    pub bus: Bus,
    pub clock: Arc<dyn Clock>,
    pub life: Life,
    /// The bounds of its ledgers.
    pub limits: Limits,
    /// Where its process can change the level of its log while it runs.
    pub log_level: Option<LogLevel>,
    /// Bounds the lines that its ledgers log about events.
    pub lines: Arc<LineRate>,
    /// Where the spans of the role go.
    pub tracer: Tracer,
    checks: Arc<Mutex<Vec<Check>>>,
}

/// A role does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Ledger(#[from] OpenError),
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl Place {
    pub fn new(partitions: u16, folder: impl Into<PathBuf>, bus: Bus, clock: Arc<dyn Clock>, life: Life) -> Self {
        let lines = Arc::new(LineRate::new(bus.role(), LINES_PER_SECOND));
        Place {
            partitions,
            folder: folder.into(),
            bus,
            clock,
            life,
            limits: Limits::default(),
            log_level: None,
            lines,
            tracer: Tracer::off(),
            checks: Arc::default(),
        }
    }

    /// Opens a ledger in this place.
    pub fn open<S: Service>(
        &self,
        id: LedgerId,
        numbering: Numbering,
        migrations: &'static [Migration],
        service: S,
        due_kinds: &[&'static str],
    ) -> Result<Ledger<S>, OpenError> {
        let mut spec = LedgerSpec::new(id, self.partitions, &self.folder, migrations);
        spec.numbering = numbering;
        spec.clock = self.clock.clone();
        spec.limits = self.limits;
        spec.lines = self.lines.clone();
        spec.tracer = self.tracer.clone();
        Ledger::open(spec, service, due_kinds)
    }

    /// Puts a ledger on the bus, and what it needs among the checks of readiness.
    pub fn attach<S: Service>(&self, ledger: &Ledger<S>, routes: Routes) {
        let answering = ledger.clone();
        self.check(Check::asked("ledger", move || {
            let ledger = answering.clone();
            async move { ledger.is_ready().await.map_err(|e| e.to_string()) }
        }));
        let routes = routes.and(flow::routes(ledger, &self.bus));
        // Who hears nobody needs nobody: what it says waits in its outbox.
        let is_alone = ledger.identity().id.ledger.hears().is_empty();
        for (name, state) in bus::attach(&self.life, &self.bus, ledger, routes) {
            let check = Check::watched(name, state);
            self.check(if is_alone { check.only_told() } else { check });
        }
        let stop = self.life.stop(Stage::Tell);
        let gauges = flow::keep(ledger.clone(), self.bus.clone(), ledger.due_kinds(), stop);
        self.life.steady(Stage::Tell, format!("{} gauges", ledger.identity().id), gauges);
        if self.tracer.is_on() {
            let raised = bus::raised::tell(self.tracer.clone(), self.bus.clone(), self.life.stop(Stage::Tell));
            self.life.steady(Stage::Tell, format!("{} raised traces", ledger.identity().id), raised);
        }
        if let Some(level) = self.log_level.clone() {
            let follow = follow_log_level(ledger.settings(), level, self.life.stop(Stage::Tell));
            self.life.steady(Stage::Tell, format!("{} log level", ledger.identity().id), follow);
        }
    }

    /// Adds a check of readiness.
    pub fn check(&self, check: Check) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push(check);
    }

    /// Whether NATS is connected and its JetStream answers. Not needed by the gateway, which accepts without it.
    pub fn jetstream_check(&self) -> Check {
        let (connected, state) = (self.bus.connected(), self.bus.jetstream());
        Check::asked("jetstream", move || {
            let is_connected = *connected.borrow();
            let answer = if is_connected {
                state.borrow().problem().map_or(Ok(()), |why| Err(why.to_owned()))
            } else {
                Err("not connected to nats".to_owned())
            };
            std::future::ready(answer)
        })
    }

    /// All checks so far; the role is ready when all that are needed answer yes.
    pub fn readiness(&self) -> Readiness {
        Readiness::new(std::mem::take(&mut *self.checks.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Keeps the level of the log as the ledger has it.
async fn follow_log_level(
    mut settings: watch::Receiver<Arc<BTreeMap<String, String>>>,
    level: LogLevel,
    stop: CancellationToken,
) {
    let mut in_force: Option<String> = None;
    loop {
        let wanted = settings.borrow_and_update().get(LOG_LEVEL).cloned();
        if wanted != in_force {
            level(wanted.as_deref());
            in_force = wanted;
        }
        tokio::select! {
            changed = settings.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}
