//! What the tests of the server share.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for anything that is to happen.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until the condition holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let mut look_again = tokio::time::interval(Duration::from_millis(10));
    let waited = tokio::time::timeout(DEADLINE, async {
        while !condition() {
            look_again.tick().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
}

/// Whether the process is there and more than a zombie.
pub fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim().starts_with(['Z', 'X']))
}

/// The processes whose command line names the folder.
pub fn processes_in(folder: &Path) -> Vec<u32> {
    let folder = folder.as_os_str().as_encoded_bytes();
    let pid = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let processes = std::fs::read_dir("/proc").expect("/proc is there").flatten().filter_map(pid);
    processes
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(folder.len()).any(|part| part == folder) && is_alive(*pid)
        })
        .collect()
}

/// A program in the folder that never listens and does not end when asked. It ends by itself in
/// time: nothing stays when what should end it is broken.
pub fn deaf_program(folder: &Path) -> PathBuf {
    let program = folder.join("deaf");
    // Written by another process: a file that this one has open for writing cannot be run.
    let write = r#"printf '#!/bin/sh\ntrap "" TERM\nexec sleep 60\n' > "$1"; chmod 755 "$1""#;
    let mut shell = std::process::Command::new("/bin/sh");
    let written = shell.args(["-c", write, "sh"]).arg(&program);
    assert!(written.status().expect("/bin/sh is there").success());
    program
}
