//! Refunds never exceed what was captured.

mod support;

use http::{Method, StatusCode};
use serde_json::json;
use spillway_sandbox::SandboxConfig;
use support::{Running, config, effects, start, start_with};

async fn charged(sandbox: &Running, key: &str, method: &str) -> String {
    sandbox.charge(key, method).await.json()["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn refunds_add_up_to_the_charge_and_not_beyond() {
    let (sandbox, _folder) = start().await;
    let id = charged(&sandbox, "c", "pm_ok").await;
    let first = sandbox.refund("r1", &id, 400).await;
    assert_eq!((first.status, first.json()["status"].as_str()), (StatusCode::CREATED, Some("succeeded")));
    assert_eq!(first.json()["charge_id"], id);
    let beyond = sandbox.refund("r2", &id, 601).await;
    assert_eq!((beyond.status, beyond.error_code().as_str()), (StatusCode::PAYMENT_REQUIRED, "refund_exceeds_charge"));
    assert_eq!(sandbox.refund("r3", &id, 600).await.status, StatusCode::CREATED);
    assert_eq!(sandbox.refund("r4", &id, 1).await.error_code(), "refund_exceeds_charge");
    // Told again, a refund moves nothing, and a refusal stays one.
    assert_eq!(sandbox.refund("r1", &id, 400).await.text, first.text);
    assert!(sandbox.refund("r2", &id, 601).await.is_replay());

    let found = sandbox.get("/v1/refunds?reference=order-r1").await.json();
    assert_eq!(found["data"], json!([first.json()]));
    let path = format!("/v1/refunds/{}", first.json()["id"].as_str().expect("an id"));
    assert_eq!(sandbox.get(&path).await.json(), first.json());
    assert_eq!(effects(&sandbox.ledger().await), 3);
    let sums = sandbox.get("/sandbox/summary").await.json();
    assert_eq!(sums["by_currency"]["EUR"], json!({"captured": 1000, "pending": 0, "refunded": 1000, "net": 0}));
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_refunds_at_once_those_that_fit_are_made() {
    let (sandbox, _folder) = start().await;
    let id = charged(&sandbox, "c", "pm_ok").await;
    let keys: Vec<String> = (0..32).map(|n| format!("r{n}")).collect();
    let told = futures::future::join_all(keys.iter().map(|key| sandbox.refund(key, &id, 300))).await;
    assert_eq!(told.iter().filter(|told| told.status == StatusCode::CREATED).count(), 3);
    assert_eq!(told.iter().filter(|told| told.error_code() == "refund_exceeds_charge").count(), 29);
    sandbox.stop().await;
}

#[tokio::test]
async fn what_captured_nothing_is_not_refunded() {
    let (sandbox, _folder) = start_with(SandboxConfig { pending_ms: 600_000, ..config() }).await;
    for method in ["pm_declined", "pm_action_required", "pm_pending"] {
        let id = charged(&sandbox, method, method).await;
        let told = sandbox.refund(&format!("r-{method}"), &id, 1).await;
        assert_eq!(told.error_code(), "charge_not_captured", "{method}");
    }
    let refund = sandbox.refund("r", "ch_unknown_1", 1).await;
    assert_eq!((refund.status, refund.error_code().as_str()), (StatusCode::NOT_FOUND, "charge_not_found"));
    assert_eq!(effects(&sandbox.ledger().await), 1, "the pending charge alone");
    sandbox.stop().await;
}

#[tokio::test]
async fn a_refund_in_another_currency_is_refused_and_takes_no_key() {
    let (sandbox, _folder) = start().await;
    let id = charged(&sandbox, "c", "pm_ok").await;
    let body = json!({"charge_id": id, "reference": "order-r", "amount": 1, "currency": "USD"});
    let request = sandbox.request(Method::POST, "/v1/refunds", Some("r"), &body.to_string());
    assert_eq!(sandbox.send(request).await.expect("an answer").error_code(), "currency_mismatch");
    assert_eq!(sandbox.refund("r", &id, 1).await.status, StatusCode::CREATED);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_refused_refund_is_declined_and_can_be_looked_up() {
    let (sandbox, _folder) = start().await;
    let id = charged(&sandbox, "c", "pm_refund_refused").await;
    let told = sandbox.refund("r", &id, 1000).await;
    assert_eq!(told.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!((&told.json()["status"], &told.json()["decline_code"]), (&"declined".into(), &"refund_refused".into()));
    let found = sandbox.get("/v1/refunds?reference=order-r").await.json();
    assert_eq!(found["data"][0], told.json());
    assert_eq!(effects(&sandbox.attempts("r").await), 0);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_refund_whose_answer_is_lost_is_made_once() {
    let (sandbox, _folder) = start().await;
    let id = charged(&sandbox, "c", "pm_ok").await;
    sandbox.set_mode(json!({"lost_answer_rate": 1})).await;
    let body = json!({"charge_id": id, "reference": "order-r", "amount": 700, "currency": "EUR"});
    let request = sandbox.request(Method::POST, "/v1/refunds", Some("r"), &body.to_string());
    assert!(sandbox.send(request).await.is_none());
    assert!(sandbox.refund("r", &id, 700).await.is_replay());
    assert_eq!(effects(&sandbox.attempts("r").await), 1);
    sandbox.stop().await;
}
