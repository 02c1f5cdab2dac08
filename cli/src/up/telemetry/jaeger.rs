//! Jaeger 2: takes traces by OTLP, keeps them in memory, shows them.

use std::net::SocketAddr;
use std::path::Path;

use super::{Beside, JAEGER, TelemetryServersConfig, free, make, write};
use crate::exit::Failure;

/// Traces that are kept; the oldest go.
const TRACES: u32 = 100_000;

/// A Jaeger that runs.
pub struct Jaeger {
    beside: Beside,
    /// Where it shows traces: `http://127.0.0.1:26686`.
    pub url: String,
    /// Where it takes them, OTLP over gRPC: `http://127.0.0.1:14317`.
    pub otlp: String,
}

impl Jaeger {
    /// Starts it; it answers when this returns.
    ///
    /// # Errors
    /// Exit 3: a taken port with its holder, what it said where it does not start.
    pub async fn start(binary: &Path, folder: &Path, config: &TelemetryServersConfig) -> Result<Jaeger, Failure> {
        let folder = make(folder.join("jaeger"))?;
        let shows = free(config.jaeger_port, "--jaeger-port")?;
        let takes = free(config.otlp_port, "--otlp-port")?;
        let file = folder.join("jaeger.yaml");
        write(&file, &configuration(shows, takes))?;
        let beside = Beside::start(&JAEGER, binary, &["--config".into(), file.into()], &folder).await?;
        let jaeger = Jaeger { beside, url: format!("http://{shows}"), otlp: format!("http://{takes}") };
        jaeger.beside.until_ready(&format!("{}/api/services", jaeger.url)).await?;
        jaeger.beside.watch();
        Ok(jaeger)
    }

    pub async fn stop(self) {
        self.beside.stop().await;
    }
}

/// As https://www.jaegertracing.io/docs/latest/configuration/ has it: an OpenTelemetry Collector with Jaeger's storage.
pub(super) fn configuration(shows: SocketAddr, takes: SocketAddr) -> String {
    format!(
        "# Generated at every start: changes are lost.
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{ receivers: [otlp], processors: [batch], exporters: [jaeger_storage_exporter] }}
  telemetry:
    logs: {{ level: warn }}
    metrics: {{ level: none }}
extensions:
  jaeger_storage:
    backends: {{ kept: {{ memory: {{ max_traces: {TRACES} }} }} }}
  jaeger_query:
    storage: {{ traces: kept }}
    http: {{ endpoint: \"{shows}\" }}
    grpc: {{ endpoint: \"127.0.0.1:0\" }}
receivers:
  otlp: {{ protocols: {{ grpc: {{ endpoint: \"{takes}\" }} }} }}
processors:
  batch: {{ timeout: 200ms }}
exporters:
  jaeger_storage_exporter: {{ trace_storage: kept }}
"
    )
}
