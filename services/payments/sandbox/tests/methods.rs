//! Each payment method steers one order as its table says.

mod support;

use http::StatusCode;
use serde_json::Value;
use spillway_sandbox::{METHODS, SandboxConfig};
use support::{Told, config, effects, start, start_in, start_with, until};

fn assert_charge(told: &Told, http: StatusCode, status: &str) {
    assert_eq!(told.status, http, "{}", told.text);
    assert_eq!(told.json()["status"], status);
}

/// The last attempt with this key, as (attempt, effect, answered, status).
fn last(attempts: &[Value]) -> (i64, bool, bool, &str) {
    let last = attempts.last().expect("an attempt");
    (
        last["attempt"].as_i64().expect("a number"),
        last["effect"] == true,
        last["answered"] == true,
        last["status"].as_str().expect("a status"),
    )
}

#[tokio::test]
async fn ok_and_every_unknown_method_succeed() {
    let (sandbox, _folder) = start().await;
    for method in ["pm_ok", "pm_card_visa_4242"] {
        let told = sandbox.charge(method, method).await;
        assert_charge(&told, StatusCode::CREATED, "succeeded");
        let charge = told.json();
        assert_eq!(charge["reference"], format!("order-{method}"));
        assert_eq!((&charge["amount"], &charge["currency"]), (&1000.into(), &"EUR".into()));
        assert_eq!((&charge["payment_method"], &charge["idempotency_key"]), (&method.into(), &method.into()));
        assert!(charge.get("decline_code").is_none());
        let id = charge["id"].as_str().expect("an id");
        assert_eq!(sandbox.get(&format!("/v1/charges/{id}")).await.json(), charge);
        assert_eq!(sandbox.found(method).await, [charge]);
        assert_eq!(last(&sandbox.attempts(method).await), (1, true, true, "succeeded"));
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn declines_and_required_actions_move_no_money_and_can_be_looked_up() {
    let (sandbox, _folder) = start().await;
    for (method, http, status, code) in [
        ("pm_declined", StatusCode::PAYMENT_REQUIRED, "declined", Some("card_declined")),
        ("pm_insufficient_funds", StatusCode::PAYMENT_REQUIRED, "declined", Some("insufficient_funds")),
        ("pm_action_required", StatusCode::CREATED, "requires_action", None),
    ] {
        let told = sandbox.charge(method, method).await;
        assert_charge(&told, http, status);
        assert_eq!(told.json()["decline_code"].as_str(), code);
        assert_eq!(sandbox.found(method).await, [told.json()]);
        assert_eq!(last(&sandbox.attempts(method).await), (1, false, true, status));
        let again = sandbox.charge(method, method).await;
        assert!(again.is_replay());
        assert_eq!((again.status, again.json()), (http, told.json()));
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn pending_becomes_succeeded_in_a_later_lookup_while_its_key_keeps_the_first_answer() {
    let (sandbox, _folder) = start_with(SandboxConfig { pending_ms: 300, ..config() }).await;
    let told = sandbox.charge("p", "pm_pending").await;
    assert_charge(&told, StatusCode::CREATED, "pending");
    let id = told.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/charges/{id}");
    until("the charge has settled", || async { sandbox.get(&path).await.json()["status"] == "succeeded" }).await;
    let settles = sandbox.attempts("p").await[0]["settles"].as_i64().expect("a time");
    assert_eq!(settles - told.json()["created"].as_i64().expect("a time"), 300);
    assert_eq!(sandbox.found("p").await[0]["status"], "succeeded");
    assert_charge(&sandbox.charge("p", "pm_pending").await, StatusCode::CREATED, "pending");
    sandbox.stop().await;
}

#[tokio::test]
async fn slow_is_executed_late_also_when_its_caller_has_hung_up_and_its_key_is_in_use_meanwhile() {
    let (sandbox, _folder) = start_with(SandboxConfig { slow_ms: 1_500, ..config() }).await;
    // Of two at once one is worked on; the other is refused at once, and then both callers hang up.
    let refused = tokio::select! {
        told = sandbox.charge("s", "pm_slow") => told,
        told = sandbox.charge("s", "pm_slow") => told,
    };
    assert_eq!((refused.status, refused.error_code().as_str()), (StatusCode::CONFLICT, "idempotency_key_in_use"));
    assert!(sandbox.found("s").await.is_empty(), "executed before its time");
    until("it is executed", || async { !sandbox.found("s").await.is_empty() }).await;
    let stored = sandbox.charge("s", "pm_slow").await;
    assert!(stored.is_replay());
    assert_charge(&stored, StatusCode::CREATED, "succeeded");
    assert_eq!(effects(&sandbox.attempts("s").await), 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_slow_charge_answers_who_waits_and_its_stored_answer_is_not_slow() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sandbox = start_in(folder.path(), SandboxConfig { slow_ms: 200, ..config() }).await;
    let began = std::time::Instant::now();
    assert_charge(&sandbox.charge("s", "pm_slow").await, StatusCode::CREATED, "succeeded");
    assert!(began.elapsed().as_millis() >= 200);
    sandbox.stop().await;

    let sandbox = start_in(folder.path(), SandboxConfig { slow_ms: 600_000, ..config() }).await;
    assert!(sandbox.charge("s", "pm_slow").await.is_replay());
    sandbox.stop().await;
}

#[tokio::test]
async fn a_lost_answer_was_executed_and_the_same_key_gets_it() {
    let (sandbox, _folder) = start().await;
    assert!(sandbox.try_charge("l", "pm_lost_answer").await.is_none());
    assert_eq!(last(&sandbox.attempts("l").await), (1, true, false, "succeeded"));
    let again = sandbox.charge("l", "pm_lost_answer").await;
    assert!(again.is_replay());
    assert_charge(&again, StatusCode::CREATED, "succeeded");
    assert_eq!(sandbox.found("l").await, [again.json()]);
    assert_eq!(last(&sandbox.attempts("l").await), (2, false, true, "replayed"));
    sandbox.stop().await;
}

#[tokio::test]
async fn a_timeout_before_is_held_and_cut_without_a_charge_then_the_same_key_succeeds() {
    let (sandbox, _folder) = start_with(SandboxConfig { hold_ms: 200, ..config() }).await;
    let began = std::time::Instant::now();
    assert!(sandbox.try_charge("t", "pm_timeout_before").await.is_none());
    assert!(began.elapsed().as_millis() >= 200);
    assert_eq!(last(&sandbox.attempts("t").await), (1, false, false, "not_executed"));
    assert!(sandbox.found("t").await.is_empty());
    let again = sandbox.charge("t", "pm_timeout_before").await;
    assert!(!again.is_replay());
    assert_charge(&again, StatusCode::CREATED, "succeeded");
    assert_eq!(last(&sandbox.attempts("t").await), (2, true, true, "succeeded"));
    sandbox.stop().await;
}

#[tokio::test]
async fn an_error_after_is_stored_for_the_key_and_only_a_lookup_shows_the_charge() {
    let (sandbox, _folder) = start().await;
    for is_replay in [false, true, true] {
        let told = sandbox.charge("e", "pm_error_after").await;
        assert_eq!(told.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!((told.error_code().as_str(), told.is_replay()), ("internal_error", is_replay));
    }
    assert_eq!(sandbox.found("e").await[0]["status"], "succeeded");
    assert_eq!(effects(&sandbox.attempts("e").await), 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn errors_and_throttling_before_an_execution_are_not_stored() {
    let (sandbox, _folder) = start().await;
    for (method, tries, http) in
        [("pm_error_before", 2, StatusCode::SERVICE_UNAVAILABLE), ("pm_throttled", 1, StatusCode::TOO_MANY_REQUESTS)]
    {
        for attempt in 1..=tries {
            let told = sandbox.charge(method, method).await;
            assert_eq!(told.status, http, "{}", told.text);
            assert_eq!(last(&sandbox.attempts(method).await), (attempt, false, true, "not_executed"));
            let retry_after = told.headers.get("retry-after").map(|value| value.to_str().expect("text"));
            assert_eq!(retry_after, (method == "pm_throttled").then_some("1"));
        }
        assert!(sandbox.found(method).await.is_empty());
        assert_charge(&sandbox.charge(method, method).await, StatusCode::CREATED, "succeeded");
        assert_eq!(effects(&sandbox.attempts(method).await), 1);
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn a_wrong_amount_is_captured_and_told() {
    let (sandbox, _folder) = start().await;
    let told = sandbox.charge("w", "pm_wrong_amount").await;
    assert_charge(&told, StatusCode::CREATED, "succeeded");
    assert_eq!(told.json()["amount"], 1001);
    assert_eq!(sandbox.found("w").await, [told.json()]);
    let attempt = &sandbox.attempts("w").await[0];
    assert_eq!((&attempt["amount"], &attempt["asked_amount"]), (&1001.into(), &1000.into()));
    // The parameters are those that were asked for: the same request again is no misuse of the key.
    assert!(sandbox.charge("w", "pm_wrong_amount").await.is_replay());
    sandbox.stop().await;
}

#[tokio::test]
async fn a_wrong_currency_is_told_now_and_later() {
    let (sandbox, _folder) = start().await;
    let told = sandbox.charge("c", "pm_wrong_currency").await;
    assert_charge(&told, StatusCode::CREATED, "succeeded");
    assert_eq!((&told.json()["currency"], &told.json()["amount"]), (&"XTS".into(), &1000.into()));
    assert_eq!(sandbox.found("c").await, [told.json()]);
    assert_eq!(sandbox.attempts("c").await[0]["currency"], "EUR", "the ledger keeps the truth");
    sandbox.stop().await;
}

#[test]
fn the_readme_shows_the_table_as_it_is() {
    let readme = include_str!("../README.md");
    for method in &METHODS {
        let row = format!("| `{}` | {} |", method.name, method.about);
        assert!(readme.contains(&row), "README.md lacks the row\n{row}");
    }
}
