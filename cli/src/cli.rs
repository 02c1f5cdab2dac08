//! The command line. The doc comments are what `--help` prints.

mod calls;
mod check;
mod dlq;
mod drill;
mod flow;
mod payment;
mod system;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use calls::{
    AuditVerb, ExportArgs, ListOrdersArgs, OrderVerb, Page, PlaceArgs, State, StockVerb, VerifyArgs, WatchArgs,
};
pub use check::CheckArgs;
pub use dlq::{DiscardArgs, DlqListArgs, DlqVerb, LetterCause, LetterState, RedriveArgs};
pub use drill::DrillArgs;
pub use flow::{ActArgs, FlowArgs, FlowName, FlowVerb, LeverArgs};
pub use payment::{PaymentListArgs, PaymentVerb, SettleArgs, SettleAs};
pub use system::{BenchArgs, BenchWhat, DoctorArgs, Follow, LoadArgs, Retry, Role, RunArgs, UpArgs};

use crate::exit::{Exit, Failure};
use crate::output::Output;

const FOOTER: &str = "\
Exit codes:
  0  all went well
  1  it was tried and failed
  2  usage: the command line, the configuration, or a request that is not valid
  3  something that is needed is missing or cannot be reached
  4  something that must always hold does not

Configuration: built-in defaults < file (--config, else SPILLWAY_CONFIG) < environment (SPILLWAY_, two underscores \
between names: SPILLWAY_LOG__LEVEL=debug) < flags (--set log.level=debug). `spillway config print --origin` shows all \
of it. Logs go to standard error, results to standard output.";

/// Order processing that loses no order, charges nobody twice and sells no unit twice.
#[derive(Debug, Parser)]
#[command(name = "spillway", version, about, after_help = FOOTER, max_term_width = 100, propagate_version = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes, before or after it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// The configuration file, in TOML
    #[arg(long, global = true, env = "SPILLWAY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set a key of the configuration; can be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How results and errors are printed; what comes in streams is JSON Lines
    #[arg(long, global = true, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// No colours; they are used on a terminal only, and not with NO_COLOR set
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Where the gateway listens for clients
    #[arg(long, global = true, env = "SPILLWAY_ADDRESS", value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:50051")]
    pub address: String,
    /// Where the gateway listens for operators
    #[arg(long, global = true, env = "SPILLWAY_OPS_ADDRESS", value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:50052")]
    pub ops_address: String,
    /// How long a call may take with all its retries; streams may take longer
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs: one JSON document a line
    Json,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start everything here: nats-server, gateway, services, sandbox payment provider
    Up(UpArgs),
    /// Run one role against a given NATS
    Run(RunArgs),
    /// Place orders, read them, follow them
    #[command(subcommand)]
    Order(OrderVerb),
    /// Read and adjust what is in stock
    #[command(subcommand)]
    Stock(StockVerb),
    /// Show payments that are not settled, and settle what no rule can
    #[command(subcommand)]
    Payment(PaymentVerb),
    /// Verify and export the record of all events
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Say whether everything that must always hold does; exit 4 if not
    Check(CheckArgs),
    /// See and settle messages that could not be taken
    #[command(subcommand)]
    Dlq(DlqVerb),
    /// Show how work flows through every ledger, and change settings while it does
    Flow(FlowArgs),
    /// Hold work up: nothing new is begun, nothing is lost
    Pause(LeverArgs),
    /// Let work go on
    Resume(LeverArgs),
    /// Print and check the configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Place orders at a rate or so many at a time, and measure
    Load(LoadArgs),
    /// Measure what this machine can do, with a system of its own
    Bench(BenchArgs),
    /// Break what can break while orders keep coming, mend it, and show that nothing was lost
    Drill(DrillArgs),
    /// Say what is missing or wrong on this machine, and what to do about it
    Doctor(DoctorArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

/// `config ...`
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print the configuration in force, as TOML or JSON; secrets as ***
    Print {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// Say everything that is wrong with the configuration
    Check,
    /// Print the JSON Schema of the configuration file
    Schema,
}

/// `completions ...`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Reads the command line.
///
/// # Errors
/// The exit code, when there is nothing to run: help or the version was asked for and is printed, or the mistake is
/// told on standard error, as JSON where the arguments ask for JSON.
pub fn parse(arguments: Vec<OsString>) -> Result<Cli, Exit> {
    let error = match Cli::try_parse_from(&arguments) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    let is_asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if wants_json(&arguments) && !is_asked_for {
        let text = error.to_string();
        let message = text.trim().trim_start_matches("error: ").to_owned();
        return Err(Output::new(Format::Json, true).report(&Failure::usage(message)));
    }
    if let Err(closed) = error.print() {
        tracing::debug!(error = %closed, "nobody reads what the command line says");
    }
    Err(if is_asked_for { Exit::Well } else { Exit::Usage })
}

/// Whether the arguments, which do not parse, hold `--output json`.
fn wants_json(arguments: &[OsString]) -> bool {
    let is = |argument: &OsString, text: &str| argument.to_str() == Some(text);
    let is_joined = arguments.iter().any(|argument| is(argument, "--output=json"));
    is_joined || arguments.windows(2).any(|pair| is(&pair[0], "--output") && is(&pair[1], "json"))
}
