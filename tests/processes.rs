//! Every role its own process, against one NATS: the same orders, also when one of them, or NATS, is away.

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use spillway_proto::pb::orders::order::State;
use support::calls::request;
use support::roles::Roles;
use support::shoppers::{Placed, accepted_within};

/// Accepting an order waits for nobody but the gateway's own ledger: all but one of each shopper take less than this, also on
/// a slow day.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(3);

/// All roles, with tea in stock.
async fn start() -> Roles {
    let roles = Roles::start(&[]).await;
    roles.add_stock("tea", 1_000_000).await;
    roles
}

/// Orders of so many shoppers run while something is done, and nobody waits for it. Answers the calls that were refused.
async fn orders_run_while(
    roles: &mut Roles,
    number: usize,
    placed: &mut Vec<Placed>,
    what: &str,
    done: impl AsyncFnOnce(&mut Roles),
) -> usize {
    let began = Instant::now();
    let mut shoppers = roles.shop(number);
    shoppers.more(20).await;
    done(roles).await;
    shoppers.more(40).await;
    let accepted = shoppers.stop().await;
    let (count, within) = (accepted.len(), accepted_within(&accepted, number));
    let took = began.elapsed().as_secs_f32();
    let refused = accepted.iter().map(|order| order.refused).sum();
    eprintln!("{what}: {took:.1} s, {count} orders accepted, nearly all within {within:?}, {refused} calls refused");
    assert!(within < ACCEPTED_WITHIN, "{what}: accepting took {within:?}");
    placed.extend(accepted);
    refused
}

async fn all_is_well(roles: &Roles, placed: &[Placed]) {
    let began = Instant::now();
    roles.all_is_well(placed).await;
    eprintln!("all was well after {:.1} s", began.elapsed().as_secs_f32());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_runs_as_a_process_of_its_own_and_may_be_killed() {
    let mut roles = start().await;
    let first = roles.run_order(request("tea", 1, "pm_ok")).await;
    assert_eq!(first.state(), State::Confirmed);

    // Accepted while two roles are dead; ended once they are back.
    roles.kill("payments").await;
    roles.kill("orders").await;
    let second = roles.place(request("tea", 1, "pm_ok")).await;
    for role in ["payments", "orders"] {
        roles.restart(role).await;
    }
    let steps = roles.watch(&second.order_id, 0).await;
    assert_eq!(steps.last().and_then(|s| s.order.clone()).expect("a step").state(), State::Confirmed);
}

/// Each of them, audit too: orders are accepted without it, and it catches up without a gap.
#[tokio::test(flavor = "multi_thread")]
async fn every_role_may_be_away_for_a_while_and_catches_up() {
    let (mut roles, mut placed) = (start().await, Vec::new());
    for role in ["inventory", "payments", "orders", "notifications", "audit"] {
        let kill = async |roles: &mut Roles| roles.kill(role).await;
        orders_run_while(&mut roles, 4, &mut placed, &format!("{role} away"), kill).await;
        roles.begin(role).await;
    }
    all_is_well(&roles, &placed).await;
}

/// For so long, in seconds, NATS is away in the test below; ten minutes were run by hand.
const AWAY: &str = "TEST_NATS_AWAY_S";

/// Whether nothing keeps it from being ready but that it was not asked in time: so says a machine that stood still.
fn is_only_slow(report: &Value) -> bool {
    let checks = report["checks"].as_array().into_iter().flatten();
    let mut failed = checks.filter(|check| check["needed"] == true && check["ok"] == false).peekable();
    let is_late = |check: &Value| check["problem"].as_str().is_some_and(|why| why.starts_with("no answer within"));
    failed.peek().is_some() && failed.all(is_late)
}

/// A gateway that is started meanwhile becomes ready and accepts; no gateway leaves readiness.
#[tokio::test(flavor = "multi_thread")]
async fn nats_may_be_away_for_a_while_and_no_client_notices() {
    let away = std::env::var(AWAY).ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(8);
    // What gathers in a long time is to be worked off within the patience of a test.
    let shoppers = if away > 60 { 1 } else { 4 };
    let (mut roles, mut placed) = (start().await, Vec::new());
    let without_nats = async |roles: &mut Roles| {
        roles.nats.kill().await;
        let until = Instant::now() + Duration::from_secs(away);
        let mut every = tokio::time::interval(Duration::from_millis(200));
        while Instant::now() < until {
            every.tick().await;
            let (status, report) = roles.readiness("gateway").await;
            assert!(status == 200 || is_only_slow(&report), "{status} {report}");
        }
        assert_eq!(roles.readiness("orders").await.0, 503, "it hears nothing");
    };
    let refused = orders_run_while(&mut roles, shoppers, &mut placed, "nats away", without_nats).await;
    // An outage refuses nobody; a disk that is slow for a moment may.
    assert!(refused * 20 <= placed.len(), "{refused} calls were refused, {} accepted", placed.len());

    roles.stop("gateway").await;
    roles.restart("gateway").await;
    orders_run_while(&mut roles, shoppers, &mut placed, "a gateway started meanwhile", async |_| {}).await;

    roles.nats.restart().await.expect("starts again");
    orders_run_while(&mut roles, shoppers, &mut placed, "nats is back", async |_| {}).await;
    all_is_well(&roles, &placed).await;
}
