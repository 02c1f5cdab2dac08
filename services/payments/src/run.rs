//! The role: a ledger for each partition, and workers that ask the provider.

use std::sync::Arc;
use std::time::Duration;

use spillway_proto::{Ledger as Role, LedgerId};
use spillway_shared::bus::Routes;
use spillway_shared::ledger::{Ledger, Numbering};
use spillway_shared::lifecycle::Stage;
use spillway_shared::role::{Place, StartError};

use crate::breaker::Breaker;
use crate::config::PaymentsConfig;
use crate::provider::HttpProvider;
use crate::service::{DUE_KINDS, Payments};
use crate::store::MIGRATIONS;
use crate::worker::Worker;

/// Opens the ledgers, puts them on the bus and starts the workers.
///
/// # Errors
/// A ledger that cannot be opened, a provider that cannot be spoken to as configured.
pub async fn run(config: PaymentsConfig, place: Place) -> Result<(), StartError> {
    let workers = config.workers.get();
    let provider =
        HttpProvider::new(&config.provider, workers).map_err(|error| StartError::Config(error.to_string()))?;
    let open_for = Duration::from_millis(config.breaker.open_ms);
    let breaker = Breaker::new(config.breaker.failures.get(), open_for);
    let worker = Worker::new(Arc::new(provider), breaker, config.call_timeout(), place.clock.clone());
    let ledgers = LedgerId::all(Role::Payments, place.partitions);
    let share = workers.div_ceil(ledgers.len().max(1));
    for id in ledgers {
        let service = Payments::new(config.policy());
        let ledger = place.open(id, Numbering::InCommit, MIGRATIONS, service, DUE_KINDS)?;
        place.attach(&ledger, Routes::default());
        work_off(&place, &ledger, share, &worker);
    }
    Ok(())
}

fn work_off(place: &Place, ledger: &Ledger<Payments>, workers: usize, worker: &Worker<HttpProvider>) {
    // Refunds are few and wait for nobody: they have hands of their own.
    for (kind, flow, hands) in [("charge", "payments", workers), ("refund", "refunds", workers.div_ceil(8))] {
        let (ledger, worker, stop) = (ledger.clone(), worker.clone(), place.life.stop(Stage::Work));
        let name = format!("{} {kind}", ledger.identity().id.name());
        place.life.steady(Stage::Work, name, async move {
            ledger.work_off(kind, flow, hands, stop, move |due| worker.clone().work(due)).await;
        });
    }
}
