//! The verbs that call the gateway.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use uuid::Uuid;

use crate::order::line::{Label, Line};

/// `order ...`
#[derive(Debug, Subcommand)]
pub enum OrderVerb {
    /// Place an order
    Place(Box<PlaceArgs>),
    /// Show an order as it is now
    Get {
        /// The order
        order_id: String,
    },
    /// List orders, newest first
    List(ListOrdersArgs),
    /// Follow an order to its end
    Watch(WatchArgs),
    /// Say what an order waits for, what happens next and when, and what can be done about it
    Explain {
        /// The order
        order_id: String,
    },
    /// Show everything that happened to an order
    Events {
        /// The order
        order_id: String,
    },
    /// Show where an order's time went: its spans as a tree, from the ledgers' own record
    Trace {
        /// The order
        order_id: String,
    },
}

/// `order place ...`
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The shop's name for the customer
    #[arg(long, value_name = "ID", required_unless_present = "json")]
    pub customer: Option<String>,
    /// What is ordered, such as pen=3@1.50: SKU, units, price of one unit; can be repeated
    #[arg(long = "line", value_name = "SKU=QTY@PRICE", required_unless_present = "json")]
    pub lines: Vec<Line>,
    /// The currency of the prices, ISO 4217
    #[arg(long, value_name = "CODE", default_value = "EUR")]
    pub currency: String,
    /// The provider's token for the customer's means of payment; the sandbox takes pm_ok, pm_declined and others
    #[arg(long, value_name = "TOKEN", required_unless_present = "json")]
    pub payment_method: Option<String>,
    /// Where the customer hears of the order
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// A label; can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Label>,
    /// Take the whole request from a file, or - for standard input: a PlaceOrderRequest in ProtoJSON
    #[arg(long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["customer", "lines", "currency", "payment_method", "email", "labels"])]
    pub json: Option<PathBuf>,
    /// The request's id, the same for every try of the same order; made if not given
    #[arg(long, value_name = "UUID")]
    pub request_id: Option<Uuid>,
    /// Only check the request
    #[arg(long, conflicts_with = "wait")]
    pub validate_only: bool,
    /// Follow the order to its end; exit 1 if it is not confirmed
    #[arg(long)]
    pub wait: bool,
}

/// `order list ...`
#[derive(Debug, Args)]
pub struct ListOrdersArgs {
    /// Only orders of this customer
    #[arg(long, value_name = "ID", default_value = "")]
    pub customer: String,
    /// Only orders in this state
    #[arg(long)]
    pub state: Option<State>,
    /// Only orders accepted at or after this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    pub created_from: Option<Timestamp>,
    /// Only orders accepted before this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    pub created_before: Option<Timestamp>,
    #[command(flatten)]
    pub page: Page,
}

/// How an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    Pending,
    Confirmed,
    Rejected,
    Cancelled,
    Refunded,
}

/// Which part of a list.
#[derive(Debug, Clone, Args)]
pub struct Page {
    /// At most so many on a page; 0 leaves it to the server
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub page_size: i32,
    /// Where the last page ended
    #[arg(long, value_name = "TOKEN", default_value = "")]
    pub page_token: String,
    /// All pages, as they come
    #[arg(long)]
    pub all: bool,
}

/// `order watch ...`
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The order
    pub order_id: String,
    /// Go on after this version of the order; 0 replays everything
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(i64).range(0..))]
    pub cursor: i64,
}

/// `stock ...`
#[derive(Debug, Subcommand)]
pub enum StockVerb {
    /// Add units, or take them away
    Adjust {
        /// The shop's article number
        sku: String,
        /// Units to add, or to take away where negative
        #[arg(allow_negative_numbers = true)]
        delta: i64,
        /// Why, for the audit trail
        #[arg(long, default_value = "")]
        reason: String,
        /// The request's id, the same for every try of the same adjustment; made if not given
        #[arg(long, value_name = "UUID")]
        request_id: Option<Uuid>,
    },
    /// Show one SKU
    Get {
        /// The shop's article number
        sku: String,
    },
    /// List SKUs by name
    List {
        /// Only SKUs that begin so
        #[arg(long, value_name = "TEXT", default_value = "")]
        prefix: String,
        #[command(flatten)]
        page: Page,
    },
}

/// `audit ...`
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Recompute the chains; exit 4 if one is broken
    Verify(VerifyArgs),
    /// Write every entry as JSON Lines, with all that it takes to verify the chains elsewhere
    Export(ExportArgs),
}

/// `audit verify ...`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// An export to verify here, or - for standard input, in place of asking a running system
    pub file: Option<PathBuf>,
}

/// `audit export ...`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Where to write; without it, standard output
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Only this partition
    #[arg(long, value_name = "N")]
    pub partition: Option<u32>,
}
