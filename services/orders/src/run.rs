//! Starting the role.

use prost::Message as _;
use spillway_proto::pb::internal::ChangedOrders;
use spillway_proto::{Ledger as Source, LedgerId, ledgers};
use spillway_shared::bus::{Bus, Routes};
use spillway_shared::ledger::{Ledger, Numbering};
use spillway_shared::lifecycle::Stage;
use spillway_shared::role::{Place, StartError};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::config::OrdersConfig;
use crate::service::Orders;
use crate::store::MIGRATIONS;
use crate::{explain, queries, traces};

/// Opens the ledger of each partition in its place, and puts it on the bus. What it started ends with the place's life.
pub async fn run(config: OrdersConfig, place: Place) -> Result<(), StartError> {
    for id in LedgerId::all(Source::Orders, place.partitions) {
        let ledger = place.open(id, Numbering::InCommit, MIGRATIONS, Orders::new(&config), &[])?;
        place.attach(&ledger, routes(&ledger));
        let hints = hint_changed(ledger.clone(), place.bus.clone(), place.life.stop(Stage::Tell));
        place.life.steady(Stage::Tell, format!("{} hints", id.name()), hints);
        let told = traces::tell(ledger.clone(), place.life.stop(Stage::Tell));
        place.life.steady(Stage::Tell, format!("{} traces", id.name()), told);
        let heard = traces::hear_raised(ledger, place.bus.clone(), place.life.stop(Stage::Work));
        place.life.steady(Stage::Work, format!("{} raised traces", id.name()), heard);
    }
    Ok(())
}

/// What orders answers.
fn routes(ledger: &Ledger<Orders>) -> Routes {
    let (of_history, of_list, of_explain) = (ledger.clone(), ledger.clone(), ledger.clone());
    let of_waiting = ledger.clone();
    Routes::new()
        .on("history", move |call| queries::history(of_history.clone(), call))
        .on("oldest_waiting", move |call| queries::oldest_waiting(of_waiting.clone(), call))
        .on("list", move |call| queries::list(of_list.clone(), call))
        .on("explain", move |call| explain::explain(of_explain.clone(), call))
}

/// Tells which orders just changed, so that who watches one asks at once. A lossy hint: who misses it asks a little
/// later all the same.
async fn hint_changed(ledger: Ledger<Orders>, bus: Bus, stop: CancellationToken) {
    let subject = ledgers::changed_subject(ledger.identity().id.partition);
    let mut changed = ledger.changed();
    drop(ledger);
    loop {
        let ids = tokio::select! {
            ids = changed.recv() => ids,
            () = stop.cancelled() => return,
        };
        let ids = match ids {
            Ok(ids) => ids,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if !bus.is_connected() {
            continue;
        }
        let hint = ChangedOrders { order_ids: ids.concat().into() };
        if let Err(error) = bus.client().publish(subject.clone(), hint.encode_to_vec().into()).await {
            tracing::debug!(%error, "a hint was not sent");
        }
    }
}
