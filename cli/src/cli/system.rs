//! The verbs that start something or measure it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

/// `up ...`
#[derive(Debug, Clone, Default, Args)]
pub struct UpArgs {
    /// The data folder [default: .spillway]
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    pub data: Option<PathBuf>,
    /// Keep data in a temporary folder that is removed at the end
    #[arg(long)]
    pub ephemeral: bool,
    /// The nats-server to run; else the one on PATH, in the cache, or fetched
    #[arg(long, value_name = "PATH", conflicts_with = "nats_url")]
    pub nats_server: Option<PathBuf>,
    /// Use the NATS that runs there, and start none
    #[arg(long, value_name = "URL")]
    pub nats_url: Option<String>,
    /// Never fetch a nats-server
    #[arg(long)]
    pub no_fetch: bool,
    /// Charge through the provider there, and start no sandbox
    #[arg(long, value_name = "URL")]
    pub provider_url: Option<String>,
    /// How many partitions; cannot change for a data folder
    #[arg(long, value_name = "N")]
    pub partitions: Option<u16>,
    /// Port for clients, gRPC; 0 takes a free one, here and below
    #[arg(long, value_name = "PORT")]
    pub grpc_port: Option<u16>,
    /// Port for operators, gRPC
    #[arg(long, value_name = "PORT")]
    pub ops_port: Option<u16>,
    /// Port for /health and /ready
    #[arg(long, value_name = "PORT")]
    pub admin_port: Option<u16>,
    /// Port of the sandbox provider's API
    #[arg(long, value_name = "PORT")]
    pub provider_port: Option<u16>,
    /// Port of the sandbox provider's /health and /ready
    #[arg(long, value_name = "PORT")]
    pub provider_admin_port: Option<u16>,
    /// Port of the nats-server for its clients
    #[arg(long, value_name = "PORT", conflicts_with = "nats_url")]
    pub nats_port: Option<u16>,
    /// Port of the nats-server's monitoring
    #[arg(long, value_name = "PORT", conflicts_with = "nats_url")]
    pub nats_monitoring_port: Option<u16>,
    /// Start Prometheus and Jaeger beside it, where they are on PATH, and show them everything
    #[arg(long)]
    pub telemetry: bool,
    /// Port of Prometheus
    #[arg(long, value_name = "PORT", requires = "telemetry")]
    pub prometheus_port: Option<u16>,
    /// Port where Jaeger shows traces
    #[arg(long, value_name = "PORT", requires = "telemetry")]
    pub jaeger_port: Option<u16>,
    /// Port where Jaeger takes traces, OTLP over gRPC
    #[arg(long, value_name = "PORT", requires = "telemetry")]
    pub otlp_port: Option<u16>,
}

/// What a process can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Role {
    /// gRPC in, accepted orders out
    Gateway,
    /// The life of each order
    Orders,
    /// Stock and holds
    Inventory,
    /// Charges and refunds
    Payments,
    /// Mail to customers
    Notifications,
    /// The hash-chained record of every event
    Audit,
    /// The sandbox payment provider
    Provider,
}

impl Role {
    /// The name on the command line, in logs and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Role::Gateway => "gateway",
            Role::Orders => "orders",
            Role::Inventory => "inventory",
            Role::Payments => "payments",
            Role::Notifications => "notifications",
            Role::Audit => "audit",
            Role::Provider => "provider",
        }
    }
}

/// `run ...`
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The role
    pub role: Role,
    /// The NATS to meet the others at
    #[arg(long, value_name = "URL")]
    pub nats_url: Option<String>,
    /// The data folder [default: .spillway]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How many partitions; the same for all roles
    #[arg(long, value_name = "N")]
    pub partitions: Option<u16>,
    /// Where to listen: of the gateway, for clients; of the provider, its API
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Where the gateway listens for operators
    #[arg(long, value_name = "ADDRESS")]
    pub ops_listen: Option<SocketAddr>,
    /// Where to answer /health and /ready
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
    /// The provider that payments charges through
    #[arg(long, value_name = "URL")]
    pub provider_url: Option<String>,
}

/// How `load` learns of the end of its orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Follow {
    /// From the events of orders, over NATS
    #[default]
    Events,
    /// By WatchOrder, order by order
    Watch,
    /// Not at all
    None,
}

/// What a client of `load` does that is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Retry {
    /// Gives up
    #[default]
    Never,
    /// Comes back when it was told to, five times at most
    Told,
    /// Comes back at once, twenty times at most, whatever it was told
    Naive,
}

/// `load ...`
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("pace").args(["rate", "in_flight"]).required(true))]
#[command(group = ArgGroup::new("until").args(["duration", "count"]).required(true))]
pub struct LoadArgs {
    /// Open loop: so many orders a second, whether or not answers come
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Closed loop: so many orders at a time, a new one when one ends
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: Option<u32>,
    /// Place orders for so long
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub duration: Option<u64>,
    /// Place so many orders
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Leave the first seconds out of the figures
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub warmup: u64,
    /// Lines of each order
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub lines: u32,
    /// Different SKUs to order from
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub skus: u32,
    /// The means of payment of every order
    #[arg(long, value_name = "TOKEN", default_value = "pm_ok")]
    pub payment_method: String,
    /// How the end of an order is learnt
    #[arg(long, value_name = "HOW", default_value = "events")]
    pub follow: Follow,
    /// The NATS where --follow events listens
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:14222")]
    pub nats_url: String,
    /// Write every call and its outcome there, for `check --history`
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// After --rate, so many orders a second for --then-duration: to see what the first rate has left behind
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), requires_all = ["rate", "then_duration"])]
    pub then_rate: Option<u32>,
    /// For how long
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), requires = "then_rate")]
    pub then_duration: Option<u64>,
    /// Customers that orders are spread over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub customers: u32,
    /// How many times as much as each of the others the first customer places
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub hot_customer: u32,
    /// What a client does that is refused
    #[arg(long, value_name = "HOW", default_value = "never")]
    pub retry: Retry,
    /// How long a client waits for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub deadline: u64,
    /// An order that is confirmed in this time counts as confirmed in time
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub within: u64,
    /// Threads of the load itself
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// gRPC connections
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
}

/// What `bench` measures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum BenchWhat {
    /// What is carried out, at rest and under load
    #[default]
    Throughput,
    /// What is left of it when 1, 2, 5 and 10 times as much comes: the system on one core, the load on another
    Surge,
    /// What logs, traces and scrapes of metrics take away of it
    Telemetry,
}

/// `bench ...`
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// What is measured
    #[arg(default_value = "throughput")]
    pub what: BenchWhat,
    /// Orders of each measurement
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub orders: Option<u64>,
    /// Numbers in flight to try, with commas between them
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub in_flight: Vec<u32>,
    /// A short run, whose figures are rough
    #[arg(long)]
    pub quick: bool,
}

/// `doctor ...`
#[derive(Debug, Clone, Default, Args)]
pub struct DoctorArgs {
    /// The admin port of a role that the configuration here does not name; can be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Vec<SocketAddr>,
}
