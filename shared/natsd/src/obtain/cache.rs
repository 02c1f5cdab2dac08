//! The folder that keeps a fetched binary, and the lock that lets one process at a time fill it.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Machine, ObtainError, Obtained, Origin, usable};

/// A folder that may serve as the cache.
#[derive(Clone, Debug)]
pub(super) struct CacheFolder {
    pub path: PathBuf,
    /// Whether it lies where other users can write too, so that it may be somebody else's.
    pub among_strangers: bool,
}

/// The folders to look in, best first: `$SPILLWAY_CACHE` alone when it is set, else
/// `$XDG_CACHE_HOME/spillway`, `$HOME/.cache/spillway`, and a folder of this user's in the
/// temporary folder for whoever has no home that can be written.
pub(super) fn candidates(
    given: Option<PathBuf>,
    xdg: Option<PathBuf>,
    home: Option<PathBuf>,
    temporary: &Path,
) -> Vec<CacheFolder> {
    let own = |path: PathBuf| CacheFolder { path, among_strangers: false };
    if let Some(given) = given {
        return vec![own(std::path::absolute(&given).unwrap_or(given))];
    }
    // The XDG base directory specification: a relative path is to be ignored.
    let xdg = xdg.filter(|path| path.is_absolute()).map(|path| own(path.join("spillway")));
    let home = home.map(|home| own(home.join(".cache/spillway")));
    let user = rustix::process::geteuid().as_raw();
    let shared = temporary.join(format!("spillway-cache-{user}"));
    let last = CacheFolder { path: shared, among_strangers: true };
    xdg.into_iter().chain(home).chain([last]).collect()
}

/// A usable binary in one of the folders.
pub(super) async fn find(machine: &Machine, say: &(dyn Fn(&str) + Sync)) -> Option<Obtained> {
    for folder in &machine.caches {
        if let Some(found) = find_in(folder, machine, say).await {
            return Some(found);
        }
    }
    None
}

/// A usable binary in this folder.
pub(super) async fn find_in(folder: &CacheFolder, machine: &Machine, say: &(dyn Fn(&str) + Sync)) -> Option<Obtained> {
    let path = folder.path.join(machine.release.file_name());
    if !path.is_file() || folder.is_safe().is_err() {
        return None;
    }
    usable(path, Origin::Cache, say).await
}

/// The first of the folders that can be written, made if need be.
pub(super) fn writable(machine: &Machine) -> Result<CacheFolder, ObtainError> {
    let mut tried = Vec::new();
    for folder in &machine.caches {
        match folder.make_ready() {
            Ok(()) => return Ok(folder.clone()),
            Err(error) => tried.push((folder.path.clone(), error)),
        }
    }
    Err(ObtainError::Cache { tried })
}

impl CacheFolder {
    fn make_ready(&self) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        self.is_safe()?;
        // Only writing proves that it can be written: a root without rights, a read-only mount.
        tempfile::tempfile_in(&self.path).map(drop)
    }

    /// Refuses a folder in a place open to all that another user made or can write: what lies in
    /// it is going to be run.
    fn is_safe(&self) -> io::Result<()> {
        if !self.among_strangers {
            return Ok(());
        }
        let found = std::fs::symlink_metadata(&self.path)?;
        let own = found.uid() == rustix::process::geteuid().as_raw();
        if found.is_dir() && own && found.permissions().mode() & 0o022 == 0 {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not this user's alone"))
    }
}

/// Waits until no other process fetches into the folder. The lock goes with the file returned, and
/// with the process. A file system without locks gives none: the binary is put in place by a
/// rename, so that the worst is a second download.
pub(super) async fn lock(folder: &Path, say: &(dyn Fn(&str) + Sync)) -> io::Result<Option<File>> {
    let file = File::create(folder.join("fetch.lock"))?;
    let mut look_again = tokio::time::interval(Duration::from_millis(100));
    let mut said = false;
    loop {
        look_again.tick().await;
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if said => {}
            Err(TryLockError::WouldBlock) => {
                say("waiting for another process that is fetching nats-server");
                said = true;
            }
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "the cache folder has no locks");
                return Ok(None);
            }
        }
    }
}
