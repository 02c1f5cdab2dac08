//! A role as a process of its own: this same program, ended by its id.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::exit::Failure;

/// How long a role may take to say where it listens.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// How long a role may take to drain before it is killed.
const STOPS_WITHIN: Duration = Duration::from_secs(40);

pub struct Process {
    child: Child,
    /// What it listens on, by name.
    pub addresses: Value,
}

impl Process {
    /// Starts `spillway` with these arguments, and waits until it says where it listens. What it logs goes to a file.
    ///
    /// # Errors
    /// Exit 1 where it does not start.
    pub async fn start(folder: &Path, name: &str, arguments: &[String]) -> Result<Process, Failure> {
        let failed = |why: String| {
            let log = log_of(folder, name);
            Failure::failed(format!("{name} does not start: {why}; its log is {}", log.display()))
        };
        let log = std::fs::File::options().create(true).append(true).open(log_of(folder, name));
        let log = log.map_err(|error| failed(error.to_string()))?;
        let this = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(this);
        command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::from(log)).env("SPILLWAY_LOG__STREAM", "stderr").kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("it has no standard output".to_owned()))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(STARTS_WITHIN, lines.next_line()).await;
        let line = line.map_err(|_| failed(format!("nothing is heard of it for {} s", STARTS_WITHIN.as_secs())))?;
        let line = line.map_err(|error| failed(error.to_string()))?;
        let line = line.ok_or_else(|| failed("it ended".to_owned()))?;
        // What it prints at its end must find somebody who reads.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let said: Value = serde_json::from_str(&line).map_err(|error| failed(error.to_string()))?;
        Ok(Process { child, addresses: said["addresses"].clone() })
    }

    /// kill -9, and gone.
    pub async fn kill(mut self) -> Result<(), Failure> {
        let killed = self.child.kill().await;
        killed.map_err(|error| Failure::failed(format!("a role cannot be killed: {error}")))
    }

    /// Lets it drain; kills it where that takes too long.
    pub async fn stop(mut self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::TERM)) {
            // It has just ended by itself.
            tracing::debug!(%error, "a role needs no signal");
        }
        if tokio::time::timeout(STOPS_WITHIN, self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }
}

fn log_of(folder: &Path, name: &str) -> std::path::PathBuf {
    folder.join(format!("{name}.log"))
}
