//! A disk that fails: a library of C that is preloaded into a role, and does what a flag says to the files of its ledger.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::System;
use super::roles::Roles;

/// What happens to the files of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing can be written: no space is left.
    Full,
    /// Nothing can be forced to the disk.
    SyncFails,
    /// Nothing can be written: the disk answers with an error.
    WriteFails,
}

/// The compiled library, gone when it is dropped.
pub struct Shim {
    folder: TempDir,
}

impl Shim {
    pub fn compile() -> Shim {
        let folder = tempfile::Builder::new().prefix("spillway-shim-").tempdir().expect("a folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/support/fault/shim.c");
        // A C compiler is there: SQLite was built with it.
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&folder.path().join("shim.so"), &source])
            .arg("-ldl")
            .status();
        assert!(compiled.expect("cc runs").success(), "the shim does not compile");
        Shim { folder }
    }

    /// What makes the ledger of a role breakable. A role's files begin with its name.
    pub fn environment(&self, system: &System, role: &str) -> Vec<(String, String)> {
        environment(self.folder.path(), system, role)
    }

    /// Every role with a disk of its own that can fail.
    pub async fn roles(&self, more: &[&str]) -> Roles {
        let folder = self.folder.path().to_owned();
        Roles::start_under(more, move |system, role| environment(&folder, system, role)).await
    }

    /// From now on, until [`Shim::heal`].
    pub fn fail(&self, role: &str, fault: Fault) {
        let what = match fault {
            Fault::Full => "ENOSPC",
            Fault::SyncFails => "EIO",
            Fault::WriteFails => "EWRITE",
        };
        // In one step: a flag is never half written.
        let new = self.folder.path().join(format!("{role}.new"));
        std::fs::write(&new, what).expect("written");
        std::fs::rename(new, flag(self.folder.path(), role)).expect("in place");
    }

    pub fn heal(&self, role: &str) {
        std::fs::remove_file(flag(self.folder.path(), role)).expect("it was broken");
    }
}

fn flag(folder: &Path, role: &str) -> PathBuf {
    folder.join(format!("{role}.flag"))
}

fn environment(folder: &Path, system: &System, role: &str) -> Vec<(String, String)> {
    let text = |path: PathBuf| path.display().to_string();
    let home = system.folder().canonicalize().expect("it is there");
    [
        ("LD_PRELOAD", text(folder.join("shim.so"))),
        ("FAULT_PREFIX", text(home.join("data").join("ledgers").join(role))),
        ("FAULT_FLAG", text(flag(folder, role))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}
