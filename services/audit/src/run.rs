//! Starting the role.

use spillway_proto::{Ledger as Source, LedgerId};
use spillway_shared::bus::Routes;
use spillway_shared::ledger::{Ledger, LedgerSpec, Limits};
use spillway_shared::role::{Place, StartError};

use crate::queries;
use crate::service::Audit;
use crate::store::MIGRATIONS;

/// Batches of one commit, about. An input of audit is a whole batch, of up to some 256 KiB.
const COMMIT_BATCHES: usize = 128;

/// Opens the audit ledger of every partition in its place, and puts it on the bus. What it started ends with the
/// place's life.
///
/// # Errors
/// Where a ledger cannot be opened.
pub async fn run(place: Place) -> Result<(), StartError> {
    for id in LedgerId::all(Source::Audit, place.partitions) {
        let mut spec = LedgerSpec::new(id, place.partitions, &place.folder, MIGRATIONS);
        spec.clock = place.clock.clone();
        spec.lines = place.lines.clone();
        spec.tracer = place.tracer.clone();
        spec.limits = Limits { commit_inputs: COMMIT_BATCHES, ..place.limits };
        let ledger = Ledger::open(spec, Audit { partition: id.partition }, &[])?;
        place.attach(&ledger, routes(&ledger));
    }
    Ok(())
}

/// What audit answers.
fn routes(ledger: &Ledger<Audit>) -> Routes {
    let (verify, export) = (ledger.clone(), ledger.clone());
    Routes::new()
        .on("verify", move |call| queries::verify(verify.clone(), call))
        .on("export", move |call| queries::export(export.clone(), call))
}
