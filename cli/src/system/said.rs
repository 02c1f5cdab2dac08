//! What a process that runs on says to who started it. Whoever does not read it holds up nothing: neither a full pipe on
//! standard output nor one on standard error.

use std::io::Write as _;
use std::time::Duration;

use crate::exit::Failure;

/// Whoever reads has read after this long.
const UNREAD: Duration = Duration::from_secs(1);

/// Prints on standard output. What is not read in time is left to itself.
///
/// # Errors
/// Where nobody can read it any more.
pub async fn print(print: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> Result<(), Failure> {
    match tokio::time::timeout(UNREAD, tokio::task::spawn_blocking(print)).await {
        Ok(printed) => printed.unwrap_or_else(|error| Err(Failure::failed(error.to_string()))),
        Err(_elapsed) => {
            tracing::warn!("standard output is not read, going on without");
            Ok(())
        }
    }
}

/// A line on standard error, at once and without waiting for it.
pub fn remark(line: String) {
    tokio::task::spawn_blocking(move || {
        if let Err(closed) = writeln!(std::io::stderr(), "{line}") {
            tracing::debug!(error = %closed, "nobody reads what is remarked");
        }
    });
}
