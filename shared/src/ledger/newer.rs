//! Dead letters of a newer kind are handed in again when the build changes: nobody need remember them.

use tokio_util::sync::CancellationToken;

use super::handle::Ledger;
use super::letters;
use super::redrive::RedriveError;
use super::service::Service;

/// Dead letters that are handed in together.
const STRETCH: i64 = 64;

/// What the audit trail says of it.
const REASON: &str = "a newer build knows it";

impl<S: Service> Ledger<S> {
    /// Hands in again what was of a newer kind to another build. Answers how many were handed in. Each is tried once by
    /// a build: one that ends the process is not tried at the next start.
    ///
    /// # Errors
    /// Where the ledger cannot read or write: the next start goes on.
    pub async fn redrive_newer(&self, stop: &CancellationToken) -> Result<usize, RedriveError> {
        let mut tried = 0;
        loop {
            let build = self.shared.identity.build.clone();
            let left = self.query(move |tx| letters::untried(tx, &build, STRETCH)).await?;
            if left.is_empty() || stop.is_cancelled() {
                return Ok(tried);
            }
            let (build, ids) = (self.shared.identity.build.clone(), left.clone());
            self.act(move |tx, _says, _at| letters::note_tried(tx, &build, &ids)).await?;
            tried += left.len();
            let done = self.redrive(left, REASON).await?;
            tracing::info!(ledger = %self.shared.identity.id, count = done.len(),
                "dead letters of a newer kind were handed in again, for this is another build");
        }
    }
}
