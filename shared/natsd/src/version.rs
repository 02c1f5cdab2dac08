//! What version a nats-server binary is.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use crate::command::{self, RunError};

/// The oldest nats-server that Spillway works with.
pub const MINIMUM: Version = Version::new(2, 15, 0);

/// Longest time that `nats-server --version` may take; it takes 20 ms on an idle machine.
const ASK_WITHIN: Duration = Duration::from_secs(20);

/// A released version, or a pre-release of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
    /// As in 2.15.0-RC.1, which comes before 2.15.0.
    pre_release: bool,
}

impl Version {
    pub const fn new(major: u32, minor: u32, patch: u32) -> Version {
        Version { major, minor, patch, pre_release: false }
    }

    /// Whether this version is `minimum` or newer; a pre-release of `minimum` itself is older.
    pub fn is_at_least(&self, minimum: Version) -> bool {
        let rank = |v: &Version| (v.major, v.minor, v.patch, !v.pre_release);
        rank(self) >= rank(&minimum)
    }

    /// Reads what `nats-server --version` prints: `nats-server: v2.15.1`.
    pub fn parse(printed: &str) -> Option<Version> {
        let text = printed.lines().next()?.strip_prefix("nats-server:")?.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(before_build, _)| before_build);
        let (numbers, pre_release) = match text.split_once('-') {
            Some((numbers, _)) => (numbers, true),
            None => (text, false),
        };
        let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
        let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(Version { major, minor, patch, pre_release })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if self.pre_release { f.write_str(" (a pre-release)") } else { Ok(()) }
    }
}

/// Why a binary is not one to use.
#[derive(Debug, Error)]
pub enum VersionError {
    #[error("it is version {found}, and {MINIMUM} or newer is needed")]
    TooOld { found: Version },
    #[error("it says {printed:?} when asked for its version")]
    NotUnderstood { printed: String },
    #[error("it cannot be asked for its version: {0}")]
    Run(#[from] RunError),
}

/// Asks the binary for its version, and refuses one older than [`MINIMUM`].
pub(crate) async fn of(binary: &Path) -> Result<Version, VersionError> {
    let mut ask = tokio::process::Command::new(binary);
    ask.arg("--version");
    let printed = command::run(ask, ASK_WITHIN).await?;
    let version = Version::parse(&printed)
        .ok_or_else(|| VersionError::NotUnderstood { printed: printed.chars().take(80).collect() })?;
    if version.is_at_least(MINIMUM) { Ok(version) } else { Err(VersionError::TooOld { found: version }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_server_prints_them() {
        let check = |printed: &str, wanted: Option<(u32, u32, u32, bool)>| {
            let found = Version::parse(printed).map(|v| (v.major, v.minor, v.patch, v.pre_release));
            assert_eq!(found, wanted, "{printed:?}");
        };
        check("nats-server: v2.15.1\n", Some((2, 15, 1, false)));
        check("nats-server: v2.15.1", Some((2, 15, 1, false)));
        check("nats-server: 2.15.1\n", Some((2, 15, 1, false)));
        check("nats-server: v2.15.0-RC.1\n", Some((2, 15, 0, true)));
        check("nats-server: v2.15.0-RC.1+x-y\n", Some((2, 15, 0, true)));
        check("nats-server: v2.15.1+debian-1\n", Some((2, 15, 1, false)));
        check("nats-server: v10.0.200\n", Some((10, 0, 200, false)));
        check("", None);
        check("v2.15.1", None);
        check("nats-server: v2.15", None);
        check("nats-server: v2.15.1.7", None);
        check("nats-server: v2.x.1", None);
        check("nats-server: v2.-15.1", None);
        check("usage: something else", None);
    }

    #[test]
    fn a_version_is_compared_by_number_and_a_pre_release_comes_before_its_release() {
        let check = |printed: &str, enough: bool| {
            let version = Version::parse(printed).expect("the version is well formed");
            assert_eq!(version.is_at_least(MINIMUM), enough, "{printed:?}");
        };
        check("nats-server: v2.15.0", true);
        check("nats-server: v2.15.1", true);
        check("nats-server: v2.15.1-RC.2", true);
        check("nats-server: v2.16.0-dev", true);
        check("nats-server: v2.100.0", true);
        check("nats-server: v3.0.0", true);
        check("nats-server: v2.15.0-RC.1", false);
        check("nats-server: v2.14.9", false);
        check("nats-server: v2.9.10", false);
        check("nats-server: v1.99.99", false);
    }
}
