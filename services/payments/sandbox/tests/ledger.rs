//! The ledger is the truth, and lasts.

mod support;

use http::StatusCode;
use serde_json::{Value, json};
use support::{config, effects, start, start_in, until};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_restart_keeps_charges_keys_and_ids() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sandbox = start_in(folder.path(), config()).await;
    let charge = sandbox.charge("k", "pm_ok").await.json();
    sandbox.stop().await;

    let sandbox = start_in(folder.path(), config()).await;
    let again = sandbox.charge("k", "pm_ok").await;
    assert!(again.is_replay());
    assert_eq!(again.json(), charge);
    assert_eq!(sandbox.found("k").await, std::slice::from_ref(&charge));
    let refund = sandbox.refund("r", charge["id"].as_str().expect("an id"), 1000).await;
    assert_eq!(refund.status, StatusCode::CREATED);
    assert_eq!(effects(&sandbox.ledger().await), 2);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_before_an_abrupt_end_is_there_after_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sandbox = start_in(folder.path(), config()).await;
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    let told = futures::future::join_all(keys.iter().map(|key| sandbox.charge(key, "pm_ok"))).await;
    let address = sandbox.addresses.api;
    sandbox.abort().await;
    // It is gone with its future, and so are its connections.
    until("its port is closed", || async { TcpStream::connect(address).await.is_err() }).await;

    let sandbox = start_in(folder.path(), config()).await;
    for (key, told) in keys.iter().zip(told) {
        assert_eq!(sandbox.found(key).await, [told.json()]);
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn another_ledger_knows_nothing_of_an_id() {
    let (one, _folder) = start().await;
    let (other, _other_folder) = start().await;
    let id = one.charge("k", "pm_ok").await.json()["id"].as_str().expect("an id").to_owned();
    other.charge("k", "pm_ok").await;
    assert_eq!(other.get(&format!("/v1/charges/{id}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(other.refund("r", &id, 1).await.error_code(), "charge_not_found");
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn the_ledger_tells_every_attempt_in_pages_or_lines() {
    let (sandbox, _folder) = start().await;
    for (key, method) in
        [("a", "pm_ok"), ("b", "pm_declined"), ("a", "pm_ok"), ("c", "pm_throttled"), ("c", "pm_throttled")]
    {
        sandbox.charge(key, method).await;
    }
    let lines = sandbox.ledger().await;
    let statuses: Vec<&str> = lines.iter().map(|line| line["status"].as_str().expect("a status")).collect();
    assert_eq!(statuses, ["succeeded", "declined", "replayed", "not_executed", "succeeded"]);
    assert_eq!(lines[0]["object_id"], sandbox.found("a").await[0]["id"]);

    let mut paged: Vec<Value> = Vec::new();
    let mut next = json!(0);
    while let Some(after) = next.as_i64() {
        let page = sandbox.get(&format!("/sandbox/ledger?after={after}&limit=2")).await.json();
        paged.extend(page["entries"].as_array().expect("entries").iter().cloned());
        next = page["next"].clone();
    }
    assert_eq!(paged, lines);
    let limited = sandbox.get("/sandbox/ledger?format=jsonl&limit=2&after=1").await;
    assert_eq!(limited.headers["content-type"], "application/jsonl");
    let ids: Vec<i64> = limited
        .text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].as_i64().expect("an id"))
        .collect();
    assert_eq!(ids, [2, 3]);
    for wrong in ["?limit=x", "?format=xml", "?befor=1", "?limit=0"] {
        assert_eq!(sandbox.get(&format!("/sandbox/ledger{wrong}")).await.error_code(), "invalid_params", "{wrong}");
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_faults_of_every_kind_the_ledgers_effects_are_what_lookups_find() {
    let (sandbox, _folder) = start().await;
    sandbox.set_mode(json!({"error_rate": 0.2, "error_after_rate": 0.2, "lost_answer_rate": 0.2, "seed": 3})).await;
    let methods = ["pm_ok", "pm_declined", "pm_wrong_amount", "pm_throttled", "pm_lost_answer", "pm_error_before"];
    let keys: Vec<(String, &str)> = (0..300).map(|n| (format!("k{n}"), methods[n % methods.len()])).collect();
    for _ in 0..4 {
        futures::future::join_all(keys.iter().map(|(key, method)| sandbox.try_charge(key, method))).await;
    }
    sandbox.set_mode(json!({"error_rate": 0})).await;

    let ledger = sandbox.ledger().await;
    assert_eq!(ledger.len(), 1_200, "every attempt is a line, those without an answer included");
    let mut captured = 0;
    for (key, _) in &keys {
        let in_ledger: i64 = ledger
            .iter()
            .filter(|entry| entry["idempotency_key"] == key.as_str() && entry["effect"] == true)
            .map(|entry| entry["amount"].as_i64().expect("an amount"))
            .sum();
        let found = sandbox.found(key).await;
        let in_lookup: i64 = found
            .iter()
            .filter(|charge| charge["status"] == "succeeded")
            .map(|charge| charge["amount"].as_i64().expect("an amount"))
            .sum();
        assert_eq!(in_ledger, in_lookup, "{key}");
        assert!(found.len() <= 1, "{key} was executed twice");
        captured += in_ledger;
    }
    let summary = sandbox.get("/sandbox/summary").await.json();
    assert_eq!(summary["attempts"], 1_200);
    assert_eq!(summary["by_currency"]["EUR"]["captured"], captured);
    assert_eq!(summary["charged_more_than_once"]["count"], 0);
    assert_eq!(sandbox.requests_counted().await, 1_500, "1,200 charges and 300 lookups");
    sandbox.stop().await;
}
