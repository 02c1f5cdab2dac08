//! `spillway bench surge`: what is left of the throughput when more comes than can be carried out.
//!
//! The system, its nats-server and the provider share one core, the load has another: neither takes the other's time.
//! The load is open: orders come by the clock, and what is not confirmed within 5 s of its moment is no good.
//!
//! A machine may be a fifth faster or slower a minute later. So the peak is measured before and after each surge, in a closed
//! loop that is as long as the surge, and what is left is a part of their mean. The orders are alike in both, of as many
//! customers: those of one cost less, since they lie side by side in every ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::proc::Usage;
use super::stage::Stage;
use crate::cli::{BenchArgs, Format};
use crate::context::Context;
use crate::exit::Failure;
use crate::load::{Customers, Latency, LoadReport, Second};

/// Times the peak.
const TIMES: &[f64] = &[1.0, 2.0, 5.0, 10.0];

/// Seconds of each surge, and of the half of the peak after it; and their short form.
const SECONDS: (usize, usize) = (20, 15);
const QUICK: (usize, usize) = (8, 12);

/// Numbers in flight that the peak is sought at.
const PEAK_IN_FLIGHT: [&str; 2] = ["500", "1500"];

/// Of the surges and of the peak.
const CUSTOMERS: [&str; 2] = ["--customers", "1000"];

/// Of the load: what they bear at a time is more than what is under way at ten times the peak.
const CONNECTIONS: &str = "16";

/// A second is back to normal when nothing was refused in it and every order of it was confirmed in this time.
const NORMAL_MS: f64 = 1_000.0;

/// The code of a refusal, as a load tells it.
const EXHAUSTED: &str = "ResourceExhausted";

/// Which part of the peak is an ordinary day, when one customer begins to place ten times as much.
const ORDINARY: f64 = 0.7;

/// How often it begins and ends, and how long nothing comes between.
const TURNS: usize = 4;
const REST: Duration = Duration::from_secs(3);

/// What one surge came to.
#[derive(Clone, Debug, Serialize)]
pub struct Surge {
    /// Of the peak just before it.
    pub times: f64,
    pub peak_before_per_second: f64,
    pub peak_after_per_second: f64,
    /// Orders a second that should have come, and did.
    pub asked_per_second: f64,
    pub sent_per_second: f64,
    /// Confirmed within 5 s of the moment at which they should have been sent.
    pub goodput_per_second: f64,
    /// As a part of the mean of the two peaks, or of what came where that was less.
    pub goodput: f64,
    pub refused: u64,
    pub without_retry_info: u64,
    /// Calls that ended otherwise, by gRPC code: those that were given up after 5 s, above all.
    pub failed: BTreeMap<String, u64>,
    /// By how much the load itself was late.
    pub late_ms: Latency,
    pub accept_latency_ms: Latency,
    pub confirm_latency_ms: Latency,
    /// At the client, its own waiting included.
    pub refusal_latency_ms: Latency,
    /// Processor time of the load, in seconds, what follows the surge included. As much as the surge lasts: its core was full
    /// too, and calls waited for it.
    pub load_cpu_s: f64,
    /// Seconds from the end of the surge until all was normal; `None` where it was not seen.
    pub back_after: Option<usize>,
    /// Orders by the second at which they should have been sent, what follows the surge included.
    pub by_second: Vec<Second>,
}

/// What one customer at ten times leaves the nine others.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Fairness {
    /// What the others get of what they ask for, when all ask for the same, and when one asks for ten times as much.
    pub before: f64,
    pub beside: f64,
    pub hot: f64,
}

/// A whole measurement.
#[derive(Clone, Debug, Serialize)]
pub struct SurgeReport {
    pub surges: Vec<Surge>,
    pub fairness: Fairness,
    /// Headers to trailers, at the server: 99 of 100 refusals took no longer.
    pub refusal_p99_ms: Option<f64>,
}

/// Measures, and prints the report.
pub async fn run(args: &BenchArgs, stage: &Stage, ctx: &Context) -> Result<(), Failure> {
    let report = measure(args, stage).await?;
    match ctx.output.format() {
        Format::Json => ctx.output.json(&report),
        Format::Table => ctx.output.table(&[], report.rows()),
    }
}

async fn measure(args: &BenchArgs, stage: &Stage) -> Result<SurgeReport, Failure> {
    let (mut before, mut in_flight) = (0.0, PEAK_IN_FLIGHT[0]);
    for tried in PEAK_IN_FLIGHT {
        stage.load(&["--in-flight", tried, "--count", "1000", "--connections", CONNECTIONS]).await?;
        let peak = peak(args, stage, tried).await?;
        if peak > before {
            (before, in_flight) = (peak, tried);
        }
    }
    let mut surges = Vec::new();
    for times in TIMES {
        super::say(&format!("{times} times {before:.0} orders a second"));
        let (load, used) = come(args, stage, *times, before).await?;
        let after = peak(args, stage, in_flight).await?;
        surges.push(surge(args, *times, (before, after), load, used));
        before = after;
    }
    super::say("one of ten customers at ten times");
    let fairness = fairness(args, stage, ORDINARY * before).await?;
    let refusal_p99_ms = stage.figures().await.ok().and_then(|text| p99_ms(&text, "spillway_refusal_seconds"));
    Ok(SurgeReport { surges, fairness, refusal_p99_ms })
}

/// Orders a second that a closed loop keeps up for as long as a surge: for a few seconds it would be more.
async fn peak(args: &BenchArgs, stage: &Stage, in_flight: &str) -> Result<f64, Failure> {
    super::say(&format!("peak: {in_flight} in flight"));
    let until = args.orders.map_or(["--duration".to_owned(), seconds(args).0.to_string()], |orders| {
        ["--count".to_owned(), orders.to_string()]
    });
    let [customers, many] = CUSTOMERS;
    let arguments = ["--in-flight", in_flight, &until[0], &until[1], "--connections", CONNECTIONS, customers, many];
    Ok(stage.load(&arguments).await?.0.confirmed_per_second)
}

/// Seconds of a surge, and of what follows it.
fn seconds(args: &BenchArgs) -> (usize, usize) {
    if args.quick { QUICK } else { SECONDS }
}

/// A surge, and half of the peak after it.
async fn come(args: &BenchArgs, stage: &Stage, times: f64, peak: f64) -> Result<(LoadReport, Usage), Failure> {
    let (during, after) = seconds(args);
    open(stage, times * peak, during, Some((peak / 2.0, after)), &CUSTOMERS).await
}

fn surge(args: &BenchArgs, times: f64, (before, after): (f64, f64), load: LoadReport, used: Usage) -> Surge {
    let (during, _) = seconds(args);
    let peak = f64::midpoint(before, after);
    let (surge, rest) = load.by_second.split_at(during.min(load.by_second.len()));
    let each_second = |of: fn(&Second) -> u64| surge.iter().map(of).sum::<u64>() as f64 / during as f64;
    let (sent, goodput) = (each_second(|second| second.sent), each_second(|second| second.in_time));
    let exhausted = load.refused.get(EXHAUSTED).copied().unwrap_or(0);
    Surge {
        times,
        peak_before_per_second: before,
        peak_after_per_second: after,
        asked_per_second: times * before,
        sent_per_second: sent,
        goodput_per_second: goodput,
        goodput: goodput / peak.min(sent).max(1.0),
        refused: exhausted,
        without_retry_info: load.without_retry_info,
        failed: load.refused.into_iter().filter(|(code, _)| code != EXHAUSTED).collect(),
        late_ms: load.late_ms,
        accept_latency_ms: load.accept_latency_ms,
        confirm_latency_ms: load.confirm_latency_ms,
        refusal_latency_ms: load.refusal_latency_ms,
        load_cpu_s: used.cpu.as_secs_f64(),
        back_after: back_after(rest),
        by_second: load.by_second,
    }
}

/// The first second from which on all are normal. The last one may be cut short by the end of the run.
fn back_after(rest: &[Second]) -> Option<usize> {
    let is_normal = |second: &Second| second.refused == 0 && second.slowest_ms <= NORMAL_MS;
    let bad = rest.iter().rposition(|second| !is_normal(second));
    let back = bad.map_or(0, |bad| bad + 1);
    (back < rest.len()).then_some(back)
}

/// With the one and without it by turns, so that the machine is as fast beside it as before.
async fn fairness(args: &BenchArgs, stage: &Stage, rate: f64) -> Result<Fairness, Failure> {
    let turn = seconds(args).0.div_ceil(TURNS);
    let (mut alone, mut others, mut hot) = (Customers::default(), Customers::default(), Customers::default());
    for _ in 0..TURNS {
        // What waits from before is no part of it.
        tokio::time::sleep(REST).await;
        let (load, _) = open(stage, rate, turn, None, &["--customers", "10"]).await?;
        alone += load.other_customers;
        tokio::time::sleep(REST).await;
        // One at ten times, nine at once: 19 where 10 were.
        let (load, _) = open(stage, 1.9 * rate, turn, None, &["--customers", "10", "--hot-customer", "10"]).await?;
        others += load.other_customers;
        hot += load.hot_customer;
    }
    Ok(Fairness { before: alone.in_time_share(), beside: others.in_time_share(), hot: hot.in_time_share() })
}

async fn open(
    stage: &Stage,
    rate: f64,
    seconds: usize,
    then: Option<(f64, usize)>,
    more: &[&str],
) -> Result<(LoadReport, Usage), Failure> {
    let whole = |rate: f64| format!("{:.0}", rate.max(1.0));
    let mut arguments = vec!["--rate".to_owned(), whole(rate), "--duration".to_owned(), seconds.to_string()];
    if let Some((rate, seconds)) = then {
        arguments.extend(["--then-rate".to_owned(), whole(rate), "--then-duration".to_owned(), seconds.to_string()]);
    }
    arguments.extend(["--connections", CONNECTIONS, "--deadline", "5", "--within", "5"].map(str::to_owned));
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    stage.load(&arguments).await
}

/// The upper bound of the bucket in which the 99th of 100 lies, in milliseconds.
fn p99_ms(text: &str, histogram: &str) -> Option<f64> {
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with(&format!("{histogram}_bucket"))) {
        let bound: f64 = line.rsplit("le=\"").next()?.split('"').next()?.parse().ok()?;
        let count: f64 = line.rsplit(' ').next()?.parse().ok()?;
        match buckets.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, known)) => *known += count,
            None => buckets.push((bound, count)),
        }
    }
    let all = buckets.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    let reached = buckets.iter().filter(|(_, count)| *count >= 0.99 * all);
    reached.map(|(bound, _)| bound * 1e3).min_by(f64::total_cmp).filter(|_| all > 0.0)
}

impl SurgeReport {
    /// The lines of the table.
    fn rows(&self) -> Vec<Vec<String>> {
        let row = |name: String, value: String| vec![name, value];
        let mut rows = Vec::new();
        for surge in &self.surges {
            let back = surge.back_after.map_or("not seen".to_owned(), |seconds| format!("{seconds} s"));
            rows.push(row(
                format!("{} times", surge.times),
                format!(
                    "goodput {:.0}/s ({:.0} %) of {:.0}/s sent; back to normal after {back}",
                    surge.goodput_per_second,
                    100.0 * surge.goodput,
                    surge.sent_per_second
                ),
            ));
            rows.push(row(
                "    peak".to_owned(),
                format!(
                    "{:.0} orders/s before, {:.0} after",
                    surge.peak_before_per_second, surge.peak_after_per_second
                ),
            ));
            rows.push(row(
                "    refused".to_owned(),
                format!(
                    "{} ({} without a time to come back), failed {:?}",
                    surge.refused, surge.without_retry_info, surge.failed
                ),
            ));
            rows.push(row("    load".to_owned(), format!("{:.1} s of its core", surge.load_cpu_s)));
            let latencies = [
                ("accept", surge.accept_latency_ms),
                ("confirm", surge.confirm_latency_ms),
                ("refusal", surge.refusal_latency_ms),
                ("sent late by", surge.late_ms),
            ];
            for (name, latency) in latencies {
                let value = format!("p50 {:.1}  p99 {:.1}  max {:.1}", latency.p50, latency.p99, latency.max);
                rows.push(row(format!("    {name} ms"), value));
            }
        }
        let Fairness { before, beside, hot } = self.fairness;
        rows.push(row(
            "one customer at 10 times".to_owned(),
            format!(
                "the others keep {:.1} % (before: {:.1} %), it gets {:.1} %",
                100.0 * beside,
                100.0 * before,
                100.0 * hot
            ),
        ));
        let p99 = self.refusal_p99_ms.map_or("none".to_owned(), |ms| format!("p99 at most {ms} ms"));
        rows.push(row("refusals at the server".to_owned(), p99));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_back_from_the_first_second_on_after_which_all_are_normal() {
        let second = |refused, slowest_ms| Second { sent: 10, refused, in_time: 10, slowest_ms };
        assert_eq!(back_after(&[second(0, 10.0), second(0, 20.0)]), Some(0));
        assert_eq!(back_after(&[second(5, 10.0), second(0, 3000.0), second(0, 20.0)]), Some(2));
        assert_eq!(back_after(&[second(0, 10.0), second(1, 20.0)]), None);
    }

    #[test]
    fn the_99th_of_a_histogram_is_the_bound_of_its_bucket() {
        let text = "x_seconds_bucket{role=\"gateway\",le=\"0.001\"} 90\nx_seconds_bucket{role=\"gateway\",le=\"0.01\"} 995\n\
                    x_seconds_bucket{role=\"gateway\",le=\"+Inf\"} 1000\n";
        assert_eq!(p99_ms(text, "x_seconds"), Some(10.0));
        assert_eq!(p99_ms("", "x_seconds"), None);
    }
}
