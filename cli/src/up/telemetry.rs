//! Prometheus and Jaeger beside `up`, where they are installed: wired to each role, with the rules loaded. They end with
//! this process, in whatever way it ends, and nothing of Spillway depends on them.

mod jaeger;
mod prometheus;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spillway_natsd::{Supervised, on_path, take_output};
use spillway_shared::listen;

use crate::config::Config;
use crate::exit::Failure;
use crate::http;

pub use jaeger::Jaeger;
pub use prometheus::Prometheus;

/// How long a server may take until it answers: Prometheus reads all it has kept first.
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Of what a server printed, so much is told where it does not start.
const TAIL_LINES: usize = 5;

/// The Prometheus and the Jaeger that `up --telemetry` starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryServersConfig {
    /// The port of Prometheus; 0 takes a free one. Never 9090, where another may live.
    pub prometheus_port: u16,
    /// The port where Jaeger shows traces; 0 takes a free one. Never 16686, where another may live.
    pub jaeger_port: u16,
    /// The port where Jaeger takes traces, OTLP over gRPC; 0 takes a free one. Never 4317, where another may live.
    pub otlp_port: u16,
}

impl Default for TelemetryServersConfig {
    fn default() -> Self {
        TelemetryServersConfig { prometheus_port: 19090, jaeger_port: 26686, otlp_port: 14317 }
    }
}

/// A program that is looked for on PATH, and how to get it.
struct Program {
    name: &'static str,
    shows: &'static str,
    install: &'static str,
}

const PROMETHEUS: Program = Program {
    name: "prometheus",
    shows: "metrics and alerts",
    install: "apt-get install prometheus   (or https://prometheus.io/download/)",
};

const JAEGER: Program = Program {
    name: "jaeger",
    shows: "traces",
    install: "https://www.jaegertracing.io/download/ (version 2), the binary `jaeger` somewhere on PATH",
};

/// What there is on PATH.
pub struct Found {
    pub prometheus: Option<PathBuf>,
    pub jaeger: Option<PathBuf>,
}

/// Looks for both.
///
/// # Errors
/// Exit 3 with the lines that install them, where there is neither. Where one is missing, it is told on standard error.
pub fn find() -> Result<Found, Failure> {
    let found = Found { prometheus: on_path(PROMETHEUS.name), jaeger: on_path(JAEGER.name) };
    let missing = [(&PROMETHEUS, &found.prometheus), (&JAEGER, &found.jaeger)];
    let missing: Vec<String> = missing.iter().filter(|(_, at)| at.is_none()).map(|(it, _)| it.missing()).collect();
    if missing.len() == 2 {
        return Err(Failure::missing(format!("--telemetry needs a program that shows it\n{}", missing.join("\n"))));
    }
    missing.iter().for_each(|line| eprintln!("{}", line.trim_start()));
    Ok(found)
}

/// Whether traces have no other place to go to. Where they have, it is told on standard error.
pub fn may_take_traces(config: &Config) -> bool {
    let standard = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    let set = standard.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let elsewhere = set.or((!config.telemetry.otlp_endpoint.is_empty()).then_some("telemetry.otlp_endpoint"));
    if let Some(name) = elsewhere {
        eprintln!("{name} says where traces go: Jaeger is not started");
    }
    elsewhere.is_none()
}

impl Program {
    fn missing(&self) -> String {
        format!("  {} ({}) is not on PATH: {}", self.name, self.shows, self.install)
    }
}

/// A server that runs beside this process.
struct Beside {
    name: &'static str,
    server: Supervised,
    /// Whatever it prints.
    output: PathBuf,
}

impl Beside {
    async fn start(program: &Program, binary: &Path, arguments: &[OsString], folder: &Path) -> Result<Beside, Failure> {
        let name = program.name;
        let failed = |error: std::io::Error| Failure::missing(format!("{name} cannot be started: {error}"));
        let output = folder.join(format!("{name}.out"));
        let file = take_output(&output).await.map_err(failed)?;
        let file = file.ok_or_else(|| Failure::missing(format!("another {name} is using {}", folder.display())))?;
        let server = Supervised::spawn(binary, arguments, file).await.map_err(failed)?;
        Ok(Beside { name, server, output })
    }

    /// Waits until it answers OK there.
    async fn until_ready(&self, url: &str) -> Result<(), Failure> {
        let mut every = tokio::time::interval(LOOK_EVERY);
        let ready = async {
            loop {
                every.tick().await;
                if matches!(http::get(url).await, Ok((200, _))) {
                    return;
                }
            }
        };
        tokio::select! {
            () = ready => Ok(()),
            exit = self.server.exited() => Err(self.sick(&format!("it {exit}"))),
            () = tokio::time::sleep(READY_WITHIN) => Err(self.sick("it does not answer")),
        }
    }

    fn sick(&self, why: &str) -> Failure {
        let said = std::fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        Failure::missing(format!("{} does not start: {why}\n{tail}", self.name))
    }

    /// Tells where it ends by itself. It is not started again: nothing waits for it.
    fn watch(&self) {
        let (name, exited) = (self.name, self.server.exited());
        tokio::spawn(async move {
            let exit = exited.await;
            tracing::warn!(server = name, %exit, "telemetry server ended");
        });
    }

    async fn stop(self) {
        self.server.end(Signal::TERM).await;
    }
}

/// A folder that is there.
fn make(folder: PathBuf) -> Result<PathBuf, Failure> {
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let made = std::fs::create_dir_all(&folder);
    made.map(|()| folder.clone()).map_err(|e| Failure::missing(format!("cannot make {}: {e}", folder.display())))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|e| Failure::missing(format!("cannot write {}: {e}", path.display())))
}

/// An address on loopback that nobody listens on now.
fn free(port: u16, flag: &str) -> Result<SocketAddr, Failure> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = listen::bind(wanted).map_err(|e| Failure::missing(format!("{e} with {flag}")))?;
    bound.local_addr().map_err(|e| Failure::failed(e.to_string()))
}
