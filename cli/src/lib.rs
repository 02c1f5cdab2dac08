//! `spillway`: every role, `up`, and the operator's verbs. One file for each verb.

pub mod audit;
pub mod bench;
pub mod check;
pub mod cli;
pub mod client;
pub mod completions;
pub mod config;
pub mod config_verbs;
pub mod context;
pub mod dlq;
pub mod doctor;
pub mod drill;
pub mod exit;
pub mod flow;
pub mod http;
pub mod load;
pub mod logs;
pub mod metrics;
pub mod order;
pub mod output;
pub mod payment;
pub mod run;
pub mod stock;
pub mod system;
pub mod up;

use std::process::ExitCode;
use std::time::Duration;

use cli::{LoadArgs, Role, RunArgs, Verb};
use context::Context;
use exit::{Exit, Failure};

/// How long what still runs when the program has come to its end may take to be cut.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// The whole program.
pub fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        // Only a caller that installed one itself gets here, and one is what is needed.
        tracing::debug!("a TLS provider was installed already");
    }
    let _failing = spillway_shared::steps::from_environment();
    let cli = match cli::parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let ctx = Context::new(cli.global);
    let runtime = match runtime(&cli.verb) {
        Ok(runtime) => runtime,
        Err(error) => return ctx.output.report(&Failure::failed(format!("cannot start the runtime: {error}"))).into(),
    };
    let exit = match runtime.block_on(dispatch(cli.verb, &ctx)) {
        Ok(()) => Exit::Well.into(),
        Err(failure) => ctx.output.report(&failure).into(),
    };
    // What was cut, and a query that hangs in the kernel, must not keep the process.
    runtime.shutdown_timeout(LEFTOVERS);
    exit
}

/// As many threads as there are cores; the sandbox provider and a load get one each, for they share the machine with
/// what they serve or measure.
fn runtime(verb: &Verb) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match verb {
        Verb::Run(RunArgs { role: Role::Provider, .. }) => tokio::runtime::Builder::new_current_thread(),
        Verb::Load(LoadArgs { threads: 1, .. }) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Verb::Load(args) = verb {
        builder.worker_threads(usize::from(args.threads));
    }
    builder.enable_all().build()
}

async fn dispatch(verb: Verb, ctx: &Context) -> Result<(), Failure> {
    match verb {
        Verb::Up(args) => up::run(args, ctx).await,
        Verb::Run(args) => run::run(args, ctx).await,
        Verb::Order(verb) => order::run(verb, ctx).await,
        Verb::Stock(verb) => stock::run(verb, ctx).await,
        Verb::Audit(verb) => audit::run(verb, ctx).await,
        Verb::Check(args) => check::verb(args, ctx).await,
        Verb::Payment(verb) => payment::run(verb, ctx).await,
        Verb::Dlq(verb) => dlq::run(verb, ctx).await,
        Verb::Flow(args) => flow::run(args, ctx).await,
        Verb::Pause(args) => flow::pause(args, ctx).await,
        Verb::Resume(args) => flow::resume(args, ctx).await,
        Verb::Config(verb) => config_verbs::run(&verb, ctx),
        Verb::Load(args) => load::run(args, ctx).await,
        Verb::Bench(args) => bench::run(args, ctx).await,
        Verb::Drill(args) => drill::run(args, ctx).await,
        Verb::Doctor(args) => doctor::run(args, ctx).await,
        Verb::Completions(args) => completions::run(&args),
    }
}
