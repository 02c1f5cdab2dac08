//! What a load run tells: as a table for people, as JSON for scripts.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::tally::{Customers, Second, Tally};

/// The outcome of a load run. Latencies are in milliseconds, and count from when an order should have been sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    pub sent: u64,
    pub accepted: u64,
    pub confirmed: u64,
    pub rejected: u64,
    pub cancelled: u64,
    /// Accepted, and not at their end when the run was over.
    pub still_open: u64,
    /// Answers that were no acceptance, by gRPC code.
    pub refused: BTreeMap<String, u64>,
    /// Those of them that did not say when to come back.
    pub without_retry_info: u64,
    /// Confirmed within the time that makes an order a good one.
    pub in_time: u64,
    /// From the first order sent to the last end heard.
    pub seconds: f64,
    pub accepted_per_second: f64,
    pub confirmed_per_second: f64,
    pub accept_latency_ms: Latency,
    pub confirm_latency_ms: Latency,
    /// From a call to its refusal.
    pub refusal_latency_ms: Latency,
    /// The load's own lateness: where it is not small, the load is what is measured.
    #[serde(default)]
    pub late_ms: Latency,
    /// The customer who places more than the others, and the others together.
    pub hot_customer: Customers,
    pub other_customers: Customers,
    /// By when orders should have been sent.
    pub by_second: Vec<Second>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let millis = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Latency {
            p50: millis(0.5),
            p90: millis(0.9),
            p99: millis(0.99),
            p999: millis(0.999),
            max: histogram.max() as f64 / 1000.0,
        }
    }
}

impl From<&Tally> for LoadReport {
    fn from(tally: &Tally) -> Self {
        let seconds = match (tally.first, tally.last) {
            (Some(first), Some(last)) => last.saturating_duration_since(first).as_secs_f64(),
            (Some(_) | None, _) => 0.0,
        };
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        LoadReport {
            sent: tally.sent,
            accepted: tally.accepted,
            confirmed: tally.confirmed,
            rejected: tally.rejected,
            cancelled: tally.cancelled,
            still_open: tally.open(),
            refused: tally.refused.clone(),
            seconds,
            accepted_per_second: rate(tally.accepted),
            confirmed_per_second: rate(tally.confirmed),
            accept_latency_ms: Latency::of(&tally.accept),
            confirm_latency_ms: Latency::of(&tally.confirm),
            refusal_latency_ms: Latency::of(&tally.refusal),
            late_ms: Latency::of(&tally.late),
            without_retry_info: tally.without_retry_info,
            in_time: tally.in_time,
            hot_customer: tally.hot,
            other_customers: tally.others,
            by_second: tally.seconds.clone(),
        }
    }
}

impl LoadReport {
    /// The lines of the table: what, how much.
    pub fn lines(&self) -> Vec<(String, String)> {
        let line = |name: &str, value: String| (name.to_owned(), value);
        let mut lines = vec![
            line("sent", self.sent.to_string()),
            line("accepted", format!("{} ({:.0}/s)", self.accepted, self.accepted_per_second)),
            line("confirmed", format!("{} ({:.0}/s)", self.confirmed, self.confirmed_per_second)),
            line("rejected", self.rejected.to_string()),
            line("cancelled", self.cancelled.to_string()),
            line("still open", self.still_open.to_string()),
        ];
        lines.extend(self.refused.iter().map(|(code, count)| line(&format!("refused: {code}"), count.to_string())));
        lines.push(line("confirmed in time", self.in_time.to_string()));
        if !self.refused.is_empty() {
            lines.push(line("refused, not told when to come back", self.without_retry_info.to_string()));
        }
        if self.hot_customer.sent > 0 {
            for (name, customers) in [("hot customer", self.hot_customer), ("other customers", self.other_customers)] {
                let Customers { sent, accepted, in_time } = customers;
                lines.push(line(name, format!("sent {sent}  accepted {accepted}  confirmed in time {in_time}")));
            }
        }
        lines.push(line("seconds", format!("{:.1}", self.seconds)));
        let refusal = (!self.refused.is_empty()).then_some(("refusal", self.refusal_latency_ms));
        let latencies = [("accept", self.accept_latency_ms), ("confirm", self.confirm_latency_ms)];
        for (name, latency) in latencies.into_iter().chain(refusal).chain([("sent late by", self.late_ms)]) {
            let text = format!(
                "p50 {:.1}  p90 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1}",
                latency.p50, latency.p90, latency.p99, latency.p999, latency.max
            );
            lines.push(line(&format!("{name} ms"), text));
        }
        lines
    }
}
