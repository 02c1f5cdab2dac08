//! Starting the role.

use spillway_proto::{Ledger as Source, LedgerId};
use spillway_shared::bus::Routes;
use spillway_shared::ledger::{Ledger, Numbering};
use spillway_shared::role::{Place, StartError};

use crate::service::Inventory;
use crate::store::MIGRATIONS;
use crate::{commands, explain, queries, trace};

/// Opens the one ledger of inventory in its place, and puts it on the bus. What it started ends with the place's life.
pub async fn run(place: Place) -> Result<(), StartError> {
    for id in LedgerId::all(Source::Inventory, place.partitions) {
        let ledger = place.open(id, Numbering::InCommit, MIGRATIONS, Inventory, &[])?;
        place.attach(&ledger, routes(&ledger));
    }
    Ok(())
}

/// What inventory answers.
fn routes(ledger: &Ledger<Inventory>) -> Routes {
    let (adjust, get, list, of_explain) = (ledger.clone(), ledger.clone(), ledger.clone(), ledger.clone());
    let of_trace = ledger.clone();
    Routes::new()
        .on("adjust_stock", move |call| commands::adjust_stock(adjust.clone(), call))
        .on("get_stock", move |call| queries::get_stock(get.clone(), call))
        .on("list_stock", move |call| queries::list_stock(list.clone(), call))
        .on("explain", move |call| explain::explain(of_explain.clone(), call))
        .on("trace", move |call| trace::trace(of_trace.clone(), call))
}
