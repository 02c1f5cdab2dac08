//! The processes of a benchmark: each its own, so that its processor time can be told apart.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use spillway_natsd::Running;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::proc::Usage;
use crate::exit::Failure;
use crate::http;
use crate::load::LoadReport;
use crate::system::nats::{self, NatsServerConfig};

/// How long a process may take to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that a measurement runs on.
pub struct Stage {
    pub folder: PathBuf,
    pub nats: Running,
    provider: Child,
    system: Child,
    pub grpc: String,
    admin: String,
    /// Of all roles.
    admins: Vec<String>,
}

/// Processor time and memory of every process of a stage.
#[derive(Clone, Copy, Debug)]
pub struct Readings {
    pub spillway: Usage,
    pub nats: Usage,
    pub provider: Usage,
}

impl Stage {
    /// Starts nats-server, provider and all roles.
    pub async fn start(folder: &Path, nats_config: &NatsServerConfig) -> Result<Self, Failure> {
        Stage::start_under(folder, nats_config, &[]).await
    }

    /// The roles with further environment.
    pub async fn start_under(
        folder: &Path,
        nats_config: &NatsServerConfig,
        environment: &[(String, String)],
    ) -> Result<Self, Failure> {
        let binary = nats::obtain(None, true).await?;
        let nats = nats::start(binary, &folder.join("nats"), nats_config, None).await?;
        let data = folder.join("data");
        let data_text = data.display().to_string();
        let any = "127.0.0.1:0";
        let (provider, said) = spawn(
            folder,
            &["run", "provider", "--output", "json", "--data", &data_text, "--listen", any, "--admin", any],
            &[],
        )
        .await?;
        let provider_url = text(&said["addresses"]["provider"])?;
        let (system, said) = spawn(
            folder,
            &[
                "up",
                "--output",
                "json",
                "--data",
                &data_text,
                "--nats-url",
                &nats.client_url(),
                "--provider-url",
                &provider_url,
                "--grpc-port",
                "0",
                "--ops-port",
                "0",
                "--admin-port",
                "0",
            ],
            environment,
        )
        .await?;
        let grpc = format!("http://{}", text(&said["grpc"])?);
        let admin = text(&said["admin"]["gateway"])?;
        let admins = said["admin"].as_object().into_iter().flat_map(|all| all.values());
        let admins = admins.filter_map(|at| at.as_str().map(str::to_owned)).collect();
        Ok(Stage { folder: folder.to_owned(), nats, provider, system, grpc, admin, admins })
    }

    /// The figures of the gateway and of the process, as text.
    pub async fn figures(&self) -> Result<String, Failure> {
        let text = http::get(&format!("http://{}/metrics", self.admin)).await;
        text.map(|(_, text)| text).map_err(|why| Failure::failed(format!("no figures: {why}")))
    }

    /// Reads the metrics of every role, as Prometheus does.
    pub async fn scrape_all(&self) -> Result<(), Failure> {
        for admin in &self.admins {
            let read = http::get(&format!("http://{admin}/metrics")).await;
            read.map_err(|why| Failure::failed(format!("no figures: {why}")))?;
        }
        Ok(())
    }

    pub fn read(&self) -> Result<Readings, Failure> {
        let of = |child: &Child| child.id().ok_or_else(|| Failure::failed("a process of the benchmark has ended"));
        Ok(Readings {
            spillway: Usage::of(of(&self.system)?)?,
            nats: Usage::of(self.nats.pid())?,
            provider: Usage::of(of(&self.provider)?)?,
        })
    }

    /// Runs a load as a process of its own. Answers its report and its processor time.
    pub async fn load(&self, arguments: &[&str]) -> Result<(LoadReport, Usage), Failure> {
        let mut all = vec!["--address", &self.grpc, "load", "--output", "json"];
        let url = self.nats.client_url();
        all.extend(["--nats-url", &url]);
        all.extend(arguments);
        let before = Usage::of_children();
        let output = command(&self.folder, &all)?
            .stderr(Stdio::inherit())
            .output()
            .await
            .map_err(|e| Failure::failed(format!("load does not run: {e}")))?;
        let used = Usage::of_children().since(&before);
        if !output.status.success() {
            return Err(Failure::failed(format!("load ended with {}", output.status)));
        }
        let report = serde_json::from_slice(&output.stdout)
            .map_err(|e| Failure::failed(format!("the report of load cannot be read: {e}")))?;
        Ok((report, used))
    }

    /// Ends all processes.
    pub async fn stop(mut self) -> Result<(), Failure> {
        for child in [&mut self.system, &mut self.provider] {
            let ended = async {
                if let Some(pid) =
                    child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
                {
                    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
                }
                tokio::time::timeout(PATIENCE, child.wait()).await??;
                Ok::<(), Box<dyn std::error::Error>>(())
            };
            ended.await.map_err(|e| Failure::failed(format!("a process of the benchmark does not end: {e}")))?;
        }
        self.nats.stop().await;
        Ok(())
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Result<Command, Failure> {
    let this = std::env::current_exe().map_err(|e| Failure::failed(format!("which program this is: {e}")))?;
    let mut command = Command::new(this);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command.env("SPILLWAY_LOG__LEVEL", "warn").env("SPILLWAY_LOG__STREAM", "stderr");
    Ok(command)
}

/// Starts a process and waits for the line of JSON that says that it is ready.
async fn spawn(folder: &Path, arguments: &[&str], environment: &[(String, String)]) -> Result<(Child, Value), Failure> {
    let failed = |why: String| Failure::failed(format!("{}: {why}", arguments[..2].join(" ")));
    let mut command = command(folder, arguments)?;
    // What it logs goes to a file, as it would in a container.
    let log = std::fs::File::options().create(true).append(true).open(folder.join("stderr.log"));
    command.envs(environment.iter().cloned()).stderr(log.map_err(|e| failed(e.to_string()))?);
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    let stdout = child.stdout.take().ok_or_else(|| failed("no standard output".to_owned()))?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line())
        .await
        .map_err(|_| failed(format!("not ready within {} s", PATIENCE.as_secs())))?
        .map_err(|e| failed(e.to_string()))?
        .ok_or_else(|| failed("ended before it was ready".to_owned()))?;
    // What it prints at its end must find somebody who reads.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let said = serde_json::from_str(&line).map_err(|e| failed(e.to_string()))?;
    Ok((child, said))
}

fn text(value: &Value) -> Result<String, Failure> {
    value.as_str().map(str::to_owned).ok_or_else(|| Failure::failed(format!("no address in {value}")))
}
