//! Every class of outcome, from the hold to the event, over real HTTP and a real ledger.

mod common;

use std::time::Duration;

use common::{Rig, cancelled, config, held, kinds, order, sandbox_config, wait_for};
use spillway_payments::domain::{Reason, State};
use spillway_proto::{Event, EventKind, OrderId};

const TOTAL: i64 = 1_999;

/// Holds an order with this payment method and waits until its payment is settled there.
async fn settle(rig: &Rig, order: OrderId, payment_method: &str, state: State) -> Vec<Event> {
    rig.hear(&[(order, held(TOTAL, payment_method))]).await;
    let payment = rig.until(order, state).await;
    assert_eq!(payment.attempt, 1);
    rig.said(order).await
}

async fn charged_once(rig: &Rig, payment_method: &str) {
    let said = settle(rig, order(1), payment_method, State::Captured).await;
    let [Event::PaymentCaptured(captured)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(captured.amount, Some(common::eur(TOTAL).to_wire()));
    assert_eq!(captured.attempt, 1);
    assert!(captured.provider_reference.starts_with("ch_"), "{captured:?}");
    assert_eq!(rig.provider.moved(order(1), "charge").await, [TOTAL]);
    assert_eq!(rig.count("select count(*) from due").await, 0, "nothing is left to be done");
}

#[tokio::test]
async fn a_good_charge_is_captured() {
    let rig = Rig::start().await;
    charged_once(&rig, "pm_ok").await;
    assert_eq!(rig.provider.attempts().await.len(), 1);
    let answers = "select count(*) from answer where outcome = 'APPROVED' and amount_minor = 1999 and currency = 'EUR'";
    assert_eq!(rig.count(answers).await, 1);
}

#[tokio::test]
async fn a_declined_charge_is_declined_with_its_code_and_tried_once() {
    let rig = Rig::start().await;
    let said = settle(&rig, order(1), "pm_insufficient_funds", State::Declined).await;
    let [Event::PaymentDeclined(declined)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((declined.code.as_str(), declined.action_required), ("insufficient_funds", false));
    let attempts = rig.provider.attempts().await;
    assert_eq!(attempts.len(), 1, "{attempts:?}");
}

#[tokio::test]
async fn a_charge_that_wants_action_is_a_decline_of_its_own_kind() {
    let rig = Rig::start().await;
    let said = settle(&rig, order(1), "pm_action_required", State::Declined).await;
    let [Event::PaymentDeclined(declined)] = said.as_slice() else { panic!("{said:?}") };
    assert!(declined.action_required);
    assert_eq!(rig.provider.moved(order(1), "charge").await, [0; 0]);
}

#[tokio::test]
async fn a_lost_answer_is_found_out_and_charged_once() {
    let rig = Rig::start().await;
    charged_once(&rig, "pm_lost_answer").await;
    let keys: Vec<_> = rig.provider.attempts().await.iter().map(|a| a["idempotency_key"].clone()).collect();
    assert!(keys.len() > 1 && keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
}

#[tokio::test]
async fn a_call_that_timed_out_before_the_provider_acted_is_charged_once() {
    let mut config = config();
    config.provider.timeout_ms = 100;
    let mut sandbox = sandbox_config();
    sandbox.hold_ms = 20_000;
    charged_once(&Rig::start_with(config, sandbox).await, "pm_timeout_before").await;
}

#[tokio::test]
async fn a_call_that_timed_out_while_the_provider_goes_on_is_charged_once() {
    let mut config = config();
    config.provider.timeout_ms = 100;
    charged_once(&Rig::start_with(config, sandbox_config()).await, "pm_slow").await;
}

#[tokio::test]
async fn a_500_that_is_kept_for_the_key_is_settled_by_lookup_and_not_by_another_key() {
    let rig = Rig::start().await;
    charged_once(&rig, "pm_error_after").await;
    assert!(rig.provider.attempts().await.iter().all(|attempt| attempt["http_status"] == 500));
}

#[tokio::test]
async fn a_throttled_charge_waits_as_long_as_it_is_told_and_no_attempt_is_spent() {
    let rig = Rig::start().await;
    charged_once(&rig, "pm_throttled").await;
    let attempts = rig.provider.attempts().await;
    let times: Vec<i64> = attempts.iter().map(|attempt| attempt["time"].as_i64().expect("a time")).collect();
    assert_eq!(times.len(), 2);
    assert!(times[1] - times[0] >= 1_000, "{times:?}");
}

#[tokio::test]
async fn a_503_that_says_it_was_not_carried_out_is_tried_again() {
    charged_once(&Rig::start().await, "pm_error_before").await;
}

#[tokio::test]
async fn a_pending_charge_is_polled_until_it_is_decided() {
    let rig = Rig::start().await;
    charged_once(&rig, "pm_pending").await;
    assert_eq!(rig.provider.attempts().await.len(), 1, "it was looked up, not sent again");
}

#[tokio::test]
async fn a_wrong_amount_is_parked_for_a_human_and_nothing_is_said() {
    let rig = Rig::start().await;
    let said = settle(&rig, order(1), "pm_wrong_amount", State::Parked).await;
    assert_eq!(said, []);
    let payment = rig.payment(order(1)).await.expect("a payment");
    assert_eq!(payment.reason, Some(Reason::WrongAmount));
    assert_eq!(rig.count("select count(*) from answer where amount_minor = 2000").await, 1);
}

#[tokio::test]
async fn another_currency_is_parked_for_a_human_and_nothing_is_said() {
    let rig = Rig::start().await;
    assert_eq!(settle(&rig, order(1), "pm_wrong_currency", State::Parked).await, []);
    let payment = rig.payment(order(1)).await.expect("a payment");
    assert_eq!(payment.reason, Some(Reason::WrongAmount));
    assert_eq!(rig.count("select count(*) from answer where currency = 'XTS'").await, 1);
}

#[tokio::test]
async fn a_request_that_the_provider_calls_invalid_is_parked() {
    let rig = Rig::start().await;
    assert_eq!(settle(&rig, order(1), "not a method", State::Parked).await, []);
    let payment = rig.payment(order(1)).await.expect("a payment");
    assert_eq!(payment.reason, Some(Reason::Rejected));
    assert_eq!(rig.count("select count(*) from answer where code = 'invalid_params'").await, 1);
}

#[tokio::test]
async fn an_order_that_costs_nothing_is_captured_without_a_call() {
    let rig = Rig::start().await;
    rig.hear(&[(order(1), held(0, "pm_ok"))]).await;
    rig.until(order(1), State::Captured).await;
    assert_eq!(kinds(&rig.said(order(1)).await), [EventKind::PaymentCaptured]);
    assert_eq!(rig.provider.attempts().await.len(), 0);
}

#[tokio::test]
async fn an_end_before_the_hold_charges_nothing_ever() {
    let rig = Rig::start().await;
    rig.hear(&[(order(1), cancelled()), (order(1), held(TOTAL, "pm_ok")), (order(2), held(TOTAL, "pm_ok"))]).await;
    rig.until(order(2), State::Captured).await;
    assert_eq!(rig.until(order(1), State::Cancelled).await.attempt, 0);
    assert_eq!(rig.provider.moved(order(1), "charge").await, [0; 0]);
}

#[tokio::test]
async fn a_capture_of_an_order_that_is_over_goes_back_once() {
    let rig = Rig::start().await;
    settle(&rig, order(1), "pm_ok", State::Captured).await;
    rig.hear(&[(order(1), cancelled()), (order(1), cancelled())]).await;
    let payment = rig.until(order(1), State::Refunded).await;
    assert_eq!((payment.captured_minor, payment.refunded_minor), (TOTAL, TOTAL));
    let said = rig.said(order(1)).await;
    let [Event::PaymentCaptured(captured), Event::PaymentRefunded(refunded)] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!(refunded.refund_id, format!("compensate/{}", captured.charge_id));
    assert_eq!(refunded.amount, Some(common::eur(TOTAL).to_wire()));
    assert_eq!(rig.provider.moved(order(1), "refund").await, [TOTAL]);
}

#[tokio::test]
async fn a_charge_in_flight_when_its_order_ends_is_settled_and_goes_back() {
    let mut sandbox = sandbox_config();
    sandbox.slow_ms = 300;
    let rig = Rig::start_with(config(), sandbox).await;
    rig.hear(&[(order(1), held(TOTAL, "pm_slow"))]).await;
    rig.until(order(1), State::Charging).await;
    rig.hear(&[(order(1), cancelled())]).await;
    // Whether the worker had it in hand yet or not decides which of the two ends it is.
    let end = wait_for("an end", || async {
        rig.payment(order(1)).await.filter(|p| matches!(p.state, State::Refunded | State::Cancelled))
    });
    let end = end.await;
    let (charged, refunded) =
        (rig.provider.moved(order(1), "charge").await, rig.provider.moved(order(1), "refund").await);
    assert_eq!(charged, refunded, "{end:?}");
    assert_eq!(end.state == State::Refunded, charged == [TOTAL], "{end:?}");
}

#[tokio::test]
async fn a_charge_that_nobody_has_sent_is_not_sent_for_an_order_that_is_over() {
    let mut rig = Rig::idle(config(), sandbox_config()).await;
    rig.hear(&[(order(1), held(TOTAL, "pm_ok"))]).await;
    rig.hear(&[(order(1), cancelled())]).await;
    rig.set_to_work();
    rig.until(order(1), State::Cancelled).await;
    assert_eq!(rig.provider.attempts().await.len(), 0, "it was looked up and never sent");
}

#[tokio::test]
async fn a_compensation_that_the_provider_refuses_is_parked() {
    let rig = Rig::start().await;
    settle(&rig, order(1), "pm_refund_refused", State::Captured).await;
    rig.hear(&[(order(1), cancelled())]).await;
    let payment = rig.until(order(1), State::Parked).await;
    assert_eq!((payment.reason, payment.refunded_minor), (Some(Reason::RefundDeclined), 0));
}

#[tokio::test]
async fn what_is_absent_is_parked_and_what_turns_up_later_is_the_capture() {
    let mut config = config();
    config.provider.key_window_s = 4;
    config.provider.timeout_ms = 200;
    let rig = Rig::start_with(config, sandbox_config()).await;
    // Carried out and never answered; no lookup shows it for an hour.
    rig.provider.mode(r#"{"black_hole_after": true, "lookup_lag_ms": 3600000}"#).await;
    rig.hear(&[(order(1), held(TOTAL, "pm_ok"))]).await;
    rig.until(order(1), State::Unknown).await;
    let parked = rig.until(order(1), State::Parked).await;
    assert_eq!(parked.reason, Some(Reason::Absent));
    assert_eq!(rig.said(order(1)).await, []);
    let sent = rig.provider.attempts().await.len();
    rig.provider.mode(r#"{"black_hole_after": false, "lookup_lag_ms": 0}"#).await;
    rig.clock.advance(Duration::from_secs(3_600));
    // Whatever is committed next wakes those who wait for the time.
    rig.hear(&[(order(2), held(TOTAL, "pm_declined"))]).await;
    rig.until(order(1), State::Captured).await;
    assert_eq!(rig.provider.moved(order(1), "charge").await, [TOTAL]);
    rig.until(order(2), State::Declined).await;
    assert_eq!(rig.provider.attempts().await.len(), sent + 1, "only the other order was sent after that");
}
