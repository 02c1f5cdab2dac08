//! `spillway drill`: breaks what can break while orders keep coming, mends it, and shows that nothing was lost.

mod counters;
mod ephemeral;
mod installation;
mod orders;
mod process;
mod provider;
mod report;
mod running;
mod script;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use spillway_shared::bus::Servers;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::check;
use crate::cli::{DrillArgs, Format, Role};
use crate::context::Context;
use crate::exit::Failure;
use crate::load::{self, Follow, LoadReport, Pace, Plan, Retry, Until};
use crate::system::{self, signals::Signals};
use counters::Counters;
use installation::Installation;
use orders::Ends;
use provider::Provider;
use report::{Deed, Report};
use script::Act;

/// SKUs that the orders are spread over.
const SKUS: u32 = 20;

/// After this long a call is given up; what became of it is unknown.
const DEADLINE: Duration = Duration::from_secs(30);

/// Drills, and prints the report.
///
/// # Errors
/// Exit 4 where something does not hold, 3 where something is missing, 1 where it was cut short or orders stay open.
pub async fn run(args: DrillArgs, ctx: &Context) -> Result<(), Failure> {
    system::raise_file_limit();
    let mut signals = Signals::listen()?;
    let scratch = tempfile::Builder::new().prefix("spillway-drill-history-").tempdir();
    let scratch = scratch.map_err(|error| Failure::missing(format!("cannot make a temporary folder: {error}")))?;
    let history = args.history.clone().unwrap_or_else(|| scratch.path().join("history.jsonl"));
    let started = tokio::select! {
        started = Installation::of(&args, ctx) => started,
        signal = signals.next() => return Err(Failure::failed(format!("{signal}: nothing was done yet"))),
    };
    let mut drill = match Drill::prepare(args, started?).await {
        Ok(drill) => drill,
        Err((installation, failure)) => {
            installation.end().await;
            return Err(failure);
        }
    };
    let ran = tokio::select! {
        ran = drill.run(history) => ran,
        signal = signals.next() => Err(Failure::failed(format!("{signal}: the drill was cut short"))),
    };
    // Whatever came of it. A second signal ends that too.
    let undone = tokio::select! {
        undone = drill.undo() => undone,
        signal = signals.next() => Err(Failure::failed(format!("{signal}: not everything was mended"))),
    };
    drill.installation.end().await;
    let report = ran?;
    undone?;
    print(&report, ctx)?;
    report.outcome()
}

fn print(report: &Report, ctx: &Context) -> Result<(), Failure> {
    match ctx.output.format() {
        Format::Json => ctx.output.json(report),
        Format::Table => ctx.output.text(&report.text()),
    }
}

/// A drill under way.
struct Drill {
    args: DrillArgs,
    seed: u64,
    installation: Installation,
    provider: Provider,
    began: Instant,
    deeds: Vec<Deed>,
    /// What is broken now, and is to be mended whatever happens.
    is_provider_changed: bool,
    killed: Vec<Role>,
    counters: Counters,
    stop: CancellationToken,
}

impl Drill {
    async fn prepare(args: DrillArgs, installation: Installation) -> Result<Drill, (Installation, Failure)> {
        let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let provider = match Provider::attach(&installation.provider, seed).await {
            Ok(provider) => provider,
            Err(failure) => return Err((installation, failure)),
        };
        if let Err(failure) = installation.until_ready().await {
            return Err((installation, failure));
        }
        Ok(Drill {
            args,
            seed,
            installation,
            provider,
            began: Instant::now(),
            deeds: Vec::new(),
            is_provider_changed: false,
            killed: Vec::new(),
            counters: Counters::default(),
            stop: CancellationToken::new(),
        })
    }

    async fn run(&mut self, history: PathBuf) -> Result<Report, Failure> {
        let duration = Duration::from_secs(self.args.duration);
        let run = Uuid::new_v4();
        self.counters.begin(&self.installation.admins()).await;
        self.began = Instant::now();
        self.say(format!(
            "{} orders a second for {} s at {}, seed {}",
            self.args.rate,
            self.args.duration,
            self.installation.name(),
            self.seed
        ));
        let load = self.load(run, duration, history.clone());
        for step in script::script(duration, self.seed, &self.args.kill, self.installation.partitions()) {
            tokio::time::sleep_until((self.began + step.after).into()).await;
            self.perform(step.act).await?;
        }
        let load = load.await.map_err(|error| Failure::failed(format!("the load broke: {error}")))??;
        self.say(format!("no more orders come: {} were accepted; waiting until all are done", load.accepted));
        self.undo().await?;
        self.installation.until_ready().await?;
        let customer = load::customer(run);
        let settle = Duration::from_secs(self.args.settle);
        let ends = orders::until_done(&self.installation.gateway, &customer, load.accepted, settle).await?;
        self.say(match ends.open {
            0 => "all are done; checking what must hold".to_owned(),
            open => format!("{open} are still open after {} s; checking what must hold", settle.as_secs()),
        });
        let counters = self.counters.end(&self.installation.admins()).await;
        let check = check::run(self.installation.looking(history).await?).await?;
        Ok(self.report(&load, ends, counters, check))
    }

    /// Orders that keep coming, whatever is done meanwhile.
    fn load(&self, run: Uuid, duration: Duration, history: PathBuf) -> JoinHandle<Result<LoadReport, Failure>> {
        let plan = Plan {
            run,
            pace: Pace::Open { per_second: f64::from(self.args.rate), then: None },
            until: Until::Elapsed(duration),
            warmup: Duration::ZERO,
            follow: Follow::None,
            address: self.installation.gateway.clone(),
            connections: 2,
            skus: SKUS,
            lines: 2,
            payment_method: "pm_ok".to_owned(),
            customers: 1,
            hot_customer: 1,
            retry: Retry::Never,
            deadline: DEADLINE,
            within: DEADLINE,
            settle: Duration::ZERO,
            history: Some(history),
        };
        tokio::spawn(load::drive(plan, false, self.stop.clone()))
    }

    async fn perform(&mut self, act: Act) -> Result<(), Failure> {
        let text = act.to_string();
        match act {
            Act::LoseAnswers => {
                self.is_provider_changed = true;
                self.provider.lose_answers().await?;
            }
            Act::ProviderDown => {
                self.is_provider_changed = true;
                self.provider.down().await?;
            }
            Act::Kill(role) => return self.kill(role, text).await,
            Act::Wipe(stream) => {
                if let Err(why) = wipe(&self.installation.nats, &stream).await {
                    self.did(format!("stream {stream} is left alone: {why}"));
                    return Ok(());
                }
            }
            Act::Revive(role) => return self.revive(role).await,
            Act::ProviderUp => self.provider.up().await?,
            Act::AnswerAgain => self.restore_provider().await?,
        }
        self.did(text);
        Ok(())
    }

    async fn kill(&mut self, role: Role, text: String) -> Result<(), Failure> {
        if let Some(admin) = self.installation.admin(role) {
            self.counters.before_kill(&admin).await;
        }
        match self.installation.kill(role).await {
            Ok(()) => {
                self.killed.push(role);
                self.did(text);
            }
            Err(why) => self.did(format!("{} is left alone: {why}", role.name())),
        }
        Ok(())
    }

    async fn revive(&mut self, role: Role) -> Result<(), Failure> {
        if !self.killed.contains(&role) {
            return Ok(());
        }
        let by = self.installation.revive(role).await?;
        self.killed.retain(|killed| *killed != role);
        let text = Act::Revive(role).to_string();
        self.did(if by.is_empty() { text } else { format!("{text} {by}") });
        Ok(())
    }

    async fn restore_provider(&mut self) -> Result<(), Failure> {
        self.provider.restore().await?;
        self.is_provider_changed = false;
        Ok(())
    }

    /// Mends what is broken, all of it also where a part cannot be mended.
    async fn undo(&mut self) -> Result<(), Failure> {
        self.stop.cancel();
        let mut outcome = Ok(());
        for role in self.killed.clone() {
            outcome = outcome.and(self.revive(role).await);
        }
        if self.is_provider_changed {
            let restored = self.restore_provider().await;
            if restored.is_ok() {
                self.did(Act::AnswerAgain.to_string());
            }
            outcome = outcome.and(restored);
        }
        outcome
    }

    fn did(&mut self, what: String) {
        let deed = Deed { seconds: self.began.elapsed().as_secs_f64(), what };
        eprintln!("drill: {deed}");
        self.deeds.push(deed);
    }

    fn say(&self, what: String) {
        eprintln!("drill: {}", Deed { seconds: self.began.elapsed().as_secs_f64(), what });
    }

    fn report(&self, load: &LoadReport, ends: Ends, counters: BTreeMap<String, u64>, check: check::Report) -> Report {
        Report {
            installation: self.installation.name(),
            seed: self.seed,
            seconds: self.began.elapsed().as_secs_f64(),
            rate: self.args.rate,
            deeds: self.deeds.clone(),
            sent: load.sent,
            accepted: load.accepted,
            not_accepted: load.refused.clone(),
            ends,
            counters,
            check,
        }
    }
}

/// Deletes a stream with all that is in it.
async fn wipe(nats: &str, stream: &str) -> Result<(), String> {
    let servers = Servers::of(nats)?;
    let options = servers.sign_in(async_nats::ConnectOptions::new());
    let client = options.connect(servers.addresses).await.map_err(|error| error.to_string())?;
    let js = async_nats::jetstream::new(client);
    js.delete_stream(stream).await.map(drop).map_err(|error| error.to_string())
}
