//! The role: a ledger for each partition, and workers that ask the provider.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use spillway_proto::{Ledger as Role, LedgerId};
use spillway_shared::ledger::{Ledger, Numbering};
use spillway_shared::lifecycle::Stage;
use spillway_shared::role::{Place, StartError};
use tokio::sync::watch;

use crate::breaker::Breaker;
use crate::config::PaymentsConfig;
use crate::deferral;
use crate::desk::Desk;
use crate::gate::{DrainRate, Gate};
use crate::provider::HttpProvider;
use crate::service::{DUE_KINDS, Payments};
use crate::store::{self, MIGRATIONS};
use crate::worker::Worker;

/// The operator's setting: calls a second at most while a backlog is worked off.
const DRAIN_RATE: &str = "payments.drain_rate";

/// Opens the ledgers, puts them on the bus and starts the workers.
///
/// # Errors
/// A ledger that cannot be opened, a provider that cannot be spoken to as configured.
pub async fn run(config: PaymentsConfig, place: Place) -> Result<(), StartError> {
    let workers = config.workers.get();
    let provider =
        HttpProvider::new(&config.provider, workers).map_err(|error| StartError::Config(error.to_string()))?;
    let provider = Arc::new(provider);
    let worker = Worker::new(provider.clone(), config.call_timeout(), place.clock.clone(), place.tracer.clone());
    let mut ledgers = Vec::new();
    for id in LedgerId::all(Role::Payments, place.partitions) {
        let service = Payments::new(config.policy());
        ledgers.push(place.open(id, Numbering::InCommit, MIGRATIONS, service, DUE_KINDS)?);
    }
    let gate = gate(&config, &place, &ledgers).await?;
    let share = workers.div_ceil(ledgers.len().max(1));
    for ledger in ledgers {
        let desk = Desk::new(ledger.clone(), provider.clone(), gate.clone(), config.call_timeout());
        place.attach(&ledger, desk.routes());
        work_off(&place, &ledger, share, &worker, &gate);
        let name = format!("{} outages", ledger.identity().id.name());
        let telling = deferral::tell_of_outages(ledger, gate.clone(), place.life.stop(Stage::Work));
        place.life.steady(Stage::Work, name, telling);
    }
    Ok(())
}

/// The gate before the provider. An outage that was not over when the ledgers were last open goes on.
async fn gate(config: &PaymentsConfig, place: &Place, ledgers: &[Ledger<Payments>]) -> Result<Gate, StartError> {
    let mut outage = None;
    for ledger in ledgers {
        let open = ledger.query(store::open_outage).await.map_err(|error| StartError::Other(Box::new(error)))?;
        outage = [outage, open].into_iter().flatten().min();
    }
    let (failures, open_for) = (config.breaker.failures.get(), Duration::from_millis(config.breaker.open_ms));
    let breaker = match outage {
        None => Breaker::new(failures, open_for),
        Some(_since) => Breaker::suspicious(failures, open_for),
    };
    Ok(Gate::new(breaker, drain_rate(config, place, ledgers), place.clock.clone(), outage))
}

/// The operator's bound: as it was set while running, else as configured. The ledgers are set together, and the first of
/// them is followed.
fn drain_rate(config: &PaymentsConfig, place: &Place, ledgers: &[Ledger<Payments>]) -> DrainRate {
    let configured = bound(config.drain_rate);
    let Some(mut settings) = ledgers.first().map(Ledger::settings) else {
        return watch::Sender::new(configured).subscribe();
    };
    let chosen = move |settings: &BTreeMap<String, String>| match settings.get(DRAIN_RATE).map(|text| text.parse()) {
        Some(Ok(rate)) => bound(rate),
        Some(Err(_)) | None => configured,
    };
    let rate = watch::Sender::new(chosen(&settings.borrow_and_update()));
    let (told, stop) = (rate.subscribe(), place.life.stop(Stage::Work));
    place.life.steady(Stage::Work, "payments drain rate", async move {
        let follow = async {
            while settings.changed().await.is_ok() {
                rate.send_replace(chosen(&settings.borrow_and_update()));
            }
        };
        tokio::select! {
            () = follow => {}
            () = stop.cancelled() => {}
        }
    });
    told
}

/// 0 is no bound.
fn bound(per_second: u32) -> Option<f64> {
    (per_second > 0).then(|| f64::from(per_second))
}

fn work_off(place: &Place, ledger: &Ledger<Payments>, workers: usize, worker: &Worker<HttpProvider>, gate: &Gate) {
    // Refunds are few and wait for nobody: they have hands of their own.
    for (kind, flow, hands) in [("charge", "payments", workers), ("refund", "refunds", workers.div_ceil(8))] {
        let (ledger, worker, stop, lane) = (ledger.clone(), worker.clone(), place.life.stop(Stage::Work), gate.lane());
        let name = format!("{} {kind}", ledger.identity().id.name());
        place.life.steady(Stage::Work, name, async move {
            let work = move |due, wait, permit| worker.clone().work(due, wait, permit);
            ledger.work_off_through((kind, flow), hands, stop, lane, work).await;
        });
    }
}
