//! `payment ...`

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use super::Page;

/// `payment ...`
#[derive(Debug, Subcommand)]
pub enum PaymentVerb {
    /// List payments that are not settled; with several filters, what one of them means
    List(PaymentListArgs),
    /// Say what became of a payment that no rule could settle; the provider is asked first, and its word stands
    Settle(SettleArgs),
}

/// `payment list ...`
#[derive(Debug, Args)]
pub struct PaymentListArgs {
    /// Those of which it is not known whether a call was carried out
    #[arg(long)]
    pub unknown: bool,
    /// Those that a human must settle
    #[arg(long)]
    pub parked: bool,
    /// Those of orders that are over, while money is or may be ours
    #[arg(long)]
    pub open: bool,
    #[command(flatten)]
    pub page: Page,
}

/// `payment settle ...`
#[derive(Debug, Args)]
pub struct SettleArgs {
    /// The order
    pub order_id: String,
    /// What became of its payment
    #[arg(long = "as", value_name = "WHAT")]
    pub settle_as: SettleAs,
    /// The provider's name for the charge (captured) or the refund (refunded)
    #[arg(long, value_name = "NAME", default_value = "")]
    #[arg(required_if_eq_any([("settle_as", "captured"), ("settle_as", "refunded")]))]
    pub reference: String,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The request's id, the same for every try of the same settlement; made if not given
    #[arg(long, value_name = "UUID")]
    pub request_id: Option<Uuid>,
}

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SettleAs {
    /// The charge was carried out, and the money is ours
    Captured,
    /// It was never carried out; a parked refund is tried anew
    Absent,
    /// The charge was carried out, and its money went back
    Refunded,
}
