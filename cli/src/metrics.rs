//! The metrics of this process. Each role has a recorder of its own, whose text its admin server shows: in `up` as well,
//! where all roles share the process, no series is at two ports.

pub mod catalogue;
mod process;
mod recorders;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use spillway_proto::Ledger;
use spillway_shared::admin;
use spillway_shared::figure::{Kind, Roles, SECONDS};

use crate::exit::Failure;
use process::Process;
use recorders::Recorders;

/// How often samples of histograms are put into their buckets, so that they take no more memory than that, and the
/// process looks at itself.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The name of a process that plays all roles, and the role at whose port it is shown then.
const ALL_ROLES: (&str, &str) = ("up", "gateway");

/// What every role of this process shows.
#[derive(Clone)]
pub struct Registry {
    handles: Arc<BTreeMap<&'static str, PrometheusHandle>>,
    /// The role that shows the process.
    host: &'static str,
    process: Arc<Process>,
}

impl Registry {
    /// Starts recording for the rest of the process: of the role `name`, or of all where it is `up`.
    ///
    /// # Errors
    /// When something records already.
    pub fn start(name: &'static str) -> Result<Registry, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("cannot start metrics: {error}"));
        let (roles, host) = if name == ALL_ROLES.0 {
            (Ledger::ALL.map(Ledger::name).to_vec(), ALL_ROLES.1)
        } else {
            (vec![name], name)
        };
        let mut recorders = BTreeMap::new();
        for role in &roles {
            recorders.insert(*role, recorder().map_err(|error| failed(&error))?);
        }
        let handles = recorders.iter().map(|(role, recorder)| (*role, recorder.handle())).collect();
        let recorders = Recorders { recorders, host, process: name };
        metrics::set_global_recorder(recorders).map_err(|error| failed(&error))?;
        begin(&roles, name);
        let registry = Registry { handles: Arc::new(handles), host, process: Arc::new(Process::new()) };
        tokio::spawn(registry.clone().keep_up());
        Ok(registry)
    }

    /// Writes what a role has counted and measured. It is called at every scrape and reads what is in memory.
    pub fn of(&self, role: &'static str) -> admin::Metrics {
        let registry = self.clone();
        Arc::new(move || {
            if role == registry.host {
                registry.process.read();
            }
            registry.handles.get(role).map(PrometheusHandle::render).unwrap_or_default()
        })
    }

    /// Ends with the runtime.
    async fn keep_up(self) {
        let mut tick = tokio::time::interval(UPKEEP_EVERY);
        loop {
            tick.tick().await;
            self.process.look();
            self.handles.values().for_each(PrometheusHandle::run_upkeep);
        }
    }
}

/// A recorder that has the buckets of the catalogue.
fn recorder() -> Result<PrometheusRecorder, metrics_exporter_prometheus::BuildError> {
    let mut builder = PrometheusBuilder::new().set_buckets(SECONDS)?;
    for figure in catalogue::figures() {
        if let Kind::Histogram(bounds) = figure.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(figure.name.to_owned()), bounds)?;
        }
    }
    Ok(builder.build_recorder())
}

/// Tells the recorders what everything means, and begins what begins with 0.
fn begin(roles: &[&'static str], process: &'static str) {
    for figure in catalogue::figures() {
        figure.describe();
        match figure.roles {
            Roles::Process => figure.begin(process),
            Roles::Ledgers | Roles::Everywhere | Roles::Only(_) => {
                if figure.roles == Roles::Everywhere && !roles.contains(&process) {
                    figure.begin(process);
                }
                roles.iter().filter(|role| figure.roles.has(role)).for_each(|role| figure.begin(role));
            }
        }
    }
    for role in roles.iter().copied().filter(|role| Roles::Ledgers.has(role)) {
        metrics::gauge!("spillway_build_info", "role" => role, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    }
}
