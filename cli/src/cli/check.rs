//! The flags of `check`.

use std::path::PathBuf;

use clap::Args;

use crate::check::Part;

/// `check ...`
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The data folder of a stopped system, in place of asking a running one
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// What the clients asked for and were told, as `load --history` writes it
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// The NATS to ask at; with --data, the one whose streams are read
    #[arg(long, value_name = "URL")]
    pub nats_url: Option<String>,
    /// The sandbox provider, whose ledger is the truth about money
    #[arg(long, value_name = "URL")]
    pub provider_url: Option<String>,
    /// The folder of mails
    #[arg(long, value_name = "DIR")]
    pub mail: Option<PathBuf>,
    /// What not to look at; can be repeated
    #[arg(long, value_name = "PART")]
    pub without: Vec<Part>,
    /// From this age on an undecided order that waits for nothing is stuck
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub stuck_after: u64,
    /// How many rows of each violation to tell
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub rows: usize,
}
