//! `spillway bench`: its own ephemeral system, measured in one run on one machine.

mod bare;
mod cores;
mod proc;
mod report;
mod stage;
mod surge;
mod telemetry;
mod volume;

use crate::cli::{BenchArgs, BenchWhat, Format};
use crate::context::Context;
use crate::exit::Failure;
use crate::system::{self, nats::NatsServerConfig};
use report::{BenchReport, Cpu, Machine, Measured, Memory};
use stage::Stage;

/// Numbers in flight that are tried unless others are named.
const IN_FLIGHT: &[u32] = &[500, 1500, 3000];

/// Orders of a measurement under load, and of its short form.
const ORDERS: (u64, u64) = (60_000, 5_000);

/// Orders of the measurement at rest, and of its short form.
const ORDERS_AT_REST: (u64, u64) = (1_000, 200);

/// Measures, and prints the report.
///
/// # Errors
/// What keeps the system from starting, or a run that does not end well.
pub async fn run(args: BenchArgs, ctx: &Context) -> Result<(), Failure> {
    system::raise_file_limit();
    let folder = tempfile::Builder::new().prefix("spillway-bench-").tempdir();
    let folder = folder.map_err(|e| Failure::missing(format!("cannot make a temporary folder: {e}")))?;
    let nats = NatsServerConfig { port: 0, monitoring_port: 0, ..ctx.load_config(Vec::new())?.config.nats_server };
    if args.what == BenchWhat::Surge {
        // Children inherit the core: the system first, then the load.
        cores::bind_to(0)?;
        let stage = Stage::start(folder.path(), &nats).await?;
        let measured = match cores::bind_to(1) {
            Ok(()) => surge::run(&args, &stage, ctx).await,
            Err(failure) => Err(failure),
        };
        stage.stop().await?;
        return measured;
    }
    if args.what == BenchWhat::Telemetry {
        return telemetry::run(&args, folder.path(), &nats, ctx).await;
    }
    let stage = Stage::start(folder.path(), &nats).await?;
    let report = measure(&args, &stage, &nats).await;
    stage.stop().await?;
    let report = report?;
    match ctx.output.format() {
        Format::Json => ctx.output.json(&report),
        Format::Table => ctx.output.table(&[], report.rows()),
    }
}

async fn measure(args: &BenchArgs, stage: &Stage, nats: &NatsServerConfig) -> Result<BenchReport, Failure> {
    let pick = |(whole, quick): (u64, u64)| if args.quick { quick } else { whole };
    let orders = args.orders.unwrap_or_else(|| pick(ORDERS));
    let in_flight = if args.in_flight.is_empty() { IN_FLIGHT } else { &args.in_flight };
    say("at rest: 1 in flight");
    let at_rest = one(stage, 1, pick(ORDERS_AT_REST)).await?.0;
    let first = stage.read()?.spillway.memory;
    let mut tried: Vec<(Measured, Vec<volume::Volume>)> = Vec::new();
    for count in in_flight {
        say(&format!("under load: {count} in flight, {orders} orders"));
        tried.push(one(stage, *count, orders).await?);
    }
    let last = stage.read()?.spillway.memory;
    let best = tried.iter().max_by(|a, b| a.0.orders_per_second.total_cmp(&b.0.orders_per_second));
    let (best, volume) = best.cloned().ok_or_else(|| Failure::usage("--in-flight names no number"))?;
    say("the bare limit of the same volume");
    let bare = bare::measure(&stage.nats.client_url(), &stage.folder, &volume, best.orders).await?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(BenchReport {
        machine: machine(nats),
        ratio: best.orders_per_second / bare.orders_per_second,
        best,
        tried: tried.into_iter().map(|(measured, _)| measured).collect(),
        at_rest,
        bare,
        volume,
        memory: Memory { first_mib: mib(first), last_mib: mib(last) },
    })
}

/// One load, with what every process used and every ledger said meanwhile.
async fn one(stage: &Stage, in_flight: u32, orders: u64) -> Result<(Measured, Vec<volume::Volume>), Failure> {
    let ledgers = system::ledgers(&stage.folder.join("data"));
    let count = in_flight.to_string();
    let connections = (in_flight / 500 + 1).min(8).to_string();
    // Files, caches and connections as in a running system, before anything is measured.
    let warm_up = (orders / 20).max(50).to_string();
    stage.load(&["--in-flight", &count, "--count", &warm_up, "--connections", &connections]).await?;
    let (before, said_before) = (stage.read()?, volume::read(&ledgers)?);
    let orders_text = orders.to_string();
    let (load, load_used) =
        stage.load(&["--in-flight", &count, "--count", &orders_text, "--connections", &connections]).await?;
    let (after, said) = (stage.read()?, volume::read(&ledgers)?);
    let each = |after: proc::Usage, before: &proc::Usage| after.since(before).micros_each(load.confirmed);
    let cpu = Cpu {
        spillway: each(after.spillway, &before.spillway),
        nats_server: each(after.nats, &before.nats),
        provider: each(after.provider, &before.provider),
        load: load_used.micros_each(load.confirmed),
    };
    Ok((Measured::new(in_flight, &load, cpu), volume::between(&said_before, &said)))
}

fn machine(nats: &NatsServerConfig) -> Machine {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        processor: processor.unwrap_or("unknown processor").to_owned(),
        nats_sync: format!("{:?}", nats.sync).to_lowercase(),
    }
}

fn say(what: &str) {
    eprintln!("bench: {what}");
}
