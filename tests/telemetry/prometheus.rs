//! A Prometheus of this test's own, whose rules are evaluated as often and as fast as the test wants.

use std::time::Duration;

use serde_json::Value;
use spillway_natsd::{Supervised, on_path, take_output};
use tempfile::TempDir;

use super::support::ports::free_ports;
use super::support::{PATIENCE, sums};
use super::{rules, until};

pub struct Prometheus {
    url: String,
    // Dropped in this order: the server goes before its folder.
    _server: Supervised,
    _folder: TempDir,
}

impl Prometheus {
    /// Scrapes these every second. All times of the rules are so many times as short as shipped.
    pub async fn start(targets: &[String], faster: u32) -> Prometheus {
        let folder = tempfile::Builder::new().prefix("spillway-prometheus-").tempdir().expect("a folder");
        for (name, text) in rules::files() {
            std::fs::write(folder.path().join(name), rules::sped_up(&text, faster)).expect("written");
        }
        write_configuration(&folder, targets);
        let binary = on_path("prometheus").expect("tests/telemetry/run says how to install prometheus");
        let [port] = free_ports();
        let at = format!("127.0.0.1:{port}");
        let arguments = [
            format!("--config.file={}", folder.path().join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", folder.path().join("kept").display()),
            format!("--web.listen-address={at}"),
            "--log.level=warn".to_owned(),
        ];
        let output = take_output(&folder.path().join("out")).await.expect("a file").expect("nobody else's");
        let server = Supervised::spawn(&binary, &arguments.map(Into::into), output).await.expect("it starts");
        let prometheus = Prometheus { url: format!("http://{at}"), _server: server, _folder: folder };
        until("prometheus is ready", async || {
            std::net::TcpStream::connect(&at).ok()?;
            (sums::get(&format!("{}/-/ready", prometheus.url)).await.0 == 200).then_some(())
        })
        .await;
        prometheus
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = sums::get(&format!("{}{path}", self.url)).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The samples that a query has now.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}")).await;
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {answer}")).clone()
    }

    pub async fn until_data(&self, query: &str) {
        until(query, async || (!self.query(query).await.is_empty()).then_some(())).await;
    }

    /// The labels of the alerts that fire now, as Prometheus tells them to an Alertmanager.
    pub async fn firing(&self) -> Vec<Value> {
        let answer = self.get("/api/v1/alerts").await;
        let alerts = answer["data"]["alerts"].as_array().expect("alerts").clone();
        alerts.into_iter().filter(|alert| alert["state"] == "firing").map(|alert| alert["labels"].clone()).collect()
    }

    pub async fn fires(&self, alert: &str, labels: &[(&str, &str)]) -> bool {
        let is_it =
            |fired: &Value| fired["alertname"] == alert && labels.iter().all(|(name, value)| fired[*name] == *value);
        self.firing().await.iter().any(is_it)
    }

    /// Waits until an alert with these labels fires. Answers how long that took.
    pub async fn until_fires(&self, alert: &str, labels: &[(&str, &str)]) {
        let began = std::time::Instant::now();
        self.within(PATIENCE * 4, &format!("{alert} fires"), async || self.fires(alert, labels).await).await;
        eprintln!("{alert} {labels:?} fires after {:.0} s", began.elapsed().as_secs_f32());
    }

    pub async fn until_silent(&self, alert: &str, labels: &[(&str, &str)]) {
        self.within(PATIENCE, &format!("{alert} is silent"), async || !self.fires(alert, labels).await).await;
    }

    async fn within(&self, limit: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let mut every = tokio::time::interval(Duration::from_millis(500));
        let looked = async {
            while !is_so().await {
                every.tick().await;
            }
        };
        if tokio::time::timeout(limit, looked).await.is_err() {
            panic!("never: {what}; firing: {:#?}", self.firing().await);
        }
    }
}

fn write_configuration(folder: &TempDir, targets: &[String]) {
    let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    let text = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}
rule_files: [\"*.yaml\"]
scrape_configs:
  - job_name: spillway
    static_configs: [{{ targets: [{}] }}]
",
        targets.join(", ")
    );
    std::fs::write(folder.path().join("prometheus.yml"), text).expect("written");
}

/// The command lines of all processes that name this.
pub fn processes_of(text: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").expect("Linux").flatten();
    let commands = all.filter_map(|entry| {
        let is_number = entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        let command = std::fs::read(entry.path().join("cmdline")).ok().filter(|_| is_number)?;
        Some(String::from_utf8_lossy(&command).replace('\0', " "))
    });
    commands.filter(|command| command.contains(text)).collect()
}
