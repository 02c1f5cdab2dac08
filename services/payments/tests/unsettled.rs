//! What is measured of payments that are not settled.

mod common;

use std::time::Duration;

use common::{Rig, config, held, order, sandbox_config, wait_for};
use spillway_payments::domain::State;
use spillway_shared::ledger::Service;

/// Unknown, the age of the oldest of them in seconds, and parked; as they would be after so long.
async fn measured(rig: &Rig, after: Duration) -> (f64, f64, f64) {
    let (service, now) = (rig.ledger.service().clone(), rig.ledger.now() + after);
    let samples = rig.ledger.query(move |tx| service.sample(tx, now)).await.expect("a query");
    let of = |name: &str| samples.iter().find(|sample| sample.name == name).expect("it is measured").value;
    (
        of("spillway_payments_unknown"),
        of("spillway_payments_unknown_oldest_age_seconds"),
        of("spillway_payments_parked"),
    )
}

#[tokio::test]
async fn an_unknown_payment_is_as_old_as_its_first_call_whatever_is_tried_since() {
    let mut config = config();
    config.provider.timeout_ms = 100;
    let rig = Rig::start_with(config, sandbox_config()).await;
    assert_eq!(measured(&rig, Duration::ZERO).await, (0.0, 0.0, 0.0));
    rig.provider.mode(r#"{"black_hole": true}"#).await;
    rig.hear(&[(order(1), held(700, "pm_ok"))]).await;
    let unknown = rig.until(order(1), State::Unknown).await;
    let first = unknown.unknown.expect("since when");
    let later =
        wait_for("another call", || async { rig.payment(order(1)).await.filter(|payment| payment.sent > Some(first)) });
    assert_eq!(later.await.unknown, Some(first), "it is not younger for having been tried again");
    let (count, age, parked) = measured(&rig, Duration::from_secs(900)).await;
    assert!(count == 1.0 && parked == 0.0 && (900.0..1000.0).contains(&age), "{count} {age} {parked}");
    rig.provider.mode(r#"{"black_hole": false}"#).await;
    let captured = rig.until(order(1), State::Captured).await;
    assert_eq!(captured.unknown, None);
    assert_eq!(measured(&rig, Duration::ZERO).await, (0.0, 0.0, 0.0));
}

#[tokio::test]
async fn a_parked_payment_is_not_unknown() {
    let rig = Rig::start().await;
    rig.hear(&[(order(1), held(700, "pm_wrong_amount"))]).await;
    rig.until(order(1), State::Parked).await;
    assert_eq!(measured(&rig, Duration::ZERO).await, (0.0, 0.0, 1.0));
}
