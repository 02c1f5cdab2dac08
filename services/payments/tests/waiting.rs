//! What waits for the provider: it says so, spends nothing, drains oldest first, and is not tried for ever.

mod common;

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use common::{Rig, cancelled, config, held, kinds, order, sandbox_config, wait_for};
use spillway_payments::PaymentsConfig;
use spillway_payments::domain::{Reason, State};
use spillway_payments::gate::Phase;
use spillway_proto::{Event, EventKind, OrderId};
use spillway_shared::ledger::Tx;

const TOTAL: i64 = 700;

/// Four hands, a breaker that opens soon, for so long.
fn with_breaker(open_ms: u64) -> PaymentsConfig {
    let mut config = PaymentsConfig { workers: NonZeroUsize::new(4).expect("not zero"), ..config() };
    config.breaker.failures = NonZeroU32::new(5).expect("not zero");
    config.breaker.open_ms = open_ms;
    config
}

fn orders(numbers: std::ops::Range<u8>) -> Vec<(OrderId, Event)> {
    numbers.map(|n| (order(n), held(TOTAL, "pm_ok"))).collect()
}

async fn until_told(rig: &Rig, orders: i64) {
    let told = "select count(*) from payment where deferred_us is not null";
    wait_for("everybody to be told", || async { (rig.count(told).await == orders).then_some(()) }).await;
}

/// Every due row: when, and which try.
async fn due(rig: &Rig) -> BTreeMap<Vec<u8>, (i64, i64)> {
    let rows = |tx: &Tx<'_>| {
        tx.read("select key, due_us, attempt from due", &[], |row| Ok((row.blob(0)?, (row.int(1)?, row.int(2)?))))
    };
    rig.ledger.query(rows).await.expect("a query").into_iter().collect()
}

#[tokio::test]
async fn what_waits_says_so_once_and_its_row_is_left_alone() {
    let rig = Rig::start_with(with_breaker(3_600_000), sandbox_config()).await;
    rig.provider.mode(r#"{"down": true}"#).await;
    rig.hear(&orders(0..60)).await;
    until_told(&rig, 60).await;
    let waiting = due(&rig).await;
    let tried = waiting.values().filter(|(_, attempt)| *attempt > 1).count();
    assert!((1..=12).contains(&tried), "{tried} spent a try: those that were in hand until it opened");
    // Who comes later waits in the same outage.
    rig.hear(&orders(60..70)).await;
    until_told(&rig, 70).await;
    let later = due(&rig).await;
    assert!(waiting.iter().all(|(key, row)| later.get(key) == Some(row)), "a row was rewritten while it waited");
    let mut outages = Vec::new();
    for n in 0..70 {
        let said = rig.said(order(n)).await;
        let [Event::PaymentDeferred(deferred)] = said.as_slice() else { panic!("{said:?}") };
        assert!(deferred.since.is_some());
        outages.push(deferred.outage_id.clone());
    }
    outages.dedup();
    assert_eq!(outages.len(), 1, "{outages:?}");
    assert_eq!(rig.count("select count(*) from outage where until_us is null").await, 1);
    assert_eq!(rig.provider.attempts().await.len(), 0);
}

#[tokio::test]
async fn an_order_that_ended_is_not_told_that_it_waits() {
    let rig = Rig::start_with(with_breaker(3_600_000), sandbox_config()).await;
    rig.provider.mode(r#"{"down": true}"#).await;
    let mut events = orders(0..20);
    events.push((order(7), cancelled()));
    rig.hear(&events).await;
    until_told(&rig, 19).await;
    assert_eq!(rig.said(order(7)).await, []);
}

#[tokio::test]
async fn the_backlog_drains_oldest_first_within_the_operators_bound() {
    let rig = Rig::start_with(PaymentsConfig { drain_rate: 40, ..with_breaker(300) }, sandbox_config()).await;
    rig.provider.mode(r#"{"throttle": true}"#).await;
    for chunk in orders(0..240).chunks(10) {
        rig.hear(chunk).await;
    }
    until_told(&rig, 240).await;
    rig.provider.mode(r#"{"throttle": null}"#).await;
    rig.until(order(80), State::Captured).await;
    assert!(matches!(rig.gate.phase(), Phase::Draining { .. }), "{:?}", rig.gate.phase());
    // The operator lets go of the bound while it runs.
    rig.drain_rate.send_replace(None);
    for n in 0..240 {
        rig.until(order(n), State::Captured).await;
        assert_eq!(rig.provider.moved(order(n), "charge").await, [TOTAL]);
    }
    wait_for("the end of the outage", || async { (rig.gate.phase() == Phase::Well).then_some(()) }).await;
    let open = "select count(*) from outage where until_us is null";
    wait_for("the outage to be written off", || async { (rig.count(open).await == 0).then_some(()) }).await;

    let names: BTreeMap<String, usize> = (0..240).map(|n| (order(n).to_string(), usize::from(n))).collect();
    let charges: Vec<(usize, i64)> = rig
        .provider
        .attempts()
        .await
        .iter()
        .filter(|a| a["effect"] == true)
        .map(|attempt| {
            let number = names[attempt["reference"].as_str().expect("a reference")];
            (number, attempt["time"].as_i64().expect("a time"))
        })
        .collect();
    let strays = charges.iter().enumerate().filter(|(at, (number, _))| at.abs_diff(*number) > 20).count();
    assert!(strays <= 30, "{strays} of 240 were charged out of turn");
    let bounded: Vec<i64> = charges.iter().take(75).map(|(_, time)| *time).collect();
    let busiest =
        bounded.iter().map(|from| bounded.iter().filter(|at| (*from..*from + 1000).contains(at)).count()).max();
    assert!(busiest <= Some(46), "{busiest:?} calls within a second");
}

#[tokio::test]
async fn what_is_tried_as_often_as_it_may_be_is_parked_and_what_turns_up_later_still_counts() {
    let mut config = config();
    config.provider.timeout_ms = 1_000;
    config.retry.unknown.tries = 2;
    config.retry.throttled.tries = 3;
    let rig = Rig::start_with(config, sandbox_config()).await;
    // Carried out, and never answered.
    rig.provider.mode(r#"{"black_hole_after": true}"#).await;
    rig.hear(&orders(0..1)).await;
    assert_eq!(rig.until(order(0), State::Parked).await.reason, Some(Reason::TriesSpent));
    assert_eq!(rig.provider.attempts().await.len(), 2);
    assert_eq!(rig.said(order(0)).await, []);
    // Surely not carried out, again and again.
    rig.provider.mode(r#"{"black_hole_after": null, "throttle": true}"#).await;
    rig.hear(&orders(1..2)).await;
    assert_eq!(rig.until(order(1), State::Parked).await.reason, Some(Reason::TriesSpent));
    assert_eq!(rig.provider.attempts().await.len(), 2 + 3);

    rig.provider.mode(r#"{"throttle": null}"#).await;
    rig.clock.advance(Duration::from_secs(3_600));
    // Whatever is committed next wakes those who wait for the time.
    rig.hear(&[(order(2), held(TOTAL, "pm_declined")), (order(1), cancelled())]).await;
    rig.until(order(0), State::Captured).await;
    assert_eq!(kinds(&rig.said(order(0)).await), [EventKind::PaymentCaptured]);
    assert_eq!(rig.provider.moved(order(0), "charge").await, [TOTAL]);
    rig.clock.advance(Duration::from_secs(24 * 3_600));
    rig.hear(&[(order(3), held(TOTAL, "pm_declined"))]).await;
    rig.until(order(1), State::Cancelled).await;
    assert_eq!(rig.provider.moved(order(1), "charge").await, [0; 0]);
}
