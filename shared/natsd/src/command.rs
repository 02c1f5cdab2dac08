//! Another program run to its end: bounded in time, with what it said when it failed.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;

/// Why a program did not do what it was started for.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("it does not start: {0}")]
    Start(#[source] std::io::Error),
    #[error("it did not end within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("{status}: {said}")]
    Failed { status: ExitStatus, said: String },
}

/// Most that is kept of a failed program's words, in lines: pip and go put the cause last.
const KEPT_LINES: usize = 6;

/// Runs the program to its end and returns its standard output. One that has not ended `within`
/// the time, or whose caller stops waiting, is killed.
pub(crate) async fn run(mut command: Command, within: Duration) -> Result<String, RunError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(RunError::Start)?;
    let output = tokio::time::timeout(within, child.wait_with_output())
        .await
        .map_err(|_| RunError::TimedOut(within))?
        .map_err(RunError::Start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(RunError::Failed { status: output.status, said: last_lines(&said, KEPT_LINES) })
}

/// The last lines of a text that are not blank.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed_at_its_limit() {
        let within = Duration::from_millis(50);
        let error = run(shell("exec sleep 600"), within).await.expect_err("it does not end");
        assert!(matches!(error, RunError::TimedOut(_)), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_fails_is_quoted_with_its_last_words() {
        let script = "for n in 1 2 3 4 5 6 7 8; do echo line $n >&2; done; exit 9";
        let error = run(shell(script), Duration::from_secs(30)).await.expect_err("it fails");
        let text = error.to_string();
        assert!(text.contains("exit status: 9"), "{text}");
        assert!(text.contains("line 8") && text.contains("line 3"), "{text}");
        assert!(!text.contains("line 2"), "{text}");
    }
}
