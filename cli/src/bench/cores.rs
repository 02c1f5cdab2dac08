//! Which cores this process and its later children run on.

use std::process::Command;

use crate::exit::Failure;

/// Binds all threads of this process to one core; children inherit it.
///
/// # Errors
/// Exit 3 where there is no such core, or no `taskset` (util-linux).
pub fn bind_to(core: usize) -> Result<(), Failure> {
    let own = std::process::id().to_string();
    let bound = Command::new("taskset").args(["-a", "-p", "-c", &core.to_string(), &own]).output();
    match bound {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Failure::missing(format!("cannot run on core {core} alone: {why}")))
        }
        Err(error) => Err(Failure::missing(format!("taskset, of util-linux, is needed to bind to a core: {error}"))),
    }
}
