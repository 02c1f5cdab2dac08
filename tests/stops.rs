//! A role is asked to end, under load: it is gentle, it is in time, and whoever it served goes on elsewhere.

mod support;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{WatchOrderRequest, WatchOrderResponse};
use support::calls::request;
use support::roles::{ROLES, Roles};
use support::shop::Shops;
use support::{Options, PATIENCE, System, sums};
use tonic::{Code, Status};
use tonic_types::StatusExt;

#[tokio::test(flavor = "multi_thread")]
async fn every_role_is_stopped_and_started_under_load_and_no_call_fails_after_ordinary_retry() {
    let mut all = Roles::start(&[]).await;
    all.add_stock("tea", 100_000).await;
    let mut shops = Shops::open(&all, 4);
    for role in ROLES {
        shops.until_more(40).await;
        let began = Instant::now();
        let ended = all.stop(role).await;
        assert_eq!((ended.code, ended.signal), (Some(0), None), "{role}: {}", all.log());
        eprintln!("{role} drained in {:?}", began.elapsed());
        all.restart(role).await;
    }
    shops.until_more(40).await;
    let log = all.log();
    assert_eq!(log.matches("\"msg\":\"drained\"").count(), ROLES.len(), "{log}");
    assert_eq!(log.matches("drain deadline passed").count(), 0);
    all.close(shops).await;
}

/// Watches an order from a cursor on; what came, and how it ended.
async fn watch(all: &Roles, order_id: &str, cursor: i64) -> (Vec<WatchOrderResponse>, Option<Status>) {
    let request = WatchOrderRequest { order_id: order_id.to_owned(), cursor };
    let mut stream = match all.orders().watch_order(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return (vec![], Some(status)),
    };
    let mut steps = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, stream.message()).await.expect("something comes") {
            Ok(Some(step)) => steps.push(step),
            Ok(None) => return (steps, None),
            Err(status) => return (steps, Some(status)),
        }
    }
}

/// Tries again while the new gateway finds its way to NATS, as any client does.
async fn resume(all: &Roles, order_id: &str, cursor: i64) -> (Vec<WatchOrderResponse>, Option<Status>) {
    let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
    loop {
        every.tick().await;
        match watch(all, order_id, cursor).await {
            (steps, Some(status)) if steps.is_empty() && status.code() == Code::Unavailable => {}
            told => return told,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_is_ended_with_its_cursor_and_resumed_misses_and_repeats_nothing() {
    let mut all = Roles::start(&[]).await;
    all.add_stock("tea", 10).await;
    // Held, and then waiting for its payment: the watch is in the middle of its order.
    let mode = format!("{}/sandbox/mode", all.address("provider"));
    assert_eq!(sums::post(&mode, r#"{"down": true}"#).await.0, 200);
    let order = all.place(request("tea", 1, "pm_ok")).await;
    let mut client = all.orders();
    let request = WatchOrderRequest { order_id: order.order_id.clone(), cursor: 0 };
    let mut stream = client.watch_order(request).await.expect("watched").into_inner();
    let mut seen = vec![stream.message().await.expect("no break").expect("a step")];

    all.signal("gateway", Signal::TERM);
    let interrupted = loop {
        match tokio::time::timeout(PATIENCE, stream.message()).await.expect("it is ended") {
            Ok(Some(step)) => seen.push(step),
            Ok(None) => panic!("the order has not ended"),
            Err(status) => break status,
        }
    };
    let info = interrupted.get_details_error_info().expect("every error has it");
    assert_eq!((interrupted.code(), info.reason.as_str()), (Code::Unavailable, "WATCH_INTERRUPTED"));
    assert!(interrupted.metadata().get("grpc-retry-pushback-ms").is_some(), "{interrupted:?}");
    let cursor: i64 = info.metadata["cursor"].parse().expect("a number");
    assert_eq!(seen.last().map(|step| step.cursor), Some(cursor), "it is where the client is");
    assert_eq!(all.ended_role("gateway").await.code, Some(0));

    assert_eq!(sums::post(&mode, r#"{"down": false}"#).await.0, 200);
    all.restart("gateway").await;
    let (rest, ended) =
        tokio::time::timeout(PATIENCE, resume(&all, &order.order_id, cursor)).await.expect("it is told at last");
    assert!(ended.is_none(), "{ended:?}");
    seen.extend(rest);
    let versions: Vec<i64> = seen.iter().filter(|step| step.event.is_some()).map(|step| step.cursor).collect();
    let expected: Vec<i64> = (1..=seen.last().expect("steps").cursor).collect();
    assert_eq!(versions, expected, "each version once");
    assert_eq!(seen.last().and_then(|step| step.order.clone()).expect("an order").state(), State::Confirmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_stops_is_not_ready_at_once_and_waits_for_the_charge_in_flight() {
    let mut all = Roles::start(&[]).await;
    all.add_stock("tea", 10).await;
    let mode = format!("{}/sandbox/mode", all.address("provider"));
    assert_eq!(sums::post(&mode, r#"{"delay_ms": 3000}"#).await.0, 200);
    let order = all.place(request("tea", 1, "pm_ok")).await;
    all.until_provider_is_asked().await;
    all.signal("payments", Signal::TERM);
    all.until_readiness("payments", 503).await;
    assert!(!all.process("payments").is_gone(), "a charge is in flight");
    let ended = all.ended_role("payments").await;
    assert_eq!(ended.code, Some(0), "{}", all.log());
    assert_eq!(all.charges().await[&order.order_id], [1250], "it was waited for");
    // Its result was committed and said before the end: the order is confirmed although nobody is there to charge.
    assert_eq!(all.ended(&order.order_id).await.state(), State::Confirmed);
}

/// A charge that is executed and never answered is in flight.
async fn with_a_charge_that_hangs(all: &System) -> String {
    let mode = format!("{}/sandbox/mode", all.address("provider"));
    assert_eq!(sums::post(&mode, r#"{"black_hole_after": true}"#).await.0, 200);
    let order = all.place(request("tea", 1, "pm_ok")).await;
    all.until_charged(&order.order_id).await;
    order.order_id
}

async fn heal(all: &System) {
    let mode = format!("{}/sandbox/mode", all.address("provider"));
    assert_eq!(sums::post(&mode, r#"{"black_hole_after": false}"#).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_wins_over_a_charge_that_hangs_says_what_was_left_and_nobody_pays_twice() {
    let mut all = Roles::start(&["--set", "drain_timeout_s=2"]).await;
    all.add_stock("tea", 10).await;
    let order = with_a_charge_that_hangs(&all).await;
    let began = Instant::now();
    let ended = all.stop("payments").await;
    assert_eq!(ended.code, Some(0), "{}", all.log());
    // The call itself gives up after 10 s.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let log = all.log();
    let told = log.lines().find(|line| line.contains("drain deadline passed")).expect("it is logged");
    assert!(told.contains("payments-0 charge"), "{told}");
    heal(&all).await;
    all.restart("payments").await;
    assert_eq!(all.ended(&order).await.state(), State::Confirmed);
    assert_eq!(all.charges().await[&order], [1250], "charged once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_role_at_once() {
    let mut all = Roles::start(&[]).await;
    all.add_stock("tea", 10).await;
    let order = with_a_charge_that_hangs(&all).await;
    all.signal("payments", Signal::TERM);
    all.until_readiness("payments", 503).await;
    let began = Instant::now();
    let ended = all.stop("payments").await;
    assert_eq!((ended.code, ended.signal), (Some(1), None), "{}", all.log());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(all.log().contains("stopping at once"));
    heal(&all).await;
    all.restart("payments").await;
    assert_eq!(all.ended(&order).await.state(), State::Confirmed);
    assert_eq!(all.charges().await[&order], [1250], "charged once");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_is_stopped_under_load_within_its_deadline_at_once_by_a_second_signal_and_goes_on_with_everything() {
    let arguments = ["--set", "drain_timeout_s=10"].map(str::to_owned).to_vec();
    let mut system = System::start_with(Options { arguments, ..Options::default() }).await;
    system.add_stock("tea", 100_000).await;
    let mut accepted = Vec::new();
    let mut shops = Shops::open(&system, 4);
    shops.until_more(100).await;
    let began = Instant::now();
    system.signal(Signal::TERM);
    let ended = system.ended_process().await;
    assert_eq!(ended.code, Some(0), "{}", system.log());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    eprintln!("up drained in {:?}", began.elapsed());
    assert!(ended.last["open_orders"].is_u64(), "{:?}", ended.last);
    accepted.extend(shops.abandon().await.accepted);

    system.restart().await;
    let hangs = with_a_charge_that_hangs(&system).await;
    system.signal(Signal::TERM);
    until_draining(&system, "payments").await;
    system.signal(Signal::TERM);
    let ended = system.ended_process().await;
    assert_eq!((ended.code, ended.signal), (Some(1), None), "{}", system.log());
    assert!(system.log().contains("again: stopping at once"));

    system.restart().await;
    assert_eq!(system.ended(&hangs).await.state(), State::Confirmed);
    let sums = system.sums_add_up(accepted.len() + 1).await;
    for id in &accepted {
        assert_ne!(system.get(id).await.expect("accepted is kept").state(), State::Pending);
    }
    eprintln!("accepted {}, {sums:?}", accepted.len());
}

/// Waits until a role says that it is on its way out.
async fn until_draining(system: &System, role: &str) {
    let url = format!("http://{}/ready", system.admin(role));
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let asked = async {
        while sums::get(&url).await.0 != 503 {
            every.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it drains");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_without_nats_leaves_at_once_and_says_the_rest_at_its_next_start() {
    let mut all = Roles::start(&[]).await;
    all.add_stock("tea", 10).await;
    all.nats.kill().await;
    let order = all.place(request("tea", 1, "pm_ok")).await;
    let began = Instant::now();
    assert_eq!(all.stop("gateway").await.code, Some(0), "{}", all.log());
    // Nobody there to tell: the 30 s of the deadline are not waited for.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(all.log().contains("said at the next start"), "{}", all.log());
    all.nats.restart().await.expect("nats-server is back");
    all.restart("gateway").await;
    assert_eq!(all.ended(&order.order_id).await.state(), State::Confirmed);
    assert_eq!(all.sums_add_up(1).await.confirmed, 1);
}
