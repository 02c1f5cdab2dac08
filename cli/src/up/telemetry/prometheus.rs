//! Prometheus: scrapes each role, evaluates the rules that the chart installs.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Beside, PROMETHEUS, TelemetryServersConfig, free, make, write};
use crate::exit::Failure;

/// The same files that a chart installs: a chart cannot reach outside itself, this can reach in.
pub const RULES: &[(&str, &str)] = &[
    ("objectives.yaml", include_str!("../../../../helm/files/rules/objectives.yaml")),
    ("alerts.yaml", include_str!("../../../../helm/files/rules/alerts.yaml")),
];

/// As long as the longest window of an objective.
const KEPT: &str = "30d";

/// A Prometheus that runs.
pub struct Prometheus {
    beside: Beside,
    /// `http://127.0.0.1:19090`.
    pub url: String,
}

impl Prometheus {
    /// Starts it, to scrape these admin servers (by role); it answers when this returns.
    ///
    /// # Errors
    /// Exit 3: a taken port with its holder, what it said where it does not start.
    pub async fn start(
        binary: &Path,
        folder: &Path,
        config: &TelemetryServersConfig,
        admin: &BTreeMap<&'static str, String>,
    ) -> Result<Prometheus, Failure> {
        let folder = make(folder.join("prometheus"))?;
        let rules = make(folder.join("rules"))?;
        for (name, text) in RULES {
            write(&rules.join(name), text)?;
        }
        let file = folder.join("prometheus.yml");
        write(&file, &configuration(admin.values().map(String::as_str)))?;
        let at = free(config.prometheus_port, "--prometheus-port")?;
        let mut kept = std::ffi::OsString::from("--storage.tsdb.path=");
        kept.push(folder.join("kept"));
        let mut read = std::ffi::OsString::from("--config.file=");
        read.push(&file);
        let arguments = [
            read,
            kept,
            format!("--storage.tsdb.retention.time={KEPT}").into(),
            format!("--web.listen-address={at}").into(),
            "--log.level=warn".into(),
        ];
        let beside = Beside::start(&PROMETHEUS, binary, &arguments, &folder).await?;
        let prometheus = Prometheus { beside, url: format!("http://{at}") };
        prometheus.beside.until_ready(&format!("{}/-/ready", prometheus.url)).await?;
        prometheus.beside.watch();
        Ok(prometheus)
    }

    pub async fn stop(self) {
        self.beside.stop().await;
    }
}

pub(super) fn configuration<'a>(targets: impl Iterator<Item = &'a str>) -> String {
    let targets: Vec<String> = targets.map(|target| format!("\"{target}\"")).collect();
    format!(
        "# Generated at every start: changes are lost.
global: {{ scrape_interval: 5s, evaluation_interval: 5s }}
rule_files: [\"rules/*.yaml\"]
scrape_configs:
  - job_name: spillway
    static_configs: [{{ targets: [{}] }}]
",
        targets.join(", ")
    )
}
