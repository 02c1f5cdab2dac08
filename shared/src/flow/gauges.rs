//! The figures of a ledger as gauges. A scrape reads what this has set, and never the database.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use spillway_proto::pb::ops::LedgerFlow;
use spillway_proto::time::{self, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::ledger::{Ledger, Sample, Service};

/// How often, where reading takes no time to speak of.
const EVERY: Duration = Duration::from_secs(5);

/// Counting the due rows of a long outage takes some 100 ms for each 100,000 on a busy machine: the rest between two
/// readings is so many times as long as the reading took.
const REST: u32 = 20;

/// Sets the gauges of a ledger again and again.
pub(crate) async fn keep<S: Service>(ledger: Ledger<S>, bus: Bus, kinds: Vec<&'static str>, stop: CancellationToken) {
    loop {
        let began = Instant::now();
        let role = ledger.identity().id.ledger.name();
        match super::of(&ledger, bus.is_connected()).await {
            Ok(flow) => set(role, &flow, &kinds, ledger.now()),
            Err(error) => tracing::debug!(%error, "figures cannot be read now"),
        }
        let (service, now) = (ledger.service().clone(), ledger.now());
        match ledger.query(move |tx| service.sample(tx, now)).await {
            Ok(samples) => set_own(role, &ledger.identity().id.partition.to_string(), samples),
            Err(error) => tracing::debug!(%error, "what is this ledger's own cannot be read now"),
        }
        set_disk(role, &ledger.identity().id.partition.to_string(), ledger.folder());
        tokio::select! {
            () = tokio::time::sleep(EVERY.max(began.elapsed() * REST)) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// `kinds` are those of which there may be no due row now.
fn set(role: &'static str, flow: &LedgerFlow, kinds: &[&'static str], now: Timestamp) {
    let own = flow.partition.to_string();
    let age = |since: &Option<prost_types::Timestamp>| {
        let since = since.as_ref().and_then(time::from_wire);
        since.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0))
    };
    for said in &flow.said {
        let labels = [("role", role.to_owned()), ("partition", said.partition.to_string())];
        metrics::gauge!("spillway_outbox_backlog_batches", &labels).set(said.backlog as f64);
        metrics::gauge!("spillway_outbox_oldest_age_seconds", &labels).set(age(&said.oldest_time));
        metrics::gauge!("spillway_head_batches", &labels).set(said.head as f64);
    }
    // Several ledgers of a role may hear the same partition: the last of them is told.
    let mut lags: BTreeMap<(u32, &str), (f64, f64)> = BTreeMap::new();
    for heard in &flow.listeners {
        let (batches, seconds) = lags.entry((heard.heard_partition, &heard.ledger)).or_default();
        (*batches, *seconds) = (batches.max(heard.lag as f64), seconds.max(age(&heard.oldest_time)));
    }
    for ((partition, listener), (batches, seconds)) in lags {
        let labels =
            [("role", role.to_owned()), ("partition", partition.to_string()), ("listener", listener.to_owned())];
        metrics::gauge!("spillway_listener_lag_batches", &labels).set(batches);
        metrics::gauge!("spillway_listener_lag_seconds", &labels).set(seconds);
    }
    for kind in kinds {
        let due = flow.due.iter().find(|due| due.kind == *kind).cloned().unwrap_or_default();
        let labels = [("role", role.to_owned()), ("partition", own.clone()), ("kind", (*kind).to_owned())];
        metrics::gauge!("spillway_due_rows", &labels).set(due.rows as f64);
        metrics::gauge!("spillway_due_oldest_age_seconds", &labels).set(age(&due.oldest_time));
    }
    let labels = [("role", role.to_owned()), ("partition", own)];
    let missing: i64 = flow.missing.iter().map(|missing| missing.batches).sum();
    metrics::gauge!("spillway_inbox_missing_batches", &labels).set(missing as f64);
    metrics::gauge!("spillway_pauses", &labels).set(flow.pauses.len() as f64);
}

fn set_own(role: &'static str, partition: &str, samples: Vec<Sample>) {
    for Sample { name, label, value } in samples {
        let mut labels = vec![("role", role.to_owned()), ("partition", partition.to_owned())];
        labels.extend(label.map(|(name, value)| (name, value.to_owned())));
        metrics::gauge!(name, &labels).set(value);
    }
}

/// Nothing where the disk does not say: 0 would be an alarm.
fn set_disk(role: &'static str, partition: &str, folder: &Path) {
    if let Ok(disk) = rustix::fs::statvfs(folder) {
        let labels = [("role", role.to_owned()), ("partition", partition.to_owned())];
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize) as f64;
        metrics::gauge!("spillway_disk_free_bytes", &labels).set(bytes(disk.f_bavail));
        metrics::gauge!("spillway_disk_size_bytes", &labels).set(bytes(disk.f_blocks));
    }
}
