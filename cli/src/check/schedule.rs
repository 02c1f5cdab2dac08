//! The check that a live system makes of itself, again and again, without a history.
//!
//! The first is complete. After a check that found nothing, what is at its end everywhere is put away; the next one
//! reads what was said and done since, and every order that it touches or that was still open.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spillway_proto::time::Timestamp;
use spillway_shared::bus::Bus;
use spillway_shared::logs;
use spillway_shared::priority::Behind;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::gather::Gatherer;
use super::looking::{Looking, PAUSE, Place, Provider};
use super::report::Report;
use super::settle;
use crate::config::Config;
use crate::exit::Failure;

/// The check that the role audit makes again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckConfig {
    /// Seconds from one check to the next; 0 makes none.
    pub every_s: u64,
    /// From this age on, in seconds, an undecided order that waits for nothing is stuck, and what was not heard is
    /// overdue.
    pub stuck_after_s: u64,
}

impl Default for CheckConfig {
    fn default() -> Self {
        CheckConfig { every_s: 300, stuck_after_s: 120 }
    }
}

/// Checks until `stop`, on a thread of its own. What it is in the middle of then is not waited for: nobody needs it.
///
/// # Errors
/// Where there is no such thread, or it ends by itself.
pub async fn keep(config: Config, bus: Bus, stop: CancellationToken) -> std::io::Result<()> {
    let (outcome, ended) = oneshot::channel();
    let checks = logs::as_here(again_and_again(config, bus, stop.clone()));
    std::thread::Builder::new().name("check".to_owned()).spawn(move || drop(outcome.send(behind_all(checks))))?;
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        ended = ended => ended.unwrap_or(Ok(())).and(Err(std::io::Error::other("the thread of the checks ended"))),
    }
}

/// Runs to its end on this thread, which asks for little of a core from now on. The runtime is made here, and goes here: none
/// can be dropped by a task of another.
fn behind_all(checks: impl Future<Output = ()>) -> std::io::Result<()> {
    // It takes as much of a core as what it looks at took.
    Behind::All.stand();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(checks);
    Ok(())
}

/// Checks until `stop`. In between what a check works on is a temporary file.
async fn again_and_again(config: Config, bus: Bus, stop: CancellationToken) {
    let every = Duration::from_secs(config.check.every_s);
    let looking = looking(&config, &bus);
    let mut gatherer = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            checked = once(&mut gatherer, &looking) => tell(checked),
            () = stop.cancelled() => return,
        }
    }
}

fn looking(config: &Config, bus: &Bus) -> Looking {
    Looking {
        place: Place::Asked { bus: Box::new(bus.clone()) },
        partitions: config.partitions,
        provider: Some(Provider::Asked(config.payments.provider.url.clone())),
        // Whoever runs audit need not see the folder, and to list it takes longer with every mail.
        mail: None,
        streams: Some(bus.client().clone()),
        history: None,
        stuck_after: Duration::from_secs(config.check.stuck_after_s),
        rows: 10,
        pause: PAUSE,
    }
}

/// One check. Where something cannot be reached, or breaks off, the next one begins anew.
async fn once(kept: &mut Option<Gatherer>, looking: &Looking) -> Result<Report, Failure> {
    let mut report = Report { place: "over NATS".to_owned(), ..Report::default() };
    let began = std::time::Instant::now();
    let mut gatherer = match kept.take() {
        Some(mut gatherer) => {
            gatherer.next().await.map_err(|e| Failure::failed(e.to_string()))?;
            gatherer
        }
        None => {
            let mut gatherer = Gatherer::new(looking.clone())?;
            gatherer.first().await;
            gatherer
        }
    };
    let found = settle(&mut gatherer, &mut report).await?;
    report.judge(&found, gatherer.looking.rows);
    if gatherer.unread.is_empty() {
        let is_complete = gatherer.unseen.is_empty();
        if is_complete && report.violations() == 0 {
            super::blocking(|| gatherer.put_away()).map_err(|e| Failure::failed(e.to_string()))?;
        }
        let open = gatherer.work.number("select count(*) from orders").unwrap_or(0);
        metrics::gauge!("spillway_check_orders_kept", "role" => "audit").set(open as f64);
        *kept = Some(gatherer);
    }
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

fn tell(checked: Result<Report, Failure>) {
    let outcome = match &checked {
        Ok(report) if !report.unreachable.is_empty() => "incomplete",
        Ok(report) if report.violations() > 0 => "violated",
        Ok(_) => "clean",
        Err(_) => "failed",
    };
    metrics::counter!("spillway_checks_total", "role" => "audit", "outcome" => outcome).increment(1);
    let report = match checked {
        Ok(report) => report,
        Err(failure) => {
            tracing::error!(?failure, "the check broke off");
            return;
        }
    };
    for judged in &report.invariants {
        let Some(count) = judged.violations else { continue };
        metrics::gauge!("spillway_check_violations", "role" => "audit", "invariant" => judged.name).set(count as f64);
        for row in &judged.rows {
            let (invariant, subject, detail) = (judged.name, &row.subject, &row.detail);
            tracing::error!(invariant, subject, detail, "what must always hold does not");
        }
    }
    for unreachable in &report.unreachable {
        tracing::warn!(what = unreachable.what, why = unreachable.why, "not reached by the check");
    }
    if report.unreachable.is_empty() {
        let now = Timestamp::now().as_second() as f64;
        metrics::gauge!("spillway_check_last_success_timestamp_seconds", "role" => "audit").set(now);
    }
    metrics::histogram!("spillway_check_duration_seconds", "role" => "audit").record(report.seconds);
    tracing::info!(outcome, seconds = report.seconds, orders = report.orders.accepted, "checked");
}
