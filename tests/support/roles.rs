//! Every role a process of its own, against one NATS: each can be killed, frozen, stopped and started again alone. It
//! comes back on the same ports.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream;
use futures::TryStreamExt;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use spillway_natsd::testing::TestServer;

use super::process::{self, Ended, Process};
use super::{PATIENCE, System, spillway, sums};

/// In the order in which they start.
pub const ROLES: [&str; 6] = ["audit", "notifications", "orders", "payments", "inventory", "gateway"];

/// What is added to the environment of a role.
type Environment = Box<dyn Fn(&System, &str) -> Vec<(String, String)> + Send + Sync>;

/// A system of processes. What can be asked of an `up` can be asked of it: see [`System`].
pub struct Roles {
    /// First: what they write to goes after them.
    processes: BTreeMap<&'static str, Process>,
    pub nats: TestServer,
    pub system: System,
    /// What each listens on.
    addresses: BTreeMap<&'static str, Value>,
    more: Vec<String>,
    /// The environment of a role, whenever it starts.
    environment: Environment,
}

impl std::ops::Deref for Roles {
    type Target = System;

    fn deref(&self) -> &System {
        &self.system
    }
}

impl Roles {
    /// All roles and the provider, ready, each with these arguments too.
    pub async fn start(more: &[&str]) -> Roles {
        Roles::start_under(more, |_, _| vec![]).await
    }

    /// Each in the environment that is its own.
    pub async fn start_under(
        more: &[&str],
        environment: impl Fn(&System, &str) -> Vec<(String, String)> + Send + Sync + 'static,
    ) -> Roles {
        let mut all = Roles {
            nats: TestServer::start().await,
            system: System::without_process(),
            processes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            more: more.iter().map(|argument| (*argument).to_owned()).collect(),
            environment: Box::new(environment),
        };
        all.system.place = json!({ "admin": {}, "nats": all.nats.client_url() });
        all.begin("provider").await;
        for role in ROLES {
            all.begin(role).await;
        }
        for role in ROLES {
            all.until_ready(role).await;
        }
        all
    }

    /// Starts a role that does not run, where it listened before or on free ports.
    pub async fn begin(&mut self, role: &'static str) {
        self.begin_with(role, &[]).await;
    }

    /// With further environment, such as `FAILPOINTS`.
    pub async fn begin_with(&mut self, role: &'static str, environment: &[(&str, String)]) {
        let arguments = self.arguments(role, self.addresses.get(role));
        let mut all = (self.environment)(&self.system, role);
        all.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let mut process = Process::start_in(spillway(), &arguments, self.system.folder(), &all).await;
        let said = process.first_line_json().await;
        let at = said["addresses"].clone();
        for key in ["grpc", "ops", "provider"] {
            if at.get(key).is_some() {
                self.system.place[key] = at[key].clone();
            }
        }
        self.system.place["admin"][role] = at["admin"].clone();
        self.addresses.insert(role, at);
        self.processes.insert(role, process);
    }

    /// Where it was before, and for as long as `FAILPOINTS` let it live: perhaps not until it is ready.
    pub async fn begin_doomed(&mut self, role: &'static str, failpoints: String) {
        let arguments = self.arguments(role, self.addresses.get(role));
        let mut all = (self.environment)(&self.system, role);
        all.push(("FAILPOINTS".to_owned(), failpoints));
        let process = Process::start_in(spillway(), &arguments, self.system.folder(), &all).await;
        self.processes.insert(role, process);
    }

    /// A second process of a role that runs, on ports of its own: exit code and standard error.
    pub async fn another(&self, role: &'static str) -> (i32, String) {
        let arguments = self.arguments(role, None);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, _, err) = process::output(spillway(), &arguments, self.system.folder()).await;
        (code, err)
    }

    fn arguments(&self, role: &'static str, at: Option<&Value>) -> Vec<String> {
        let known = |key: &str| match at {
            Some(at) => at[key].as_str().expect("an address").trim_start_matches("http://").to_owned(),
            None => "127.0.0.1:0".to_owned(),
        };
        let mut arguments = vec!["run".to_owned(), role.to_owned()];
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        add("--output", "json".to_owned());
        add("--data", self.system.data().display().to_string());
        add("--admin", known("admin"));
        match role {
            "provider" => add("--listen", known("provider")),
            "gateway" => {
                add("--listen", known("grpc"));
                add("--ops-listen", known("ops"));
            }
            _ => {}
        }
        if role == "payments" {
            add("--provider-url", self.system.address("provider"));
        }
        if role != "provider" {
            add("--nats-url", self.nats.client_url());
        }
        arguments.extend(self.more.iter().cloned());
        arguments
    }

    /// Hands out the process of a role, to be waited for while the system is asked other things.
    pub fn release(&mut self, role: &str) -> Process {
        self.processes.remove(role).unwrap_or_else(|| panic!("{role} does not run"))
    }

    /// Takes it back.
    pub fn take_back(&mut self, role: &'static str, process: Process) {
        self.processes.insert(role, process);
    }

    pub fn process(&mut self, role: &str) -> &mut Process {
        self.processes.get_mut(role).unwrap_or_else(|| panic!("{role} does not run"))
    }

    pub fn pid(&self, role: &str) -> Pid {
        let id = self.processes.get(role).unwrap_or_else(|| panic!("{role} does not run")).id();
        Pid::from_raw(i32::try_from(id).expect("an id")).expect("an id")
    }

    pub fn signal(&mut self, role: &str, signal: Signal) {
        self.process(role).signal(signal);
    }

    /// Waits until a role has ended, by itself or by a signal.
    pub async fn ended_role(&mut self, role: &str) -> Ended {
        self.processes.remove(role).unwrap_or_else(|| panic!("{role} does not run")).ended().await
    }

    pub async fn kill(&mut self, role: &str) {
        self.processes.remove(role).unwrap_or_else(|| panic!("{role} does not run")).kill().await;
    }

    /// Asks a role to end, and waits until it has.
    pub async fn stop(&mut self, role: &str) -> Ended {
        self.signal(role, Signal::TERM);
        self.ended_role(role).await
    }

    /// Starts a role that has ended, as it was started first, and waits until it is ready.
    pub async fn restart(&mut self, role: &'static str) {
        self.begin(role).await;
        self.until_ready(role).await;
    }

    /// `/ready` of a role: its status, 0 where nobody answers.
    pub async fn readiness(&self, role: &str) -> (u16, Value) {
        let address = self.system.admin(role);
        if std::net::TcpStream::connect(&address).is_err() {
            return (0, Value::Null);
        }
        let (status, body) = sums::get(&format!("http://{address}/ready")).await;
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    pub async fn until_ready(&self, role: &str) {
        self.until_readiness(role, 200).await;
    }

    /// Waits until `/ready` of a role answers with this status.
    pub async fn until_readiness(&self, role: &str, wanted: u16) {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        let asked = async {
            loop {
                every.tick().await;
                if self.readiness(role).await.0 == wanted {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{role} is never {wanted}"));
    }

    /// Deliveries of messages that had been delivered before, over all consumers of all streams.
    pub async fn redeliveries(&self) -> u64 {
        self.redeliveries_to("").await
    }

    /// The same, to one role alone.
    pub async fn redeliveries_to(&self, role: &str) -> u64 {
        let client = async_nats::connect(self.nats.client_url()).await.expect("connects");
        let context = jetstream::new(client);
        let mut again = 0;
        let mut names = context.stream_names();
        while let Some(name) = names.try_next().await.expect("listed") {
            let stream = context.get_stream(&name).await.expect("there");
            let mut consumers = stream.consumers();
            while let Some(consumer) = consumers.try_next().await.expect("listed") {
                if !consumer.name.starts_with(role) {
                    continue;
                }
                again += consumer.delivered.consumer_sequence.saturating_sub(consumer.delivered.stream_sequence);
            }
        }
        again
    }
}
