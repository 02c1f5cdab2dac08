//! The provider is down, slow, locked or erring, and comes back: everybody is charged, once.

mod common;

use std::num::NonZeroU32;
use std::time::Duration;

use common::{Rig, config, held, kinds, order, sandbox_config, wait_for};
use spillway_payments::PaymentsConfig;
use spillway_payments::domain::State;
use spillway_proto::{Event, EventKind, OrderId};
use spillway_shared::config::Secret;

const TOTAL: i64 = 700;
const ORDERS: u8 = 40;

fn with_breaker(failures: u32, open_ms: u64) -> PaymentsConfig {
    let mut config = config();
    config.breaker.failures = NonZeroU32::new(failures).expect("not zero");
    config.breaker.open_ms = open_ms;
    config
}

fn orders() -> Vec<(OrderId, Event)> {
    (0..ORDERS).map(|n| (order(n), held(TOTAL, "pm_ok"))).collect()
}

async fn until_breaker(rig: &Rig, name: &str) {
    let mut state = rig.breaker.watch();
    let reached = state.wait_for(|state| state.name() == name);
    tokio::time::timeout(common::DEADLINE, reached).await.expect("in time").expect("the breaker lives");
}

async fn all_charged_once(rig: &Rig) {
    for n in 0..ORDERS {
        rig.until(order(n), State::Captured).await;
        let said = kinds(&rig.said(order(n)).await);
        let settled: Vec<_> = said.iter().filter(|kind| **kind != EventKind::PaymentDeferred).collect();
        assert_eq!(settled, [&EventKind::PaymentCaptured]);
        assert!(said.len() <= 2, "told more than once that it waits: {said:?}");
        assert_eq!(rig.provider.moved(order(n), "charge").await, [TOTAL]);
    }
    assert_eq!(rig.count("select count(*) from due").await, 0);
    assert_eq!(rig.count("select count(*) from payment where attempt <> 1").await, 0, "waiting spends no attempts");
}

/// The provider is in this mode until the breaker has opened; then it works again.
async fn survives(mode: &str, config: PaymentsConfig) -> Rig {
    let rig = Rig::start_with(config, sandbox_config()).await;
    rig.provider.mode(mode).await;
    rig.hear(&orders()).await;
    until_breaker(&rig, "open").await;
    let back = r#"{"down": null, "throttle": null, "black_hole": null, "error_rate": null, "unauthorized": null}"#;
    rig.provider.mode(back).await;
    all_charged_once(&rig).await;
    assert_eq!(rig.breaker.watch().borrow().name(), "closed");
    rig
}

#[tokio::test]
async fn down_and_up_again_charges_everybody_once() {
    survives(r#"{"down": true}"#, with_breaker(5, 300)).await;
}

#[tokio::test]
async fn a_black_hole_that_answers_again_charges_everybody_once() {
    let mut config = with_breaker(5, 300);
    config.provider.timeout_ms = 200;
    survives(r#"{"black_hole": true}"#, config).await;
}

#[tokio::test]
async fn throttling_and_errors_pass_and_everybody_is_charged_once() {
    survives(r#"{"throttle": true}"#, with_breaker(5, 300)).await;
    survives(r#"{"error_rate": 1}"#, with_breaker(5, 300)).await;
}

#[tokio::test]
async fn a_refused_token_parks_nobody_and_a_new_one_in_the_file_is_taken_while_running() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "old\n").expect("written");
    let mut config = with_breaker(5, 300);
    config.provider.token_file = Some(file.clone());
    let sandbox = spillway_sandbox::SandboxConfig { token: Some("new".to_owned()), ..sandbox_config() };
    let rig = Rig::start_with(config, sandbox).await;
    rig.hear(&orders()).await;
    until_breaker(&rig, "open").await;
    assert_eq!(rig.count("select count(*) from payment where state <> 'CHARGING'").await, 0);
    std::fs::write(&file, "new\n").expect("written");
    all_charged_once(&rig).await;
}

#[tokio::test]
async fn the_token_of_the_configuration_is_sent() {
    let mut config = config();
    config.provider.token = Some(Secret::from("hush"));
    let sandbox = spillway_sandbox::SandboxConfig { token: Some("hush".to_owned()), ..sandbox_config() };
    let rig = Rig::start_with(config, sandbox).await;
    rig.hear(&orders()).await;
    all_charged_once(&rig).await;
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_surely_not_acting() {
    let mut config = with_breaker(5, 60_000);
    let mut rig = Rig::idle(config.clone(), sandbox_config()).await;
    // A port that is taken and that nobody listens on.
    let taken = tokio::net::TcpSocket::new_v4().expect("a socket");
    taken.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let nobody = taken.local_addr().expect("an address");
    config.provider.url = format!("http://{nobody}");
    rig.set_to_work_with(&config);
    rig.hear(&orders()).await;
    until_breaker(&rig, "open").await;
    assert_eq!(rig.count("select count(*) from payment where state <> 'CHARGING'").await, 0);
}

#[tokio::test]
async fn an_open_breaker_calls_nobody_and_lets_one_probe_through() {
    let rig = Rig::start_with(with_breaker(3, 400), sandbox_config()).await;
    rig.provider.mode(r#"{"throttle": true}"#).await;
    rig.hear(&orders()).await;
    until_breaker(&rig, "open").await;
    // Calls that were out when it opened may still arrive; every due row stays where it is, and none calls.
    let waiting = "select count(*) from due";
    assert_eq!(rig.count(waiting).await, i64::from(ORDERS));
    until_breaker(&rig, "half_open").await;
    let before = rig.provider.attempts().await.len();
    rig.provider.mode(r#"{"black_hole": true}"#).await;
    // Whoever is let through now hangs: there is one of them, however many are waiting.
    let probe = wait_for("a probe", || async {
        let attempts = rig.provider.attempts().await;
        attempts.iter().any(|attempt| attempt["error_code"] == "black_hole").then_some(attempts.len())
    });
    let hanging = probe.await - before;
    assert!(hanging <= 2, "{hanging} probes at a time");
    rig.provider.mode(r#"{"black_hole": null, "throttle": null}"#).await;
    all_charged_once(&rig).await;
}

#[tokio::test]
async fn a_slow_provider_holds_up_no_more_than_the_workers_in_hand() {
    let mut sandbox = sandbox_config();
    sandbox.slow_ms = 6_000;
    let mut config = config();
    config.provider.timeout_ms = 10_000;
    let rig = Rig::start_with(config, sandbox).await;
    let slow: Vec<(OrderId, Event)> = (100..108).map(|n| (order(n), held(TOTAL, "pm_slow"))).collect();
    rig.hear(&slow).await;
    rig.hear(&orders()).await;
    all_charged_once_of(&rig, 0..ORDERS).await;
    let open = rig.count("select count(*) from payment where state = 'CHARGING'").await;
    assert!(open > 0, "the slow ones go on meanwhile");
    all_charged_once_of(&rig, 100..108).await;
}

async fn all_charged_once_of(rig: &Rig, numbers: std::ops::Range<u8>) {
    for n in numbers {
        rig.until(order(n), State::Captured).await;
        assert_eq!(rig.provider.moved(order(n), "charge").await, [TOTAL]);
    }
}

#[tokio::test]
async fn an_outage_longer_than_the_key_is_known_is_looked_up_before_it_is_sent() {
    let mut rig = Rig::idle(config(), sandbox_config()).await;
    rig.hear(&orders()).await;
    // Nobody could call for more than a day: nothing ever went out.
    rig.clock.advance(Duration::from_secs(25 * 3600));
    rig.set_to_work();
    all_charged_once(&rig).await;
}

#[tokio::test]
async fn a_worker_that_ended_after_the_provider_acted_is_followed_by_one_that_charges_nobody_again() {
    let mut rig = Rig::idle(config(), sandbox_config()).await;
    rig.hear(&orders()).await;
    // A process that sent everything and told nobody.
    for due in rig.take_due().await {
        drop(rig.work(due).await);
    }
    let acted = rig.provider.attempts().await.len();
    assert_eq!(acted, usize::from(ORDERS));
    // Long after, when the provider has forgotten every key.
    rig.provider.mode(r#"{"forget_keys": true}"#).await;
    rig.clock.advance(Duration::from_secs(25 * 3600));
    rig.set_to_work();
    all_charged_once(&rig).await;
    assert_eq!(rig.provider.attempts().await.len(), acted, "all were found by lookup");
}
