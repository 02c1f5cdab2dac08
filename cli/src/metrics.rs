//! The figures of this process: one recorder, whose text every admin server shows. Roles are told apart by the label
//! `role`.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use spillway_shared::admin;

use crate::exit::Failure;

/// Upper bounds for durations, in seconds: from an fsync of a fast disk to a client that gives up. Without bounds the
/// exporter would make summaries, which cannot be added up over processes.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Upper bounds for counts of things in one commit or message.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

/// How often samples of histograms are put into their buckets, so that they take no more memory than that.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Starts recording for the rest of the process.
///
/// # Errors
/// When something records already.
pub fn init() -> Result<admin::Metrics, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("cannot start metrics: {error}"));
    let recorder = PrometheusBuilder::new()
        .set_buckets(SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_inputs".to_owned()), COUNTS))
        .map_err(|error| failed(&error))?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| failed(&error))?;
    tokio::spawn(keep_up(handle.clone()));
    Ok(Arc::new(move || handle.render()))
}

/// Ends with the runtime.
async fn keep_up(handle: PrometheusHandle) {
    let mut tick = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tick.tick().await;
        handle.run_upkeep();
    }
}
