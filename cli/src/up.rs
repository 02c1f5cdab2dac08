//! `spillway up`: everything here, on the embedded default.

mod banner;
mod flags;
mod samples;
pub mod telemetry;

use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::OptionFuture;
use spillway_shared::config::{Origin, without_credentials};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use crate::cli::{Role, UpArgs};
use crate::config::Config;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::system::said::{self, remark};
use crate::system::{self, Instruments, Running, nats, room::Fit, signals::Signals};
use telemetry::{Jaeger, Prometheus};

/// How long everything may take to become ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of the time that stopping may take, what provider and nats-server have for themselves after the roles: this share,
/// and no more than so many seconds.
const LAST_SHARE: f64 = 0.2;
const LAST_AT_MOST: Duration = Duration::from_secs(5);

/// Everything that `up` started.
struct System {
    /// How long stopping may take, all together.
    drain: Duration,
    roles: Vec<Running>,
    provider: Option<Running>,
    nats: Option<(JoinHandle<()>, CancellationToken)>,
    jaeger: Option<Jaeger>,
    prometheus: Option<Prometheus>,
}

/// Starts everything and keeps it until a signal; then drains it and says what is still open.
///
/// # Errors
/// What keeps it from starting, or what ended it by itself.
pub async fn run(args: UpArgs, ctx: &Context) -> Result<(), Failure> {
    let began = Instant::now();
    let loaded = ctx.load_config(flags::keys(&args))?;
    let sizes_streams = loaded.origin("nats.stream.max_bytes") != Origin::Default;
    let mut config = loaded.config;
    let instruments = Instruments::start(&config, "up", ctx.output.format())?;
    system::raise_file_limit();
    let mut signals = Signals::listen()?;
    let ephemeral = ephemeral(&args, &mut config)?;
    let is_new = !system::ledgers(&config.data).join("gateway.db").exists();
    let drain = Duration::from_secs(config.drain_timeout_s);
    let mut up = System { drain, roles: Vec::new(), provider: None, nats: None, jaeger: None, prometheus: None };
    let started = tokio::select! {
        started = start((&args, sizes_streams), &mut config, &instruments, &mut up) => started,
        signal = signals.next() => Err(Failure::failed(format!("{signal} before everything was ready"))),
    };
    let outcome = match started {
        Ok(mut place) => {
            if is_new {
                samples::stock(&place.grpc).await?;
            }
            place.seconds = began.elapsed().as_secs_f64();
            let output = ctx.output.clone();
            said::print(move || banner::print(&output, &place)).await?;
            until_end(&up, &mut signals).await
        }
        Err(failure) => Err(failure),
    };
    let ended = tokio::select! {
        ended = up.stop() => ended,
        signal = signals.next() => {
            remark(format!("{signal} again: stopping at once"));
            return Err(Failure::quiet(Exit::Failed));
        }
    };
    if outcome.is_ok() && ephemeral.is_none() {
        let open = system::count_open_orders(&system::ledgers(&config.data), config.partitions);
        let output = ctx.output.clone();
        said::print(move || banner::print_end(&output, open)).await?;
    }
    // Why a role ended says more than that one did.
    ended.and(outcome)
}

/// A folder that goes away with the process, where one is wanted.
fn ephemeral(args: &UpArgs, config: &mut Config) -> Result<Option<TempDir>, Failure> {
    if !args.ephemeral {
        return Ok(None);
    }
    let folder = tempfile::Builder::new().prefix("spillway-").tempdir();
    let folder = folder.map_err(|e| Failure::missing(format!("cannot make a temporary folder: {e}")))?;
    config.data = folder.path().to_owned();
    Ok(Some(folder))
}

/// Starts Jaeger where it is asked for, nats-server, provider and roles, in this order, waits until all are ready, and has
/// Prometheus look at them.
async fn start(
    (args, sizes_streams): (&UpArgs, bool),
    config: &mut Config,
    instruments: &Instruments,
    up: &mut System,
) -> Result<banner::Place, Failure> {
    make_folder(&config.data)?;
    let mut place = banner::Place { data: config.data.clone(), ..banner::Place::default() };
    let beside = if args.telemetry { Some(telemetry::find()?) } else { None };
    let kept = config.data.join("telemetry");
    let shows_traces = beside.as_ref().and_then(|found| found.jaeger.as_deref());
    if let Some(binary) = shows_traces.filter(|_| telemetry::may_take_traces(config)) {
        let jaeger = Jaeger::start(binary, &kept, &config.telemetry_servers).await?;
        place.jaeger = Some(jaeger.url.clone());
        config.telemetry.otlp_endpoint.clone_from(&jaeger.otlp);
        up.jaeger = Some(jaeger);
    }
    match &args.nats_url {
        Some(url) => place.nats = without_credentials(url),
        None => {
            let binary = nats::obtain(args.nats_server.clone(), !args.no_fetch).await?;
            let folder = config.data.join("nats");
            let fit = Fit::of(&folder, config.partitions, &config.nats.stream, sizes_streams);
            let fit = fit.map_err(|e| Failure::missing(format!("{}: {e}", folder.display())))?;
            config.nats.stream.max_bytes = fit.max_bytes;
            let server = nats::start(binary, &folder, &config.nats_server, Some(fit.max_file_store)).await?;
            place.nats = server.client_url();
            place.nats_monitoring = Some(server.monitor_url());
            config.nats.url.clone_from(&place.nats);
            let stop = CancellationToken::new();
            up.nats = Some((tokio::spawn(nats::keep(server, stop.clone())), stop));
        }
    }
    if args.provider_url.is_none() {
        let provider = system::start(Role::Provider, config, instruments).await?;
        config.payments.provider.url.clone_from(&provider.addresses["provider"]);
        place.admin.insert(Role::Provider.name(), provider.addresses["admin"].clone());
        up.provider = Some(provider);
    }
    place.provider = without_credentials(&config.payments.provider.url);
    for role in [Role::Audit, Role::Notifications, Role::Orders, Role::Payments, Role::Inventory, Role::Gateway] {
        let running = system::start(role, config, instruments).await?;
        running.life.set_drain_deadline(up.drain - last(up.drain));
        place.admin.insert(role.name(), running.addresses["admin"].clone());
        if role == Role::Gateway {
            place.grpc.clone_from(&running.addresses["grpc"]);
            place.ops.clone_from(&running.addresses["ops"]);
        }
        up.roles.push(running);
    }
    for role in &up.roles {
        if let Err(missing) = role.until_ready(PATIENCE).await {
            return Err(without_stream(&up.roles).await.unwrap_or(missing));
        }
    }
    if let Some(binary) = beside.as_ref().and_then(|found| found.prometheus.as_deref()) {
        let scraped = up.roles.iter().map(|role| (role.role.name(), role.addresses["admin"].clone())).collect();
        let prometheus = Prometheus::start(binary, &kept, &config.telemetry_servers, &scraped).await?;
        place.prometheus = Some(prometheus.url.clone());
        up.prometheus = Some(prometheus);
    }
    Ok(place)
}

/// A role whose own stream is not there keeps all from getting ready that hear it: that says more than what they miss.
async fn without_stream(roles: &[Running]) -> Option<Failure> {
    let mut missing = Vec::new();
    for role in roles {
        let of_role = role.missing().await.into_iter().filter(|(name, _)| *name == "stream");
        missing.extend(of_role.map(|(_, why)| format!("{} is not ready: {why}", role.role.name())));
    }
    let more = match missing.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} others)", count - 1),
    };
    missing.first().map(|first| Failure::missing(format!("{first}{more}")))
}

fn last(drain: Duration) -> Duration {
    drain.mul_f64(LAST_SHARE).min(LAST_AT_MOST)
}

fn make_folder(data: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(data).map_err(|e| Failure::missing(format!("cannot make {}: {e}", data.display())))
}

/// Until a signal, or until a role ends by itself.
async fn until_end(up: &System, signals: &mut Signals) -> Result<(), Failure> {
    let ends = up.roles.iter().chain(&up.provider).map(|role| Box::pin(role.life.shutting_down().cancelled_owned()));
    tokio::select! {
        signal = signals.next() => {
            remark(format!("{signal}: draining, once more to stop at once"));
            Ok(())
        }
        _ended = futures::future::select_all(ends) => Err(Failure::failed("a role ended by itself")),
    }
}

impl System {
    /// Drains all roles at once, then the provider, then nats-server, within the one deadline.
    async fn stop(self) -> Result<(), Failure> {
        let mut problems = Vec::new();
        let deadline = tokio::time::Instant::now() + self.drain;
        self.roles.iter().for_each(|role| role.life.shut_down());
        let finished = futures::future::join_all(self.roles.iter().map(Running::finish)).await;
        for (role, (drained, ended)) in self.roles.iter().zip(finished) {
            if !drained.cut.is_empty() {
                let (role, busy) = (role.role.name(), drained.cut.join(", "));
                remark(format!("{role}: the drain deadline passed, still busy: {busy}"));
            }
            problems.extend(ended.err().map(|failed| format!("{}: {failed}", role.role.name())));
        }
        drop(self.roles);
        if let Some(provider) = &self.provider {
            provider.life.shut_down();
            match timeout_at(deadline, provider.finish()).await {
                Ok((_, ended)) => problems.extend(ended.err().map(|failed| failed.to_string())),
                Err(_elapsed) => remark("provider: the drain deadline passed".to_owned()),
            }
        }
        if let Some((server, stop)) = self.nats {
            stop.cancel();
            match timeout_at(deadline, server).await {
                Ok(ended) => problems.extend(ended.err().map(|error| error.to_string())),
                // It goes with this process; killed, it loses nothing that it has acknowledged.
                Err(_elapsed) => remark("nats-server: the drain deadline passed".to_owned()),
            }
        }
        // What the roles said at their end has reached them; dropped, they are killed.
        let last = async {
            let jaeger = self.jaeger.map(Jaeger::stop);
            let prometheus = self.prometheus.map(Prometheus::stop);
            tokio::join!(OptionFuture::from(jaeger), OptionFuture::from(prometheus));
        };
        if timeout_at(deadline, last).await.is_err() {
            remark("Prometheus and Jaeger: the drain deadline passed".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(Failure::failed(problems.join("; "))) }
    }
}
