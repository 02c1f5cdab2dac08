//! A real sandbox on free ports, and a real HTTP client.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use spillway_sandbox::{Addresses, RunError, Sandbox, SandboxConfig};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Far beyond anything a test waits for.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Running {
    pub addresses: Addresses,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Told {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn error_code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn is_replay(&self) -> bool {
        self.headers.contains_key("idempotent-replayed")
    }
}

pub fn config() -> SandboxConfig {
    SandboxConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        ..SandboxConfig::default()
    }
}

pub async fn start() -> (Running, TempDir) {
    start_with(config()).await
}

pub async fn start_with(config: SandboxConfig) -> (Running, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    (start_in(folder.path(), config).await, folder)
}

pub async fn start_in(folder: &Path, config: SandboxConfig) -> Running {
    let sandbox = Sandbox::bind(config, folder).await.expect("the sandbox starts");
    let addresses = sandbox.addresses();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move { sandbox.run(stopped.cancelled_owned()).await });
    let client = Client::builder(TokioExecutor::new()).build_http();
    Running { addresses, client, stop, task }
}

impl Running {
    pub async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await.expect("it stops in time");
        ended.expect("it does not panic").expect("its ledger did not fail");
    }

    /// Ends it without a word, as a crash would.
    pub async fn abort(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()));
    }

    /// The answer, or none when the connection was cut.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Option<Told> {
        let answer = async {
            let (head, body) = self.client.request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            let text = String::from_utf8(body.to_vec()).expect("answers are UTF-8");
            Some(Told { status: head.status, headers: head.headers, text })
        };
        tokio::time::timeout(DEADLINE, answer).await.expect("an answer or a cut in time")
    }

    pub fn request(&self, method: Method, path: &str, key: Option<&str>, body: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.addresses.api));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a valid request")
    }

    pub async fn get(&self, path: &str) -> Told {
        let request = self.request(Method::GET, path, None, "");
        self.send(request).await.unwrap_or_else(|| panic!("no answer to GET {path}"))
    }

    pub async fn admin(&self, path: &str) -> Told {
        let uri = format!("http://{}{path}", self.addresses.admin);
        let request = Request::get(uri).body(Full::default()).expect("a valid request");
        self.send(request).await.expect("the admin listener answers")
    }

    /// A charge of 1,000 euro cents for the reference `order-<key>`.
    pub async fn try_charge(&self, key: &str, method: &str) -> Option<Told> {
        self.send(self.charge_request(key, method)).await
    }

    pub async fn charge(&self, key: &str, method: &str) -> Told {
        self.try_charge(key, method).await.unwrap_or_else(|| panic!("no answer to {key} {method}"))
    }

    pub fn charge_request(&self, key: &str, method: &str) -> Request<Full<Bytes>> {
        self.request(Method::POST, "/v1/charges", Some(key), &charge_of(key, method).to_string())
    }

    pub async fn refund(&self, key: &str, charge_id: &str, amount: i64) -> Told {
        let body = json!({
            "charge_id": charge_id, "reference": format!("order-{key}"), "amount": amount, "currency": "EUR"
        });
        let request = self.request(Method::POST, "/v1/refunds", Some(key), &body.to_string());
        self.send(request).await.expect("an answer to a refund")
    }

    /// The charges that a lookup finds for the reference of this key.
    pub async fn found(&self, key: &str) -> Vec<Value> {
        let list = self.get(&format!("/v1/charges?reference=order-{key}")).await.json();
        list["data"].as_array().expect("a list").clone()
    }

    pub async fn set_mode(&self, changes: Value) -> Told {
        let request = self.request(Method::POST, "/sandbox/mode", None, &changes.to_string());
        let told = self.send(request).await.expect("/sandbox/mode is always answered");
        assert_eq!(told.status, StatusCode::OK, "{}", told.text);
        told
    }

    /// Requests to `/v1/*` that the provider counted in the last ten minutes.
    pub async fn requests_counted(&self) -> i64 {
        let summary = self.get("/sandbox/summary").await.json();
        let seconds = summary["requests_per_second"].as_array().expect("a list");
        seconds.iter().map(|second| second["requests"].as_i64().expect("a count")).sum()
    }

    /// All attempts with this key.
    pub async fn attempts(&self, key: &str) -> Vec<Value> {
        let mut all = self.ledger().await;
        all.retain(|entry| entry["idempotency_key"] == key);
        all
    }

    pub async fn ledger(&self) -> Vec<Value> {
        let lines = self.get("/sandbox/ledger?format=jsonl").await.text;
        lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

pub fn charge_of(key: &str, method: &str) -> Value {
    json!({
        "reference": format!("order-{key}"), "amount": 1000, "currency": "EUR", "payment_method": method
    })
}

/// The charges and refunds in this list that moved money.
pub fn effects(attempts: &[Value]) -> usize {
    attempts.iter().filter(|attempt| attempt["effect"] == true).count()
}

/// Asks again until it holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let asked = async {
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        while !holds().await {
            pause.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("never: {what}"));
}
