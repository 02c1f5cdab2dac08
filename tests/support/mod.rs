//! The system from outside: the binary that was just built, on free ports, in a folder of its own, ended by its id.
#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod calls;
pub mod fault;
pub mod heard;
pub mod lines;
pub mod metrics;
pub mod money;
pub mod otlp;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod roles;
pub mod shop;
pub mod shoppers;
pub mod stuck;
pub mod sums;
pub mod world;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use spillway_proto::pb::inventory::inventory_service_client::InventoryServiceClient;
use spillway_proto::pb::ops::audit_service_client::AuditServiceClient;
use spillway_proto::pb::ops::flow_service_client::FlowServiceClient;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use process::{Ended, Process};
use rustix::process::Signal;

/// Everything must come to its end within this, also on a slow day.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The binary that was just built.
pub fn spillway() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_spillway"))
}

/// A `spillway up` of its own.
pub struct System {
    process: Option<Process>,
    options: Options,
    folder: TempDir,
    /// What `up` printed when it was ready.
    pub place: Value,
}

/// How it is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub partitions: Option<u16>,
    /// A NATS that is there already, in place of one of its own.
    pub nats_url: Option<String>,
    /// Further arguments, such as `--set payments.workers=1`.
    pub arguments: Vec<String>,
    /// Further environment, such as `FAILPOINTS`.
    pub environment: Vec<(String, String)>,
}

impl Drop for System {
    /// A nats-server that `up` began goes a moment after it, and writes until then.
    fn drop(&mut self) {
        drop(self.process.take());
        let end = Instant::now() + process::GONE_WITHIN;
        while self.folder.path().exists() && Instant::now() < end {
            // What was just written in it is the only reason that it cannot be removed.
            drop(std::fs::remove_dir_all(self.folder.path()));
        }
    }
}

impl System {
    pub async fn start() -> System {
        System::start_with(Options::default()).await
    }

    /// For roles that run as processes of their own: a folder, and no address yet.
    pub fn without_process() -> System {
        let folder = tempfile::Builder::new().prefix("spillway-test-").tempdir().expect("a folder");
        System { process: None, options: Options::default(), folder, place: Value::Null }
    }

    pub async fn start_with(options: Options) -> System {
        let mut system = System::without_process();
        system.start_here(options).await;
        system
    }

    /// Starts `up` in the folder of this system.
    pub async fn start_here(&mut self, options: Options) {
        self.options = options;
        self.begin().await;
    }

    async fn begin(&mut self) {
        let mut arguments: Vec<String> = ["up", "--output", "json", "--data"].map(str::to_owned).to_vec();
        arguments.push(self.data().display().to_string());
        let ports = ["grpc", "ops", "admin", "provider", "provider-admin", "nats", "nats-monitoring"];
        let own_nats = self.options.nats_url.is_none();
        for flag in ports.into_iter().filter(|flag| own_nats || !flag.starts_with("nats")) {
            arguments.extend([format!("--{flag}-port"), "0".to_owned()]);
        }
        if let Some(url) = &self.options.nats_url {
            arguments.extend(["--nats-url".to_owned(), url.clone()]);
        }
        if let Some(partitions) = self.options.partitions {
            arguments.extend(["--partitions".to_owned(), partitions.to_string()]);
        }
        arguments.extend(self.options.arguments.iter().cloned());
        let mut process =
            Process::start_in(spillway(), &arguments, self.folder.path(), &self.options.environment).await;
        self.place = process.first_line_json().await;
        self.process = Some(process);
    }

    /// Everything of this test is in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What everything here has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default()
    }

    /// The data folder; stays over restarts.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn ledger(&self, name: &str) -> PathBuf {
        self.data().join("ledgers").join(format!("{name}.db"))
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Sends a signal to `up`.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    /// Waits until it has ended by itself, or by a signal that was sent.
    pub async fn ended_process(&mut self) -> Ended {
        self.process.take().expect("it runs").ended().await
    }

    /// kill -9, and gone.
    pub async fn kill(&mut self) {
        self.process.take().expect("it runs").kill().await;
    }

    /// SIGTERM, and drained. Answers what it printed at the end.
    pub async fn stop(&mut self) -> Value {
        self.process.take().expect("it runs").stop().await
    }

    /// Starts again on the same data.
    pub async fn restart(&mut self) {
        self.begin().await;
    }

    /// Starts again on the same data, with this further environment and no other.
    pub async fn restart_with(&mut self, environment: Vec<(String, String)>) {
        self.options.environment = environment;
        self.begin().await;
    }

    /// The address under a key of what `up` printed.
    pub fn address(&self, key: &str) -> String {
        self.place[key].as_str().unwrap_or_else(|| panic!("{key} in {}", self.place)).to_owned()
    }

    pub fn admin(&self, role: &str) -> String {
        self.place["admin"][role].as_str().unwrap_or_else(|| panic!("{role} in {}", self.place)).to_owned()
    }

    pub fn channel(&self) -> Channel {
        self.lazy("grpc")
    }

    fn lazy(&self, key: &str) -> Channel {
        let uri = format!("http://{}", self.address(key));
        Endpoint::from_shared(uri).expect("an address").timeout(PATIENCE).connect_lazy()
    }

    pub fn orders(&self) -> OrderServiceClient<Channel> {
        OrderServiceClient::new(self.channel())
    }

    pub fn inventory(&self) -> InventoryServiceClient<Channel> {
        InventoryServiceClient::new(self.channel())
    }

    pub fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.lazy("ops"))
    }

    pub fn flow(&self) -> FlowServiceClient<Channel> {
        FlowServiceClient::new(self.lazy("ops"))
    }

    /// Runs a verb against this system. Answers exit code, standard output and standard error.
    pub async fn verb(&self, arguments: &[&str]) -> (i32, String, String) {
        let gateway = format!("http://{}", self.address("grpc"));
        let ops = format!("http://{}", self.address("ops"));
        let mut all = vec!["--address", &gateway, "--ops-address", &ops];
        all.extend(arguments);
        process::output(spillway(), &all, self.folder.path()).await
    }
}
