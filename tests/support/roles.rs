//! Every role a process of its own, against one NATS: any of them can be killed and started again where it was.

use std::collections::BTreeMap;

use serde_json::Value;
use spillway_natsd::testing::TestServer;
use spillway_proto::pb::inventory::inventory_service_client::InventoryServiceClient;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use super::process::{self, Process};
use super::{PATIENCE, spillway, sums};

/// In the order in which they are started.
pub const ROLES: [&str; 7] = ["provider", "inventory", "payments", "orders", "notifications", "audit", "gateway"];

pub struct Roles {
    pub nats: TestServer,
    folder: TempDir,
    running: BTreeMap<&'static str, Process>,
    /// What each said at its start; kept, so that it listens there again.
    addresses: BTreeMap<&'static str, Value>,
    more: Vec<String>,
}

impl Roles {
    /// Starts all, each with these arguments too.
    pub async fn start(more: &[&str]) -> Roles {
        let mut roles = Roles {
            nats: TestServer::start().await,
            folder: tempfile::Builder::new().prefix("spillway-test-").tempdir().expect("a folder"),
            running: BTreeMap::new(),
            addresses: BTreeMap::new(),
            more: more.iter().map(|argument| (*argument).to_owned()).collect(),
        };
        for role in ROLES {
            roles.begin(role).await;
        }
        for role in ROLES.iter().filter(|role| **role != "provider") {
            roles.until_ready(role).await;
        }
        roles
    }

    /// Starts a role, where it listened before or on free ports.
    pub async fn begin(&mut self, role: &'static str) {
        let before = self.addresses.get(role);
        let at = |name: &str| {
            let known = before.and_then(|before| before[name].as_str());
            known.unwrap_or("127.0.0.1:0").trim_start_matches("http://").to_owned()
        };
        let data = self.folder.path().join("data").display().to_string();
        let mut arguments =
            vec!["run", role, "--output", "json", "--data", &data].into_iter().map(str::to_owned).collect();
        let mut set = |flag: &str, value: String| Vec::extend(&mut arguments, [flag.to_owned(), value]);
        set("--admin", at("admin"));
        match role {
            "provider" => set("--listen", at("provider")),
            "gateway" => {
                set("--listen", at("grpc"));
                set("--ops-listen", at("ops"));
            }
            "payments" => set("--provider-url", self.address("provider", "provider")),
            _ => {}
        }
        if role != "provider" {
            set("--nats-url", self.nats.client_url());
        }
        arguments.extend(self.more.iter().cloned());
        let mut process = Process::start(spillway(), &arguments, self.folder.path()).await;
        let said = process.first_line_json().await;
        self.addresses.insert(role, said["addresses"].clone());
        self.running.insert(role, process);
    }

    /// kill -9, and gone.
    pub async fn kill(&mut self, role: &str) {
        self.running.remove(role).unwrap_or_else(|| panic!("{role} runs")).kill().await;
    }

    pub async fn until_ready(&self, role: &str) {
        let url = format!("http://{}/ready", self.address(role, "admin"));
        let mut every = tokio::time::interval(std::time::Duration::from_millis(50));
        let asked = async {
            while sums::get(&url).await.0 != 200 {
                every.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{role} is not ready"));
    }

    pub fn address(&self, role: &str, name: &str) -> String {
        let said = &self.addresses[role];
        said[name].as_str().unwrap_or_else(|| panic!("{name} in {said}")).to_owned()
    }

    fn channel(&self) -> Channel {
        let uri = format!("http://{}", self.address("gateway", "grpc"));
        Endpoint::from_shared(uri).expect("an address").timeout(PATIENCE).connect_lazy()
    }

    pub fn orders(&self) -> OrderServiceClient<Channel> {
        OrderServiceClient::new(self.channel())
    }

    pub fn inventory(&self) -> InventoryServiceClient<Channel> {
        InventoryServiceClient::new(self.channel())
    }

    /// Runs a verb against them. Answers exit code, standard output and standard error.
    pub async fn verb(&self, arguments: &[&str]) -> (i32, String, String) {
        let gateway = format!("http://{}", self.address("gateway", "grpc"));
        let ops = format!("http://{}", self.address("gateway", "ops"));
        let mut all = vec!["--address", &gateway, "--ops-address", &ops];
        all.extend(arguments);
        process::output(spillway(), &all, self.folder.path()).await
    }
}
