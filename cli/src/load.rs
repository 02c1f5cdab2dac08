//! `spillway load`: places orders, and tells how they fared.

mod drive;
mod follow;
mod line;
mod orders;
mod plan;
mod reads;
mod record;
mod report;
mod tally;
mod track;

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use spillway_proto::pb::inventory::inventory_service_client::InventoryServiceClient;
use spillway_proto::pb::inventory::{AdjustStockRequest, GetStockRequest};
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

pub use orders::customer;
pub use plan::{Follow, Pace, Plan, Retry, Until};
pub use report::{Latency, LoadReport};
pub use tally::{Customers, Second};

use crate::cli::{Follow as FollowFlag, Format, LoadArgs, Retry as RetryFlag};
use crate::client::CONNECT_WITHIN;
use crate::context::Context;
use crate::exit::Failure;
use crate::system::{self, signals::Signals};
use line::Line;
use track::Tracker;

/// Units that every SKU of a load run should have before it.
const UNITS: i64 = 1_000_000;

/// How often progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Runs the load, and prints its report.
///
/// # Errors
/// Exit 3 where gateway or NATS cannot be reached.
pub async fn run(args: LoadArgs, ctx: &Context) -> Result<(), Failure> {
    system::raise_file_limit();
    let plan = plan(&args, &ctx.global.address);
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let report = {
        let run = drive(plan, ctx.output.shows_progress(), stop.clone());
        tokio::pin!(run);
        tokio::select! {
            report = &mut run => report?,
            _signal = signals.next() => {
                stop.cancel();
                run.await?
            }
        }
    };
    match ctx.output.format() {
        Format::Json => ctx.output.json(&report),
        Format::Table => {
            let rows = report.lines().into_iter().map(|(name, value)| vec![name, value]).collect();
            ctx.output.table(&[], rows)
        }
    }
}

fn plan(args: &LoadArgs, address: &str) -> Plan {
    Plan {
        run: Uuid::new_v4(),
        pace: match (args.rate, args.in_flight) {
            (Some(rate), _) => {
                let then = args.then_rate.zip(args.then_duration);
                let then = then.map(|(rate, seconds)| (f64::from(rate), Duration::from_secs(seconds)));
                Pace::Open { per_second: f64::from(rate), then }
            }
            (None, in_flight) => Pace::Closed { in_flight: in_flight.map_or(1, |n| n as usize) },
        },
        until: match (args.duration, args.count) {
            (Some(seconds), _) => Until::Elapsed(Duration::from_secs(seconds)),
            (None, count) => Until::Sent(count.unwrap_or(1)),
        },
        warmup: Duration::from_secs(args.warmup),
        follow: match args.follow {
            FollowFlag::Events => Follow::Events { nats_url: args.nats_url.clone() },
            FollowFlag::Watch => Follow::Watch,
            FollowFlag::None => Follow::None,
        },
        address: address.to_owned(),
        connections: args.connections as usize,
        skus: args.skus,
        lines: args.lines,
        payment_method: args.payment_method.clone(),
        customers: args.customers,
        hot_customer: args.hot_customer,
        retry: match args.retry {
            RetryFlag::Never => Retry::Never,
            RetryFlag::Told => Retry::Told,
            RetryFlag::Naive => Retry::Naive,
        },
        deadline: Duration::from_secs(args.deadline),
        within: Duration::from_secs(args.within),
        settle: Duration::from_secs(60),
        history: args.history.clone(),
    }
}

/// Does what the plan says, and tells what came of it.
///
/// # Errors
/// Exit 3 where gateway or NATS cannot be reached.
pub async fn drive(plan: Plan, shows_progress: bool, stop: CancellationToken) -> Result<LoadReport, Failure> {
    let (channels, lines) = connect(&plan).await?;
    stock(&plan, channels[0].clone()).await?;
    let tracker = Arc::new(Tracker::new(plan.within));
    let following = match &plan.follow {
        Follow::Events { nats_url } => Some(follow::events(nats_url, tracker.clone()).await?),
        Follow::Watch | Follow::None => None,
    };
    let progress = shows_progress.then(|| tokio::spawn(show(plan.clone(), tracker.clone())));
    let clients = channels.into_iter().map(OrderServiceClient::new).collect();
    let settle = plan.settle;
    let (recorder, writing) = plan.history.as_deref().map(record::start).transpose()?.unzip();
    let drive = drive::Drive { plan, lines, clients, tracker: tracker.clone(), recorder, stop: stop.clone() };
    drive.run().await;
    if let Some(writing) = writing {
        writing.finish().await?;
    }
    tokio::select! {
        _settled = tokio::time::timeout(settle, tracker.until_settled()) => {}
        () = stop.cancelled() => {}
    }
    following.into_iter().chain(progress).for_each(|task| task.abort());
    Ok(LoadReport::from(&tracker.tally()))
}

/// Connections for calls of all kinds, made when they are first used, and as many that orders are placed over.
async fn connect(plan: &Plan) -> Result<(Vec<Channel>, Vec<Line>), Failure> {
    let endpoint = Endpoint::from_shared(plan.address.clone())
        .map_err(|e| Failure::usage(format!("--address {}: {e}", plan.address)))?
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true);
    let (mut channels, mut lines) = (Vec::new(), Vec::new());
    for _ in 0..plan.connections.max(1) {
        channels.push(endpoint.connect_lazy());
        let line = Line::connect(endpoint.uri()).await.map_err(|status| {
            let (address, why) = (&plan.address, status.message());
            Failure::missing(format!("cannot reach the gateway at {address}: {why}; is `spillway up` running?"))
        })?;
        lines.push(line);
    }
    Ok((channels, lines))
}

/// Sees to it that nothing runs out of stock by accident.
async fn stock(plan: &Plan, channel: Channel) -> Result<(), Failure> {
    let mut client = InventoryServiceClient::new(channel);
    for index in 0..plan.skus {
        let sku = orders::sku(index);
        let available = match client.get_stock(GetStockRequest { sku: sku.clone() }).await {
            Ok(answer) => answer.into_inner().item.map_or(0, |item| item.available),
            Err(status) if status.code() == tonic::Code::NotFound => 0,
            Err(status) => return Err(Failure::from(&status)),
        };
        if available >= UNITS {
            continue;
        }
        let request =
            AdjustStockRequest { request_id: Uuid::new_v4().to_string(), sku, delta: UNITS, reason: "load".to_owned() };
        client.adjust_stock(request).await.map_err(|status| Failure::from(&status))?;
    }
    Ok(())
}

async fn show(plan: Plan, tracker: Arc<Tracker>) {
    let bar = match plan.until {
        Until::Sent(count) => ProgressBar::new(count),
        Until::Elapsed(_) => ProgressBar::new_spinner(),
    };
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {msg}") {
        bar.set_style(style);
    }
    let mut every = tokio::time::interval(PROGRESS_EVERY);
    loop {
        every.tick().await;
        let (sent, accepted, confirmed, open) = tracker.counts();
        bar.set_position(sent);
        bar.set_message(format!("sent {sent}, accepted {accepted}, confirmed {confirmed}, open {open}"));
    }
}
