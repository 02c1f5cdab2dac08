//! With Go: `go install` of the pinned version. Go's checksum database vouches for the source.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::{FetchProblem, Machine};
use crate::command;

/// Longest time to download and build; a cold build takes one to two minutes on two cores.
const BUILD_WITHIN: Duration = Duration::from_secs(900);

/// What a user's environment may hold that changes what is built, or stops it: another target
/// (`go install` refuses GOBIN with one), flags, a workspace.
const NOT_INHERITED: [&str; 8] =
    ["GOFLAGS", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GOTOOLDIR", "GO111MODULE"];

/// Builds the binary, inside `work`.
pub(super) async fn install(go: &Path, machine: &Machine, work: &Path) -> Result<PathBuf, FetchProblem> {
    let folder = work.join("bin");
    let mut install = super::command(machine, go, work);
    for name in NOT_INHERITED {
        install.env_remove(name);
    }
    // Without cgo it needs no C compiler, and the binary is static.
    install.env("GOBIN", &folder).env("GOWORK", "off").env("CGO_ENABLED", "0");
    if !machine.home_usable {
        // Go's caches are below the home folder; without one they last as long as this build.
        install.env("GOPATH", work.join("path")).env("GOCACHE", work.join("build"));
    }
    // The module cache is read-only by default, which the removal of `work` would stumble over.
    install.args(["install", "-modcacherw"]).arg(machine.release.go_target());
    command::run(install, BUILD_WITHIN).await?;
    Ok(folder.join("nats-server"))
}
