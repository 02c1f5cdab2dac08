//! A child that is ended by its own id, and never outlives its test.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::PATIENCE;

/// The kernel takes no longer to end what is killed.
pub const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How a process ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// `None` where a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The last line that it printed; null where there was none.
    pub last: Value,
}

pub struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Its standard error.
    log: PathBuf,
}

impl Drop for Process {
    /// What it writes to is removed by whoever made it: not before it is gone.
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.start_kill());
        let end = Instant::now() + GONE_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::yield_now();
        }
    }
}

fn command(program: &Path, arguments: &[impl AsRef<std::ffi::OsStr>], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    // What a developer has set must not steer the tests.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if (text.starts_with("SPILLWAY_") && name != "SPILLWAY_CACHE") || text.starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command
}

impl Process {
    pub async fn start(program: &Path, arguments: &[String], folder: &Path) -> Process {
        Process::start_in(program, arguments, folder, &[]).await
    }

    /// With further environment.
    pub async fn start_in(
        program: &Path,
        arguments: &[String],
        folder: &Path,
        environment: &[(String, String)],
    ) -> Process {
        let path = folder.join("stderr.log");
        let log = std::fs::File::options().create(true).append(true).open(&path);
        let mut child = command(program, arguments, folder)
            .envs(environment.iter().cloned())
            .stderr(Stdio::from(log.expect("a log")))
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Process { child, lines, log: path }
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// The first line, once it is there.
    pub async fn first_line_json(&mut self) -> Value {
        let line =
            timeout(PATIENCE, self.lines.next_line()).await.expect("it says that it is ready").expect("readable");
        let line = line.unwrap_or_else(|| {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            panic!("it ended before it was ready:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"))
        });
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.id()).expect("an id")).expect("an id");
        kill_process(pid, signal).expect("signalled");
    }

    /// Whether it has ended.
    pub fn is_gone(&mut self) -> bool {
        self.child.try_wait().expect("waited").is_some()
    }

    /// Waits until it has ended by itself. Answers whether it went well.
    pub async fn until_ended(&mut self) -> bool {
        self.child.wait().await.expect("waited").success()
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Ended {
        let mut last = Value::Null;
        while let Some(line) = timeout(PATIENCE, self.lines.next_line()).await.expect("it ends").expect("readable") {
            last = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("waited");
        Ended { code: status.code(), signal: std::os::unix::process::ExitStatusExt::signal(&status), last }
    }

    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// SIGTERM; the last line that it prints.
    pub async fn stop(self) -> Value {
        self.signal(Signal::TERM);
        let ended = self.ended().await;
        assert_eq!((ended.code, ended.signal), (Some(0), None), "how it ended");
        ended.last
    }
}

/// Runs a program to its end: exit code, standard output, standard error.
pub async fn output(program: &Path, arguments: &[&str], folder: &Path) -> (i32, String, String) {
    let run = command(program, arguments, folder).stderr(Stdio::piped()).output();
    let done = timeout(PATIENCE, run).await.expect("it ends").expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (done.status.code().expect("not killed"), text(done.stdout), text(done.stderr))
}
