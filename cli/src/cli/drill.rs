//! The flags of `drill`.

use std::path::PathBuf;

use clap::Args;

use super::Role;

/// `drill ...`
#[derive(Debug, Clone, Args)]
pub struct DrillArgs {
    /// Drill the system that runs at --address, and not one of the drill's own; only with the sandbox provider
    #[arg(long, requires = "yes")]
    pub running: bool,
    /// Do all that to the system that runs
    #[arg(long)]
    pub yes: bool,
    /// How long orders keep coming; all that is broken is mended within four fifths of it
    #[arg(long, value_name = "SECONDS", default_value_t = 40, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub duration: u64,
    /// Orders a second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// What is chosen by chance follows from it; printed where it is not given
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The role to kill, in place of one that is chosen by chance; can be repeated
    #[arg(long, value_name = "ROLE")]
    pub kill: Vec<Role>,
    /// How long to wait for all orders to be done, once no more come
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub settle: u64,
    /// Keep what the clients asked for and were told, for `check --history`
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Keep the drill's own installation and its logs there
    #[arg(long, value_name = "DIR", conflicts_with = "running")]
    pub data: Option<PathBuf>,
    /// The nats-server to run; else the one on PATH, in the cache, or fetched
    #[arg(long, value_name = "PATH", conflicts_with = "running")]
    pub nats_server: Option<PathBuf>,
    /// Never fetch a nats-server
    #[arg(long, conflicts_with = "running")]
    pub no_fetch: bool,
    /// With --running: the NATS that the roles meet at
    #[arg(long, value_name = "URL", requires = "running")]
    pub nats_url: Option<String>,
    /// With --running: the sandbox provider
    #[arg(long, value_name = "URL", requires = "running")]
    pub provider_url: Option<String>,
}
