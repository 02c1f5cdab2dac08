//! Watches over the connection of a ledger, and has what was noted around it written down.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::connection::Bus;
use crate::ledger::{IncidentKind, Ledger, Service};

/// What is noted is written down so often at most, where no other commit does it.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Counts reconnects and silences, and shows whether there is a connection now.
pub(super) async fn watch_connection<S: Service>(ledger: Ledger<S>, bus: Bus, stop: CancellationToken) {
    tokio::select! {
        ((), ()) = async { tokio::join!(reconnects(&ledger, &bus), silences(&ledger, &bus)) } => {}
        () = stop.cancelled() => {}
    }
}

async fn reconnects<S: Service>(ledger: &Ledger<S>, bus: &Bus) {
    let id = ledger.identity().id;
    let gauge = metrics::gauge!("spillway_jetstream_connected", "role" => id.ledger.name());
    let mut connected = bus.connected();
    let mut was_connected = false;
    loop {
        let is_connected = *connected.borrow_and_update();
        gauge.set(if is_connected { 1.0 } else { 0.0 });
        if is_connected && was_connected {
            // Not the first time.
            ledger.note(IncidentKind::Reconnected, "nats", id.partition, 1);
        }
        was_connected |= is_connected;
        if connected.changed().await.is_err() {
            return;
        }
    }
}

/// Connected all the while: a server that is stopped, or whose disk fails.
async fn silences<S: Service>(ledger: &Ledger<S>, bus: &Bus) {
    let id = ledger.identity().id;
    let gauge = metrics::gauge!("spillway_jetstream_carries", "role" => id.ledger.name());
    let (mut jetstream, mut was_silent) = (bus.jetstream(), false);
    loop {
        let state = jetstream.borrow_and_update().clone();
        gauge.set(if state.problem().is_some() { 0.0 } else { 1.0 });
        if state.silent.is_some() && !was_silent {
            ledger.note(IncidentKind::JetstreamSilent, "nats", id.partition, 1);
        }
        was_silent = state.silent.is_some();
        if jetstream.changed().await.is_err() {
            return;
        }
    }
}

/// Has incidents written down soon, also in a ledger that rests.
pub(super) async fn write_incidents<S: Service>(ledger: Ledger<S>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = ledger.noted() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = ledger.flush().await {
            tracing::debug!(%error, "incidents are not written down yet");
        }
        tokio::select! {
            () = tokio::time::sleep(WRITE_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}
