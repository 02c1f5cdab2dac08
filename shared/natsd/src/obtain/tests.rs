//! The search and the fetch, on machines made for the test.

mod fetch;
mod search;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

use super::cache::CacheFolder;
use super::{Machine, Obtain, ObtainError, Obtained};
use crate::release::RELEASE;

/// A machine with nothing on PATH and an empty cache, in a temporary folder.
struct Bench {
    folder: TempDir,
    machine: Machine,
    said: Mutex<Vec<String>>,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = CacheFolder { path: folder.path().join("cache"), among_strangers: false };
        let path = OsString::from(folder.path().join("bin"));
        let machine = Machine { path, caches: vec![cache], home_usable: false, release: RELEASE };
        std::fs::create_dir(folder.path().join("bin")).expect("the folder is new");
        Bench { folder, machine, said: Mutex::default() }
    }

    fn cache(&self) -> &Path {
        &self.machine.caches[0].path
    }

    fn cached(&self) -> PathBuf {
        self.cache().join(RELEASE.file_name())
    }

    /// A program on this machine's PATH.
    fn install(&self, name: &str, script: &str) -> PathBuf {
        let path = self.folder.path().join("bin").join(name);
        write_script(&path, script);
        path
    }

    async fn obtain(&self, explicit: Option<&Path>, fetch: bool) -> Result<Obtained, ObtainError> {
        let say = |line: &str| self.said.lock().expect("no test panics here").push(line.to_owned());
        let explicit = explicit.map(Path::to_owned);
        Obtain { explicit, fetch, say: &say }.run_on(&self.machine).await
    }

    fn said(&self) -> String {
        self.said.lock().expect("no test panics here").join("\n")
    }

    /// What lies in the cache folder, sorted.
    fn cache_content(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.cache()) else { return Vec::new() };
        let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.flatten().map(name).collect();
        names.sort();
        names
    }
}

/// Written by another process: one of ours that is being started at this moment would hold the
/// file open for writing, and a file open for writing cannot be run ("text file busy").
fn write_script(path: &Path, script: &str) {
    let mut writer = Command::new("/bin/sh")
        .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("/bin/sh is there");
    let mut input = writer.stdin.take().expect("it is piped");
    write!(input, "#!/bin/sh\n{script}\n").expect("the shell reads");
    drop(input);
    assert!(writer.wait().expect("it ends").success());
}

fn prints(version: &str) -> String {
    format!("echo 'nats-server: {version}'")
}
