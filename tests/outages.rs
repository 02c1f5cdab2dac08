//! The provider goes away while orders keep coming, everything is killed meanwhile, and it comes back; and a person has
//! the last word where no rule can settle a payment.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use rustix::process::Signal;
use serde_json::Value;
use spillway_proto::pb::events::PaymentDeferred;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{ListOrderEventsRequest, waiting};
use spillway_sandbox::{Sandbox, SandboxConfig, Synchronous};
use support::calls::request;
use support::roles::Roles;
use support::{Options, PATIENCE, System, sums};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Calls a second that the operator allows while the backlog is worked off.
const DRAIN_RATE: u64 = 30;

/// Orders placed while the provider is down, before and after everything is killed.
const BEFORE: usize = 120;
const AFTER: usize = 30;

/// A provider of the test's own: it outlives what is killed.
struct Provider {
    url: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl Provider {
    async fn start() -> Provider {
        let folder = tempfile::tempdir().expect("a folder");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config =
            SandboxConfig { listen: any, admin: any, synchronous: Synchronous::Off, ..SandboxConfig::default() };
        let sandbox = Sandbox::bind(config, folder.path()).await.expect("the sandbox starts");
        let (url, stop) = (format!("http://{}", sandbox.addresses().api), CancellationToken::new());
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move { sandbox.run(stopped).await.expect("the sandbox runs") });
        Provider { url, stop, task, _folder: folder }
    }

    async fn mode(&self, change: &str) {
        let (status, body) = sums::post(&format!("{}/sandbox/mode", self.url), change).await;
        assert_eq!(status, 200, "{body}");
    }

    /// Every charge that moved money, in the order in which it did: (order, provider's name).
    async fn charges(&self) -> Vec<(String, String)> {
        let (status, body) = sums::get(&format!("{}/sandbox/ledger?format=jsonl&limit=1000000", self.url)).await;
        assert_eq!(status, 200, "{body}");
        let entries = body.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let charges = entries.filter(|entry| entry["effect"] == true && entry["kind"] == "charge");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        charges.map(|entry| (text(&entry["reference"]), text(&entry["object_id"]))).collect()
    }

    /// Requests in each second since then.
    async fn traffic_since(&self, second: u64) -> Vec<u64> {
        let (_, body) = sums::get(&format!("{}/sandbox/summary", self.url)).await;
        let summary: Value = serde_json::from_str(&body).expect("JSON");
        let seconds = summary["requests_per_second"].as_array().expect("seconds");
        let later = seconds.iter().filter(|entry| entry["second"].as_u64() >= Some(second));
        later.map(|entry| entry["requests"].as_u64().expect("a count")).collect()
    }

    /// Gives money back by hand, as a person does at the provider. Answers the provider's name for it.
    async fn refund_by_hand(&self, charge: &str, amount: i64) -> String {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let body = serde_json::json!({
            "charge_id": charge, "reference": "by-hand", "amount": amount, "currency": "EUR"
        });
        let request = http::Request::post(format!("{}/v1/refunds", self.url))
            .header("idempotency-key", "by-hand")
            .header("content-type", "application/json")
            .body(Full::from(body.to_string()))
            .expect("a request");
        let answer = client.request(request).await.expect("answered").into_body().collect().await.expect("a body");
        let refund: Value = serde_json::from_slice(&answer.to_bytes()).expect("JSON");
        refund["id"].as_str().unwrap_or_else(|| panic!("{refund}")).to_owned()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

fn options(provider: &Provider, more: &[&str]) -> Options {
    let mut arguments = vec!["--provider-url".to_owned(), provider.url.clone()];
    for set in more {
        arguments.extend(["--set".to_owned(), (*set).to_owned()]);
    }
    Options { arguments, ..Options::default() }
}

/// Places orders one after the other; their ids, and how long the slowest took to be accepted.
async fn place(system: &System, count: usize) -> (Vec<String>, Duration) {
    let (mut ids, mut slowest) = (Vec::new(), Duration::ZERO);
    for _ in 0..count {
        let began = Instant::now();
        let placed = system.orders().place_order(request("tea", 1, "pm_ok")).await;
        let answer = placed.unwrap_or_else(|refused| panic!("an outage of the provider refuses nobody: {refused:?}"));
        ids.push(answer.into_inner().order.expect("an order").order_id);
        slowest = slowest.max(began.elapsed());
    }
    (ids, slowest)
}

/// The outages that an order was told of, in its history.
async fn told(system: &System, order_id: &str) -> Vec<String> {
    let request = ListOrderEventsRequest { order_id: order_id.to_owned(), ..ListOrderEventsRequest::default() };
    let events = system.orders().list_order_events(request).await.expect("listed").into_inner().events;
    let deferred = events.into_iter().filter(|event| event.r#type == "spillway.payment.deferred.v1");
    deferred
        .map(|event| {
            let data = event.data.expect("a payload");
            PaymentDeferred::decode(data.value.as_slice()).expect("readable").outage_id
        })
        .collect()
}

/// Waits until each order says that it waits for its payment, and was told why.
async fn until_all_wait(system: &System, ids: &[String]) -> BTreeSet<String> {
    let mut outages = BTreeSet::new();
    for id in ids {
        let waits = async {
            let mut every = tokio::time::interval(Duration::from_millis(50));
            loop {
                every.tick().await;
                let told = told(system, id).await;
                if !told.is_empty() {
                    return told;
                }
            }
        };
        let told = tokio::time::timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("{id} says nothing"));
        assert_eq!(told.len(), 1, "{id} was told more than once");
        outages.extend(told);
        let waiting = system.get(id).await.expect("there").waiting.expect("it is pending");
        assert_eq!(waiting.kind(), waiting::Kind::Payment, "{waiting:?}");
        assert!(waiting.since.is_some() && !waiting.detail.is_empty(), "{waiting:?}");
    }
    outages
}

/// A figure of the payments ledger, read from its file.
fn count(system: &System, sql: &str) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let file = rusqlite::Connection::open_with_flags(system.ledger("payments-0"), flags).expect("the ledger's file");
    file.busy_timeout(Duration::from_secs(10)).expect("set");
    file.query_row(sql, [], |row| row.get(0)).expect("a figure")
}

/// What payments has counted since it was started.
async fn counters(system: &System) -> BTreeMap<String, f64> {
    let admin = system.admin("payments");
    let (status, body) = sums::get(&format!("http://{}/metrics", admin.trim_start_matches("http://"))).await;
    assert_eq!(status, 200, "{body}");
    let lines = body.lines().filter(|line| line.starts_with("spillway_p") && !line.contains("_bucket"));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

fn sum(counters: &BTreeMap<String, f64>, name: &str) -> f64 {
    counters.iter().filter(|(full, _)| full.starts_with(name)).map(|(_, value)| value).sum()
}

fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// How many orders were charged far from the place that their age gives them.
fn out_of_turn(placed: &[String], charges: &[(String, String)]) -> usize {
    let ranks: BTreeMap<&str, usize> = placed.iter().enumerate().map(|(rank, id)| (id.as_str(), rank)).collect();
    let charged = charges.iter().filter_map(|(order, _)| ranks.get(order.as_str()).copied());
    charged.enumerate().filter(|(at, rank)| at.abs_diff(*rank) > 20).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_holds_up_nobodys_order_survives_a_kill_and_its_backlog_drains_oldest_first() {
    let provider = Provider::start().await;
    let rate = format!("payments.drain_rate={DRAIN_RATE}");
    // A machine that is busy with other things may make an order wait for a second. What waits for its payment when the last
    // orders are placed has waited for longer than this.
    let patient = "gateway.admission.wait_ms=5000";
    let options = options(&provider, &["payments.breaker.open_ms=1000", "payments.workers=8", &rate, patient]);
    let mut system = System::start_with(options).await;
    system.add_stock("tea", 1_000).await;
    let (warm, well) = place(&system, 20).await;
    for id in &warm {
        assert_eq!(system.ended(id).await.state(), State::Confirmed);
    }

    provider.mode(r#"{"down": true}"#).await;
    let (mut placed, out) = place(&system, BEFORE).await;
    let outages = until_all_wait(&system, &placed).await;
    assert_eq!(outages.len(), 1, "one outage, one name: {outages:?}");
    // Eight were in hand or came into it until it opened; since then one call at a time probes.
    let tried = count(&system, "select count(*) from due where kind = 'charge' and attempt > 1");
    assert!((1..=60).contains(&tried), "{tried} of {BEFORE} spent a try");
    assert_eq!(count(&system, "select count(*) from payment where attempt <> 1"), 0);

    let told_before = sum(&counters(&system).await, "spillway_payments_deferred_total");
    system.kill().await;
    system.restart().await;
    let (more, after_kill) = place(&system, AFTER).await;
    placed.extend(more);
    assert_eq!(until_all_wait(&system, &placed).await, outages, "it is still the same outage");
    let (code, out_text, err) = system.verb(&["order", "explain", &placed[BEFORE]]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out_text.contains("provider"), "{out_text}");

    let back = now_s();
    provider.mode(r#"{"down": false}"#).await;
    let sums = system.sums_add_up(20 + BEFORE + AFTER).await;
    assert_eq!(sums.confirmed, 20 + BEFORE + AFTER);
    let traffic = provider.traffic_since(back).await;
    let most = traffic.iter().copied().max().unwrap_or(0);
    assert!(most <= DRAIN_RATE + 10, "{most} requests in a second: {traffic:?}");
    let charges = provider.charges().await;
    let strays = out_of_turn(&placed, &charges);
    // Those that were tried in vain wait a little longer for their turn, and the others move up; in any order it would
    // be three of four.
    assert!(strays <= 70, "{strays} of {} were charged out of turn", placed.len());

    let counted = counters(&system).await;
    let names = [
        "spillway_payments_deferred_total",
        "spillway_provider_breaker_openings_total",
        "spillway_provider_breaker_probes_total",
        "spillway_provider_breaker_rejections_total",
        "spillway_provider_calls_total",
    ];
    eprintln!(
        "slowest accept: well {well:?}, out {out:?}, after the kill {after_kill:?}; told before it {told_before}"
    );
    eprintln!("requests a second after it came back: {traffic:?}; out of turn: {strays}; {sums:?}");
    for name in names {
        eprintln!("{name} {}", sum(&counted, name));
        assert!(sum(&counted, name) > 0.0, "{name} stays 0: {counted:?}");
    }
    assert!(told_before >= BEFORE as f64, "{told_before}");
    system.stop().await;
    provider.stop().await;
}

/// The one parked payment that is listed, once there is one of this order.
async fn parked(system: &System, order_id: &str) -> Value {
    let listed = async {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        loop {
            every.tick().await;
            let (code, out, err) = system.verb(&["payment", "list", "--parked", "--output", "json"]).await;
            assert_eq!(code, 0, "{err}");
            let page: Value = serde_json::from_str(&out).expect("JSON");
            let payments = page["payments"].as_array().expect("payments").clone();
            if let Some(payment) = payments.into_iter().find(|payment| payment["orderId"] == order_id) {
                return payment;
            }
        }
    };
    tokio::time::timeout(PATIENCE, listed).await.unwrap_or_else(|_| panic!("{order_id} is not parked"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_settles_what_no_rule_can_and_never_against_the_providers_word() {
    let provider = Provider::start().await;
    let mut system = System::start_with(options(&provider, &[])).await;
    system.add_stock("tea", 10).await;
    let wrong = system.place(request("tea", 1, "pm_wrong_amount")).await.order_id;
    let payment = parked(&system, &wrong).await;
    assert_eq!((&payment["reason"], &payment["state"]), (&"WRONG_AMOUNT".into(), &"STATE_PARKED".into()), "{payment}");
    let charge = payment["providerReference"].as_str().expect("a name").to_owned();

    let settle = |how: &'static str, reference: String, id: &'static str| {
        let (system, wrong) = (&system, wrong.clone());
        async move {
            let mut all = vec!["payment", "settle", &wrong, "--as", how, "--reason", "seen", "--request-id", id];
            all.extend(["--output", "json"]);
            if !reference.is_empty() {
                all.extend(["--reference", &reference]);
            }
            system.verb(&all).await
        }
    };
    let first = "11111111-1111-4111-8111-111111111111";
    let (code, _, err) = settle("captured", charge.clone(), first).await;
    assert!(code == 1 && err.contains("PROVIDER_SAYS_OTHERWISE") && err.contains("1251"), "{code} {err}");
    let (code, _, err) = settle("absent", String::new(), first).await;
    assert!(code == 1 && err.contains("PROVIDER_SAYS_OTHERWISE") && err.contains(&charge), "{code} {err}");
    let (code, _, err) = settle("refunded", "re_nothing_1".to_owned(), first).await;
    assert!(code == 1 && err.contains("knows no refund"), "{code} {err}");
    let (code, _, err) = settle("refunded", "../charges".to_owned(), first).await;
    assert!(code == 2 && err.contains("provider_reference"), "{code} {err}");

    let refund = provider.refund_by_hand(&charge, 1251).await;
    let (code, out, err) = settle("refunded", refund.clone(), first).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("STATE_REFUNDED"), "{out}");
    let (code, again, err) = settle("refunded", refund.clone(), first).await;
    assert_eq!((code, again), (0, out), "the same request says the same: {err}");
    let (code, _, err) = settle("absent", String::new(), first).await;
    assert!(code == 1 && err.contains("REQUEST_ID_REUSED"), "{code} {err}");
    let (code, _, err) = settle("refunded", refund, "22222222-2222-4222-8222-222222222222").await;
    assert!(code == 1 && err.contains("PAYMENT_NOT_OPEN"), "{code} {err}");
    assert_eq!(system.ended(&wrong).await.state(), State::Rejected);

    // Never a valid request: nothing was charged, and a person says so.
    let invalid = system.place(request("tea", 1, "no_method")).await.order_id;
    assert_eq!(parked(&system, &invalid).await["reason"], "REJECTED");
    let told = ["payment", "settle", &invalid, "--as", "absent", "--reason", "the token is wrong"];
    let (code, _, err) = system.verb(&told).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(system.ended(&invalid).await.state(), State::Rejected);
    let item = system.settled_stock("tea").await;
    assert_eq!((item.available, item.sold), (10, 0));

    let (code, out, err) = system.verb(&["audit", "verify"]).await;
    assert_eq!(code, 0, "{out}{err}");
    let told = "select count(*) from outbox where instr(body, cast('spillway.payment.settled.v1' as blob)) > 0";
    assert_eq!(count(&system, told), 2, "each act is told once");
    let human = sum(&counters(&system).await, "spillway_payments_unknown_settled_total{");
    eprintln!("settled by a person: {human}");
    assert!(human >= 2.0);
    system.stop().await;
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_may_end_at_any_moment_of_a_call_and_charges_once() {
    let mut roles = Roles::start(&[]).await;
    roles.add_stock("tea", 10).await;
    let steps = ["intent_committed", "http_sent", "http_response", "before_result_commit"]
        .map(|step| format!("payments.{step}"));
    for step in &steps {
        roles.stop("payments").await;
        roles.begin_with("payments", &[("FAILPOINTS", format!("{step}=return(kill)"))]).await;
        let order = roles.place_retrying(request("tea", 1, "pm_ok")).await.expect("accepted");
        let ended = roles.ended_role("payments").await;
        assert_eq!(ended.signal, Some(Signal::KILL.as_raw()), "it did not end at {step}");
        roles.restart("payments").await;
        assert_eq!(roles.ended(&order.order_id).await.state(), State::Confirmed, "{step}");
    }
    let sums = roles.sums_add_up(steps.len()).await;
    assert_eq!(sums.confirmed, steps.len());
}
