//! The gate by itself: outages begin and end, and what waits passes in a measured way.

use spillway_shared::ledger::{Gate as _, SystemClock};

use super::*;
use crate::breaker::{PROBES, Verdict};

const SICK: Verdict = Verdict::Sick("no answer");

fn gate(open_for: Duration, bound: Option<f64>) -> (Gate, watch::Sender<Option<f64>>) {
    let (rate, drain_rate) = watch::channel(bound);
    (Gate::new(Breaker::new(2, open_for), drain_rate, Arc::new(SystemClock), None), rate)
}

async fn call(lane: &Lane, verdict: Verdict) {
    let mut permit = lane.pass().await;
    permit.begin(false);
    permit.judge(verdict);
}

async fn fail_and_recover(lane: &Lane) {
    for _ in 0..2 {
        call(lane, SICK).await;
    }
    for _ in 0..PROBES {
        call(lane, Verdict::Healthy).await;
    }
}

#[tokio::test]
async fn at_rest_nothing_is_held_back() {
    let (gate, _rate) = gate(Duration::from_secs(3600), Some(1.0));
    let lane = gate.lane();
    for _ in 0..1000 {
        call(&lane, Verdict::Healthy).await;
    }
    assert_eq!((gate.phase(), gate.held_to()), (Phase::Well, None));
}

#[tokio::test]
async fn after_an_outage_calls_pass_at_a_rate_until_the_backlog_is_worked_off() {
    let (gate, _rate) = gate(Duration::from_millis(1), Some(20.0));
    let (lane, other) = (gate.lane(), gate.lane());
    other.nothing_due();
    fail_and_recover(&lane).await;
    let began = Instant::now();
    for _ in 0..10 {
        call(&lane, Verdict::Healthy).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(350), "10 calls at 10 a second and rising: {:?}", began.elapsed());
    let Phase::Draining { since } = gate.phase() else { panic!("{:?}", gate.phase()) };
    assert!(since <= Timestamp::now());
    lane.nothing_due();
    assert_eq!((gate.phase(), gate.held_to()), (Phase::Well, None));
}

#[tokio::test]
async fn a_failure_among_the_backlog_begins_the_ramp_anew_and_the_outage_stays_the_same() {
    let (gate, _rate) = gate(Duration::from_millis(1), None);
    let lane = gate.lane();
    fail_and_recover(&lane).await;
    for _ in 0..40 {
        call(&lane, Verdict::Healthy).await;
    }
    let (fast, since) = (gate.held_to().expect("a ramp"), gate.phase().since());
    assert!(fast > 15.0, "{fast}");
    call(&lane, SICK).await;
    gate.observe();
    let slow = gate.held_to().expect("a ramp");
    assert!(slow < fast, "{slow}");
    call(&lane, SICK).await;
    assert!(matches!(gate.phase(), Phase::Out { .. }));
    assert_eq!(gate.phase().since(), since, "it is still the same outage");
}

#[tokio::test]
async fn an_outage_of_the_process_before_goes_on_until_probes_went_well() {
    let (_rate, drain_rate) = watch::channel(None);
    let since = Timestamp::UNIX_EPOCH;
    let breaker = Breaker::suspicious(2, Duration::from_millis(1));
    let gate = Gate::new(breaker, drain_rate, Arc::new(SystemClock), Some(since));
    let lane = gate.lane();
    assert_eq!(gate.phase(), Phase::Out { since });
    for _ in 0..PROBES {
        call(&lane, Verdict::Healthy).await;
    }
    assert_eq!(gate.phase(), Phase::Draining { since });
    lane.nothing_due();
    assert_eq!(gate.phase(), Phase::Well);
}

#[tokio::test]
async fn a_pass_that_nothing_is_taken_with_leaves_the_probe_to_somebody_else() {
    let (gate, _rate) = gate(Duration::from_millis(1), None);
    let (lane, other) = (gate.lane(), gate.lane());
    for _ in 0..2 {
        call(&lane, SICK).await;
    }
    let unused = lane.pass().await;
    let probing = tokio::spawn(async move { call(&other, Verdict::Healthy).await });
    drop(unused);
    tokio::time::timeout(Duration::from_secs(10), probing).await.expect("in time").expect("no panic");
}
