//! Each mode steers the whole provider as its documentation says.

mod support;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::{effects, start, until};

#[tokio::test]
async fn changes_are_merged_and_shown_and_unknown_fields_change_nothing() {
    let (sandbox, _folder) = start().await;
    let told = sandbox.set_mode(json!({"delay_ms": 1, "throttle": true})).await.json();
    assert_eq!((&told["delay_ms"], &told["throttle"], &told["down"]), (&1.into(), &true.into(), &false.into()));
    let told = sandbox.set_mode(json!({"throttle": false})).await.json();
    assert_eq!((&told["delay_ms"], &told["throttle"]), (&1.into(), &false.into()));
    for wrong in [r#"{"down": true, "dwon": true}"#, r#"{"error_rate": 2}"#, "[]", ""] {
        let request = sandbox.request(Method::POST, "/sandbox/mode", None, wrong);
        let refused = sandbox.send(request).await.expect("an answer");
        assert_eq!((refused.status, refused.error_code().as_str()), (StatusCode::BAD_REQUEST, "invalid_params"));
    }
    assert_eq!(sandbox.get("/sandbox/mode").await.json(), told);
    sandbox.stop().await;
}

#[tokio::test]
async fn down_cuts_every_connection_and_executes_nothing_until_it_is_up() {
    let (sandbox, _folder) = start().await;
    sandbox.set_mode(json!({"down": true})).await;
    for _ in 0..3 {
        assert!(sandbox.try_charge("k", "pm_ok").await.is_none());
    }
    let lookup = sandbox.request(Method::GET, "/v1/charges?reference=order-k", None, "");
    assert!(sandbox.send(lookup).await.is_none());
    assert!(sandbox.ledger().await.is_empty());
    assert_eq!(sandbox.admin("/ready").await.status, StatusCode::OK);
    sandbox.set_mode(json!({"down": false})).await;
    assert_eq!(sandbox.charge("k", "pm_ok").await.status, StatusCode::CREATED);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_delay_delays_charges_and_lookups() {
    let (sandbox, _folder) = start().await;
    sandbox.set_mode(json!({"delay_ms": 150})).await;
    let began = std::time::Instant::now();
    assert_eq!(sandbox.charge("k", "pm_ok").await.status, StatusCode::CREATED);
    assert!(began.elapsed().as_millis() >= 150);
    assert_eq!(sandbox.found("k").await.len(), 1);
    assert!(began.elapsed().as_millis() >= 300);
    sandbox.stop().await;
}

#[tokio::test]
async fn refusing_modes_execute_and_store_nothing() {
    let (sandbox, _folder) = start().await;
    for (on, off, http, code) in [
        (json!({"error_rate": 1}), json!({"error_rate": 0}), 500, "internal_error"),
        (json!({"throttle": true, "retry_after_s": 7}), json!({"throttle": false}), 429, "throttled"),
        (json!({"unauthorized": true}), json!({"unauthorized": false}), 401, "unauthorized"),
    ] {
        sandbox.set_mode(on).await;
        let told = sandbox.charge(code, "pm_ok").await;
        assert_eq!((told.status.as_u16(), told.error_code().as_str()), (http, code));
        let retry_after = told.headers.get("retry-after").map(|value| value.to_str().expect("text"));
        assert_eq!(retry_after, (http == 429).then_some("7"));
        let lookup = sandbox.get(&format!("/v1/charges?reference=order-{code}")).await;
        assert_eq!(lookup.status.as_u16(), http, "lookups are refused as well");
        sandbox.set_mode(off).await;
        assert!(sandbox.found(code).await.is_empty());
        let after = sandbox.charge(code, "pm_ok").await;
        assert_eq!((after.status, after.is_replay()), (StatusCode::CREATED, false));
        let attempts = sandbox.attempts(code).await;
        assert_eq!((&attempts[0]["status"], &attempts[0]["error_code"]), (&"not_executed".into(), &code.into()));
        assert_eq!(effects(&attempts), 1);
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn an_error_after_and_a_lost_answer_were_executed_once() {
    let (sandbox, _folder) = start().await;
    sandbox.set_mode(json!({"error_after_rate": 1})).await;
    assert_eq!(sandbox.charge("e", "pm_ok").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    sandbox.set_mode(json!({"error_after_rate": 0, "lost_answer_rate": 1})).await;
    assert!(sandbox.try_charge("l", "pm_declined").await.is_none());
    assert!(sandbox.try_charge("m", "pm_ok").await.is_none());
    sandbox.set_mode(json!({"lost_answer_rate": 0})).await;
    assert_eq!(sandbox.charge("e", "pm_ok").await.status, StatusCode::INTERNAL_SERVER_ERROR, "stored");
    assert_eq!(sandbox.charge("l", "pm_declined").await.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(sandbox.charge("m", "pm_ok").await.status, StatusCode::CREATED);
    for (key, status, moved) in [("e", "succeeded", 1), ("l", "declined", 0), ("m", "succeeded", 1)] {
        let found = sandbox.found(key).await;
        assert_eq!((found.len(), &found[0]["status"]), (1, &status.into()));
        assert_eq!(effects(&sandbox.attempts(key).await), moved);
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn a_black_hole_executes_nothing_and_a_black_hole_after_executes_unanswered() {
    let (sandbox, _folder) = start().await;
    for (mode, moved) in [("black_hole", 0), ("black_hole_after", 1)] {
        sandbox.set_mode(json!({mode: true})).await;
        tokio::select! {
            told = sandbox.try_charge(mode, "pm_ok") => panic!("{mode} answered {told:?}"),
            () = until("it is recorded", || async { !sandbox.attempts(mode).await.is_empty() }) => {}
        }
        let attempts = sandbox.attempts(mode).await;
        assert_eq!((attempts.len(), effects(&attempts)), (1, moved));
        assert_eq!(attempts[0]["answered"], false);
        sandbox.set_mode(json!({mode: false})).await;
        let told = sandbox.charge(mode, "pm_ok").await;
        assert_eq!((told.status, told.is_replay()), (StatusCode::CREATED, moved == 1));
        assert_eq!(effects(&sandbox.attempts(mode).await), 1);
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn a_wrong_amount_and_forgotten_keys_are_the_worst_a_provider_can_do() {
    let (sandbox, _folder) = start().await;
    sandbox.set_mode(json!({"wrong_amount": true})).await;
    assert_eq!(sandbox.charge("w", "pm_ok").await.json()["amount"], 1001);
    sandbox.set_mode(json!({"wrong_amount": false, "forget_keys": true})).await;
    let ids: Vec<Value> = [sandbox.charge("f", "pm_ok").await, sandbox.charge("f", "pm_ok").await]
        .map(|told| told.json()["id"].clone())
        .into();
    assert_ne!(ids[0], ids[1]);
    let twice = sandbox.get("/sandbox/summary").await.json()["charged_more_than_once"].clone();
    let reference = json!({"reference": "order-f", "charges": 2, "captured": 2000, "refunded": 0});
    assert_eq!(twice, json!({"count": 1, "references": [reference]}));
    sandbox.stop().await;
}

#[tokio::test]
async fn a_lagging_lookup_finds_a_charge_only_later() {
    let (sandbox, _folder) = start().await;
    sandbox.set_mode(json!({"lookup_lag_ms": 600_000})).await;
    let charge = sandbox.charge("k", "pm_ok").await.json();
    let path = format!("/v1/charges/{}", charge["id"].as_str().expect("an id"));
    assert!(sandbox.found("k").await.is_empty());
    assert_eq!(sandbox.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(effects(&sandbox.ledger().await), 1, "the ledger is the truth");
    sandbox.set_mode(json!({"lookup_lag_ms": 30})).await;
    until("the lag has passed", || async { sandbox.found("k").await.len() == 1 }).await;
    assert_eq!(sandbox.get(&path).await.json(), charge);
    sandbox.stop().await;
}

#[tokio::test]
async fn rates_strike_the_same_attempts_with_the_same_seed() {
    let fates = async |seed: u64| -> Vec<u16> {
        let (sandbox, _folder) = start().await;
        sandbox.set_mode(json!({"error_rate": 0.5, "seed": seed})).await;
        let mut fates = Vec::new();
        for n in 0..40 {
            fates.push(sandbox.charge(&format!("k{n}"), "pm_ok").await.status.as_u16());
        }
        sandbox.stop().await;
        fates
    };
    let first = fates(1).await;
    assert!(first.contains(&201) && first.contains(&500), "{first:?}");
    assert_eq!(fates(1).await, first);
    assert_ne!(fates(2).await, first);
}

#[test]
fn the_readme_names_every_field_of_the_mode() {
    let readme = include_str!("../README.md");
    let mode = serde_json::to_value(spillway_sandbox::Mode::default()).expect("a mode is JSON");
    for field in mode.as_object().expect("an object").keys() {
        assert!(readme.contains(&format!("| `{field}` |")), "README.md lacks {field}");
    }
}
