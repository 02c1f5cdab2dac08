//! `spillway bench telemetry`: what it costs to be seen, in one run.
//!
//! The same load on two systems in turns, so that a machine that grows slower meanwhile slows both: one that is silent,
//! and one that logs every line, exports traces to a receiver here, and whose metrics are scraped every second.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::report::Measured;
use super::stage::Stage;
use crate::cli::{BenchArgs, Format};
use crate::context::Context;
use crate::exit::Failure;
use crate::system::nats::NatsServerConfig;

/// Measurements of each of the two; the best counts, for what disturbs one only ever slows it.
const ROUNDS: (usize, usize) = (3, 1);

/// Orders of a measurement, and of its short form.
const ORDERS: (u64, u64) = (40_000, 5_000);

const IN_FLIGHT: u32 = 1500;

/// How often Prometheus would look, and more.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

/// What telemetry costs.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    pub without: Vec<Measured>,
    pub with: Vec<Measured>,
    /// By the best of each: the part of the throughput that telemetry takes, and of the processor time per order that
    /// it adds.
    pub throughput_lost: f64,
    pub cpu_added: f64,
    /// Of traces, as they came here; and scrapes that were answered.
    pub exported_bytes: u64,
    pub exports: u64,
    pub scrapes: u64,
}

/// Measures, and prints what came of it.
///
/// # Errors
/// What keeps a system from starting, or a run that does not end well.
pub async fn run(args: &BenchArgs, folder: &Path, nats: &NatsServerConfig, ctx: &Context) -> Result<(), Failure> {
    let pick = |(whole, quick): (usize, usize)| if args.quick { quick } else { whole };
    let orders = args.orders.unwrap_or(if args.quick { ORDERS.1 } else { ORDERS.0 });
    let in_flight = args.in_flight.first().copied().unwrap_or(IN_FLIGHT);
    let sink = Sink::start().await?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..pick(ROUNDS) {
        for (seen, into) in [(false, &mut without), (true, &mut with)] {
            let what = if seen { "with" } else { "without" };
            super::say(&format!("round {}: {what} telemetry, {in_flight} in flight, {orders} orders", round + 1));
            let folder = folder.join(format!("{what}-{round}"));
            std::fs::create_dir_all(&folder).map_err(|e| Failure::missing(e.to_string()))?;
            let environment = if seen { sink.environment() } else { Vec::new() };
            let stage = Stage::start_under(&folder, nats, &environment).await?;
            let measured = if seen {
                let scrapes = sink.scrape(&stage);
                tokio::select! {
                    measured = super::one(&stage, in_flight, orders) => measured,
                    () = scrapes => Err(Failure::failed("the scrapes ended")),
                }
            } else {
                super::one(&stage, in_flight, orders).await
            };
            stage.stop().await?;
            into.push(measured?.0);
        }
    }
    let cost = sink.cost(without, with);
    match ctx.output.format() {
        Format::Json => ctx.output.json(&cost),
        Format::Table => ctx.output.table(&[], cost.rows()),
    }
}

/// Takes traces and throws them away.
struct Sink {
    endpoint: String,
    taken: Arc<Taken>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Taken {
    bytes: AtomicU64,
    exports: AtomicU64,
    scrapes: AtomicU64,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Sink {
    async fn start() -> Result<Sink, Failure> {
        let failed = |error: std::io::Error| Failure::failed(format!("no receiver of traces: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(failed)?);
        let (taken, stop) = (Arc::new(Taken::default()), CancellationToken::new());
        let (counted, stopped) = (taken.clone(), stop.clone());
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let counted = counted.clone();
                tokio::spawn(async move {
                    let take = service_fn(|request| take(request, counted.clone()));
                    let served = http1::Builder::new().serve_connection(TokioIo::new(connection), take).await;
                    drop(served);
                });
            }
        }));
        Ok(Sink { endpoint, taken, stop })
    }

    fn environment(&self) -> Vec<(String, String)> {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            set("SPILLWAY_LOG__LEVEL", "info,async_nats=warn"),
            set("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint),
            set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ]
    }

    /// Reads the metrics of every role again and again.
    async fn scrape(&self, stage: &Stage) {
        let mut every = tokio::time::interval(SCRAPE_EVERY);
        loop {
            every.tick().await;
            if stage.scrape_all().await.is_ok() {
                self.taken.scrapes.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn cost(&self, without: Vec<Measured>, with: Vec<Measured>) -> Cost {
        let best = |all: &[Measured]| all.iter().map(|one| one.orders_per_second).fold(0.0, f64::max);
        let least =
            |all: &[Measured]| all.iter().map(|one| one.cpu_micros_per_order.spillway).fold(f64::INFINITY, f64::min);
        let throughput_lost = 1.0 - best(&with) / best(&without).max(f64::MIN_POSITIVE);
        let cpu_added = least(&with) / least(&without).max(f64::MIN_POSITIVE) - 1.0;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (exported_bytes, exports) = (count(&self.taken.bytes), count(&self.taken.exports));
        Cost { without, with, throughput_lost, cpu_added, exported_bytes, exports, scrapes: count(&self.taken.scrapes) }
    }
}

async fn take(request: Request<Incoming>, taken: Arc<Taken>) -> Result<Response<Empty<Bytes>>, Infallible> {
    if let Ok(body) = request.into_body().collect().await {
        let bytes = u64::try_from(body.to_bytes().len()).unwrap_or(u64::MAX);
        taken.bytes.fetch_add(bytes, Ordering::Relaxed);
        taken.exports.fetch_add(1, Ordering::Relaxed);
    }
    // An empty ExportTraceServiceResponse.
    let answer = Response::builder().header(http::header::CONTENT_TYPE, "application/x-protobuf").body(Empty::new());
    Ok(answer.unwrap_or_default())
}

impl Cost {
    fn rows(&self) -> Vec<Vec<String>> {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let each = |all: &[Measured]| {
            let one = |one: &Measured| {
                format!("{:.0}/s ({:.0} µs CPU)", one.orders_per_second, one.cpu_micros_per_order.spillway)
            };
            all.iter().map(one).collect::<Vec<_>>().join("  ")
        };
        vec![
            row("without telemetry", each(&self.without)),
            row("with logs, traces and scrapes", each(&self.with)),
            row("throughput lost", format!("{:.1} %", self.throughput_lost * 100.0)),
            row("CPU per order added", format!("{:.1} %", self.cpu_added * 100.0)),
            row("exported", format!("{} bytes in {} exports", self.exported_bytes, self.exports)),
            row("scrapes of all roles", self.scrapes.to_string()),
        ]
    }
}
