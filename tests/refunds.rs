//! A charge that turns up after its order was rejected goes back, once, at whatever moment payments ends meanwhile.

mod support;

use std::time::Duration;

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use spillway_proto::pb::orders::order::State;
use support::calls::request;
use support::roles::Roles;
use support::{PATIENCE, sums};

/// The moments of a refund.
const STEPS: [&str; 3] = ["refunds.intent_committed", "refunds.http_response", "refunds.before_result_commit"];

/// The provider forgets keys soon, and what it does not know was not carried out soon.
const SET: [&str; 6] = [
    "payments.provider.timeout_ms=600",
    "payments.provider.in_flight_s=1",
    "payments.provider.key_window_s=3",
    "payments.retry.unknown.base_ms=50",
    "payments.retry.unknown.max_ms=200",
    "payments.breaker.failures=1000",
];

async fn mode(all: &Roles, change: &str) {
    let (status, body) = sums::post(&format!("{}/sandbox/mode", all.address("provider")), change).await;
    assert_eq!(status, 200, "{body}");
}

fn payments(all: &Roles) -> Connection {
    let file = Connection::open(all.ledger("payments-0")).expect("the ledger's file");
    file.busy_timeout(PATIENCE).expect("set");
    file
}

/// Waits until the payment of an order is in this state.
async fn until(all: &Roles, order_id: &str, state: &str) {
    let id = uuid::Uuid::parse_str(order_id).expect("an id");
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let sql = "select state from payment where order_id = ?1";
    let reached = async {
        loop {
            every.tick().await;
            let found = payments(all).query_row(sql, [&id.as_bytes()[..]], |row| row.get::<_, String>(0));
            if found.is_ok_and(|found| found == state) {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, reached).await.is_ok();
    assert!(in_time, "the payment of {order_id} is never {state}\n{}", all.what_is_stuck().await);
}

/// An order that was rejected, since nobody could find its charge, which was carried out.
async fn rejected_and_charged(all: &Roles) -> String {
    mode(all, r#"{"black_hole_after": true, "lookup_lag_ms": 3600000}"#).await;
    let order = all.place_retrying(request("tea", 1, "pm_ok")).await.expect("accepted").order_id;
    until(all, &order, "PARKED").await;
    let mut every = tokio::time::interval(Duration::from_millis(100));
    let settle = ["payment", "settle", &order, "--as", "absent", "--reason", "the provider knows of none"];
    let settled = async {
        // A lookup that takes too long proves nothing, and is asked for again.
        while all.verb(&settle).await.0 != 0 {
            every.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("a human settles it");
    assert_eq!(all.ended(&order).await.state(), State::Rejected);
    mode(all, r#"{"black_hole_after": null, "lookup_lag_ms": null}"#).await;
    order
}

/// What moved for an order: its charges, and what went back of them.
async fn moved(all: &Roles, order_id: &str) -> (Vec<i64>, Vec<i64>) {
    let url = format!("{}/sandbox/ledger?format=jsonl&limit=1000000", all.address("provider"));
    let (status, body) = sums::get(&url).await;
    assert_eq!(status, 200, "{body}");
    let entries: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let of = |kind: &str, is_meant: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        let effects = entries.iter().filter(|entry| entry["effect"] == true && entry["kind"] == kind);
        effects.filter(|entry| is_meant(entry)).cloned().collect()
    };
    let charges = of("charge", &|entry| entry["reference"] == order_id);
    let refunds = of("refund", &|entry| charges.iter().any(|charge| charge["object_id"] == entry["charge_id"]));
    let amounts = |entries: &[Value]| entries.iter().map(|entry| entry["amount"].as_i64().expect("cents")).collect();
    (amounts(&charges), amounts(&refunds))
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_may_end_at_any_moment_of_a_refund_and_gives_back_once() {
    let settings: Vec<&str> = SET.iter().flat_map(|set| ["--set", set]).collect();
    let mut all = Roles::start(&settings).await;
    all.add_stock("tea", 10).await;
    for step in STEPS {
        let order = rejected_and_charged(&all).await;
        all.stop("payments").await;
        // What was absent is looked up again after an hour: now.
        let hour = "update due set due_us = 0 where kind = 'charge'";
        assert_eq!(payments(&all).execute(hour, []).expect("written"), 1);
        all.begin_doomed("payments", format!("{step}=return(kill)")).await;
        let ended = all.ended_role("payments").await;
        assert_eq!(ended.signal, Some(Signal::KILL.as_raw()), "it did not end at {step}: {}", all.log());
        all.restart("payments").await;
        until(&all, &order, "REFUNDED").await;
        assert_eq!(moved(&all, &order).await, (vec![1250], vec![1250]), "{step}");
        eprintln!("killed at {step}: charged once, refunded once");
    }
    let item = all.settled_stock("tea").await;
    assert_eq!((item.available, item.sold), (10, 0));
    let (nats, provider) = (all.nats.client_url(), all.address("provider"));
    let check = ["check", "--nats-url", &nats, "--provider-url", &provider, "--without", "mail"];
    let (code, out, err) = all.verb(&check).await;
    assert_eq!(code, 0, "{out}{err}");
}
