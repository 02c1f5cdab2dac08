//! The verbs that show how work flows, and hold it up.

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

/// What can be held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FlowName {
    /// Charges
    Payments,
    /// Refunds and compensations
    Refunds,
    /// Mails
    Notifications,
    /// New orders
    Intake,
}

impl FlowName {
    pub fn name(self) -> &'static str {
        match self {
            FlowName::Payments => "payments",
            FlowName::Refunds => "refunds",
            FlowName::Notifications => "notifications",
            FlowName::Intake => "intake",
        }
    }
}

/// What every act of an operator has.
#[derive(Debug, Clone, Args)]
pub struct ActArgs {
    /// Why, for the audit trail; customers of a paused intake are told
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who does it
    #[arg(long, value_name = "NAME", env = "USER", default_value = "", hide_env_values = true)]
    pub by: String,
    /// The request's id, the same for every try of the same act; made if not given
    #[arg(long, value_name = "UUID")]
    pub request_id: Option<Uuid>,
}

/// `pause ...`, `resume ...`
#[derive(Debug, Clone, Args)]
pub struct LeverArgs {
    /// What is held up or let go
    pub flow: FlowName,
    #[command(flatten)]
    pub act: ActArgs,
}

/// `flow ...`
#[derive(Debug, Clone, Args)]
pub struct FlowArgs {
    #[command(subcommand)]
    pub verb: Option<FlowVerb>,
}

/// What `flow` does; without one it shows.
#[derive(Debug, Clone, Subcommand)]
pub enum FlowVerb {
    /// Show every ledger: what waits, what lags, what is held up
    Get,
    /// Change a setting while everything runs
    Set {
        /// payments.drain_rate or log.level
        name: String,
        /// The new value; an empty one goes back to what the configuration says
        value: String,
        #[command(flatten)]
        act: ActArgs,
    },
}
