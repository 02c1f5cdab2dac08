//! Idempotency keys: the first stored answer of a key is its answer.

mod support;

use http::{Method, StatusCode};
use serde_json::json;
use spillway_sandbox::SandboxConfig;
use support::{charge_of, config, effects, start, start_with, until};

#[tokio::test]
async fn the_same_request_again_gets_the_same_answer_and_moves_nothing() {
    let (sandbox, _folder) = start().await;
    let first = sandbox.charge("k", "pm_ok").await;
    assert!(!first.is_replay());
    for _ in 0..3 {
        let again = sandbox.charge("k", "pm_ok").await;
        assert!(again.is_replay());
        assert_eq!((again.status, &again.text), (first.status, &first.text));
    }
    let attempts = sandbox.attempts("k").await;
    assert_eq!((attempts.len(), effects(&attempts)), (4, 1));
    assert_eq!(attempts[3]["attempt"], 4);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_key_with_any_other_parameter_is_refused_and_keeps_its_answer() {
    let (sandbox, _folder) = start().await;
    let first = sandbox.charge("k", "pm_ok").await;
    for (param, value) in [
        ("reference", json!("another")),
        ("amount", json!(1001)),
        ("currency", json!("USD")),
        ("payment_method", json!("pm_other")),
    ] {
        let mut body = charge_of("k", "pm_ok");
        body[param] = value;
        let request = sandbox.request(Method::POST, "/v1/charges", Some("k"), &body.to_string());
        let told = sandbox.send(request).await.expect("an answer");
        assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, "idempotency_key_reused"));
    }
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(sandbox.refund("k", &id, 1000).await.error_code(), "idempotency_key_reused");
    // Alike in every parameter, and yet a refund is no charge.
    assert_eq!(sandbox.refund("k", "pm_ok", 1000).await.error_code(), "idempotency_key_reused");
    assert_eq!(sandbox.charge("k", "pm_ok").await.text, first.text);
    assert_eq!(effects(&sandbox.ledger().await), 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn after_its_window_a_key_is_a_new_charge() {
    let (sandbox, _folder) = start_with(SandboxConfig { key_window_ms: 400, ..config() }).await;
    let first = sandbox.charge("k", "pm_ok").await.json();
    // The replays on the way do not renew the window.
    until("a new charge", || async {
        let told = sandbox.charge("k", "pm_ok").await;
        let is_new = told.json()["id"] != first["id"];
        assert_ne!(told.is_replay(), is_new, "{}", told.text);
        is_new
    })
    .await;
    let attempts = sandbox.attempts("k").await;
    let time = |attempt: &serde_json::Value| attempt["time"].as_i64().expect("a time");
    let (new, replays) = attempts[1..].split_last().expect("tried again");
    assert!(new["effect"] == true && time(new) - time(&attempts[0]) >= 400, "{attempts:?}");
    assert!(replays.iter().all(|replay| replay["effect"] == false), "{attempts:?}");
    assert!(replays.iter().all(|replay| time(replay) - time(&attempts[0]) < 400), "{attempts:?}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_with_one_key_one_is_executed() {
    let (sandbox, _folder) = start().await;
    let tries = futures::future::join_all((0..64).map(|_| sandbox.charge("k", "pm_ok"))).await;
    for told in &tries {
        assert!(told.status == StatusCode::CREATED || told.error_code() == "idempotency_key_in_use", "{}", told.text);
    }
    let made = tries.iter().filter(|told| told.status == StatusCode::CREATED && !told.is_replay());
    assert_eq!(made.count(), 1);
    let attempts = sandbox.attempts("k").await;
    assert_eq!((attempts.len(), effects(&attempts)), (64, 1));
    assert_eq!(sandbox.found("k").await.len(), 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_request_that_is_not_valid_takes_no_key() {
    let (sandbox, _folder) = start().await;
    let bad = sandbox.request(Method::POST, "/v1/charges", Some("k"), r#"{"amount": -1}"#);
    let told = sandbox.send(bad).await.expect("an answer");
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, "invalid_params"));
    let first = sandbox.charge("k", "pm_ok").await;
    assert_eq!(first.status, StatusCode::CREATED);
    assert!(!first.is_replay());
    assert_eq!(sandbox.attempts("k").await.len(), 1);
    sandbox.stop().await;
}
