//! A child that is ended by its own id, and never outlives its test.

use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::PATIENCE;

pub struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn command(program: &Path, arguments: &[impl AsRef<std::ffi::OsStr>], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    // What a developer has set must not steer the tests.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SPILLWAY_") && name != "SPILLWAY_CACHE" {
            command.env_remove(name);
        }
    }
    command
}

impl Process {
    pub async fn start(program: &Path, arguments: &[String], folder: &Path) -> Process {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("stderr.log"));
        let mut child = command(program, arguments, folder)
            .stderr(Stdio::from(log.expect("a log")))
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Process { child, lines }
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// The first line, once it is there.
    pub async fn first_line_json(&mut self) -> Value {
        let line =
            timeout(PATIENCE, self.lines.next_line()).await.expect("it says that it is ready").expect("readable");
        let line = line.unwrap_or_else(|| panic!("it ended before it was ready"));
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// SIGTERM; the last line that it prints.
    pub async fn stop(mut self) -> Value {
        let pid = Pid::from_raw(i32::try_from(self.id()).expect("an id")).expect("an id");
        kill_process(pid, Signal::TERM).expect("signalled");
        let mut last = None;
        while let Some(line) = timeout(PATIENCE, self.lines.next_line()).await.expect("it ends").expect("readable") {
            last = Some(line);
        }
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("waited");
        assert!(status.success(), "it ended with {status}");
        last.map(|line| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"))).unwrap_or_default()
    }
}

/// Runs a program to its end: exit code, standard output, standard error.
pub async fn output(program: &Path, arguments: &[&str], folder: &Path) -> (i32, String, String) {
    let run = command(program, arguments, folder).stderr(Stdio::piped()).output();
    let done = timeout(PATIENCE, run).await.expect("it ends").expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (done.status.code().expect("not killed"), text(done.stdout), text(done.stderr))
}
