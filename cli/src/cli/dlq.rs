//! The verbs about messages that could not be taken.

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use super::Page;

/// `dlq ...`
#[derive(Debug, Subcommand)]
pub enum DlqVerb {
    /// List what could not be taken: what is wrong alike together, or one group's messages
    List(DlqListArgs),
    /// Show one message, decoded where it can be
    Show {
        /// The dead letter
        id: Uuid,
    },
    /// Hand messages in again, each like an event that arrives late; exit 1 if one still cannot be taken
    Redrive(RedriveArgs),
    /// Put messages away for good; nothing is deleted
    Discard(DiscardArgs),
}

/// `dlq list ...`
#[derive(Debug, Args)]
pub struct DlqListArgs {
    /// Only of this ledger, such as orders
    #[arg(long, value_name = "LEDGER", default_value = "")]
    pub ledger: String,
    /// The messages of this group
    #[arg(long, value_name = "FINGERPRINT", default_value = "")]
    pub fingerprint: String,
    /// The messages about this, such as order/<id>
    #[arg(long, value_name = "SUBJECT", default_value = "")]
    pub subject: String,
    /// Only in this state
    #[arg(long, default_value = "dead")]
    pub state: LetterState,
    #[command(flatten)]
    pub page: Page,
}

/// What became of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LetterState {
    Dead,
    Redriven,
    Resolved,
    Discarded,
}

/// Why a message is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LetterCause {
    Undecodable,
    Newer,
    Panic,
    Constraint,
    Unnumbered,
    Crash,
}

/// `dlq redrive ...`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").args(["ids", "fingerprint", "all_of_cause"]).required(true).multiple(true))]
pub struct RedriveArgs {
    /// These dead letters
    pub ids: Vec<Uuid>,
    /// All of this group
    #[arg(long, value_name = "FINGERPRINT", default_value = "")]
    pub fingerprint: String,
    /// All of this cause
    #[arg(long, value_name = "CAUSE")]
    pub all_of_cause: Option<LetterCause>,
    /// Only of this ledger
    #[arg(long, value_name = "LEDGER", default_value = "")]
    pub ledger: String,
    /// Only say which they are
    #[arg(long)]
    pub dry_run: bool,
    /// At most so many a second
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub rate: i32,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT", default_value = "", required_unless_present = "dry_run")]
    pub reason: String,
}

/// `dlq discard ...`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").args(["ids", "fingerprint"]).required(true).multiple(true))]
pub struct DiscardArgs {
    /// These dead letters
    pub ids: Vec<Uuid>,
    /// All of this group
    #[arg(long, value_name = "FINGERPRINT", default_value = "")]
    pub fingerprint: String,
    /// Only of this ledger
    #[arg(long, value_name = "LEDGER", default_value = "")]
    pub ledger: String,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}
