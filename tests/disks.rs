//! A ledger's disk is full, fails, or is locked by another process, in each role, under load.

mod support;

use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use support::calls::{adjustment, request};
use support::fault::{Fault, Shim};
use support::roles::{ROLES, Roles};
use support::shop::Shops;
use support::{Options, PATIENCE, System};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

fn ledger_of(role: &str) -> String {
    if ["gateway", "inventory"].contains(&role) { role.to_owned() } else { format!("{role}-0") }
}

/// Nobody's input was taken for poison.
fn assert_no_dead_letters(all: &Roles) {
    for role in ROLES {
        let path = all.ledger(&ledger_of(role));
        let ledger = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("opens");
        let dead: i64 = ledger.query_row("select count(*) from dead_letter", [], |row| row.get(0)).expect("counted");
        assert_eq!(dead, 0, "dead letters of {role}");
    }
}

/// What a client hears that places an order now.
async fn refusal(all: &System) -> Option<(Status, Duration)> {
    let began = Instant::now();
    let refused = all.orders().place_order(request("tea", 1, "pm_ok")).await.err()?;
    Some((refused, began.elapsed()))
}

/// Waits until orders are refused since the ledger cannot write, and looks at how. Admission may refuse some as well.
async fn until_refused_in_good_order(all: &System) {
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let mut took = Vec::new();
    let refused = async {
        while took.len() < 21 {
            every.tick().await;
            let Some((status, time)) = refusal(all).await else {
                assert!(took.is_empty(), "an order was accepted without a commit");
                continue;
            };
            let details = status.get_details_retry_info().expect("it says when to come back");
            assert!(details.retry_delay.is_some_and(|delay| delay > Duration::ZERO));
            let reason = status.get_details_error_info().expect("every error has it").reason;
            match (status.code(), reason.as_str()) {
                (Code::Unavailable, "LEDGER_UNAVAILABLE") => took.push(time),
                (Code::ResourceExhausted, "OVERLOADED") => {}
                _ => panic!("{status:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("it is noticed");
    took.sort_unstable();
    eprintln!("an order is refused within {:?} (median of 21, connecting included)", took[10]);
    assert!(took[10] < Duration::from_millis(100), "{took:?}");
}

async fn until_served(all: &System, wanted: ServingStatus) {
    let mut health = HealthClient::new(all.channel());
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let told = async {
        loop {
            every.tick().await;
            let answer = health.check(HealthCheckRequest::default()).await.expect("it answers").into_inner();
            if answer.status() == wanted {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("never {wanted:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_commits_in_each_role_and_it_goes_on_when_there_is_space_without_a_restart() {
    let shim = Shim::compile();
    let mut all = shim.roles(&[]).await;
    all.add_stock("tea", 100_000).await;
    let mut shops = Shops::open(&all, 4);
    for role in ROLES {
        shops.until_more(20).await;
        shim.fail(role, Fault::Full);
        all.until_readiness(role, 503).await;
        if role == "gateway" {
            until_refused_in_good_order(&all).await;
            until_served(&all, ServingStatus::NotServing).await;
        } else {
            // Nobody else is harmed: orders are accepted.
            shops.until_more(20).await;
        }
        assert!(!all.process(role).is_gone(), "{role} ended: {}", all.log());
        shim.heal(role);
        all.until_ready(role).await;
        let refused = all.counted(role, "spillway_commits_failed_total", &["outcome=\"refused\""]).await;
        eprintln!("{role} refused {refused} commits");
        assert!(refused > 0, "{role} met no full disk");
    }
    until_served(&all, ServingStatus::Serving).await;
    shops.until_more(50).await;
    all.close(shops).await;
    assert_no_dead_letters(&all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_ends_each_role_and_it_comes_back_clean() {
    let shim = Shim::compile();
    let mut all = shim.roles(&["--set", "nats.consumer.ack_wait_s=2"]).await;
    all.add_stock("tea", 100_000).await;
    let mut shops = Shops::open(&all, 4);
    for (nth, role) in ROLES.into_iter().enumerate() {
        shops.until_more(20).await;
        shim.fail(role, if nth == 0 { Fault::WriteFails } else { Fault::SyncFails });
        let ended = all.ended_role(role).await;
        assert_eq!((ended.code, ended.signal), (Some(1), None), "{role}: {}", all.log());
        shim.heal(role);
        all.restart(role).await;
    }
    let log = all.log();
    for role in ROLES {
        let ledger = ledger_of(role);
        let is_told = |line: &&str| line.contains("ledger is broken, stopping") && line.contains(&ledger);
        let line = log.lines().find(is_told).unwrap_or_else(|| panic!("{role} does not say why: {log}"));
        assert!(line.contains("disk I/O error"), "{line}");
        assert!(log.contains(&format!("{role} ended by itself")), "{role}: {log}");
    }
    shops.until_more(50).await;
    all.close(shops).await;
    assert_no_dead_letters(&all);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_ends_when_one_of_its_ledgers_fails_and_says_which() {
    let shim = Shim::compile();
    let mut system = System::without_process();
    let environment = shim.environment(&system, "orders");
    system.start_here(Options { environment, ..Options::default() }).await;
    system.add_stock("tea", 10).await;
    let order = system.place(request("tea", 1, "pm_ok")).await;
    shim.fail("orders", Fault::SyncFails);
    // Orders hears of it and writes down that it has. Whether it is answered in time is not what this is about.
    drop(system.inventory().adjust_stock(adjustment("tea", 10)).await);
    let ended = system.ended_process().await;
    assert_eq!(ended.code, Some(1), "{}", system.log());
    assert!(system.log().contains("orders-0 ledger: database cannot be read or written"), "{}", system.log());
    shim.heal("orders");
    system.restart().await;
    system.ended(&order.order_id).await;
    assert_eq!(system.sums_add_up(1).await.confirmed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_another_process_locks_waits_refuses_in_time_and_loses_nothing() {
    let all = Roles::start(&[]).await;
    all.add_stock("tea", 100_000).await;
    let mut shops = Shops::open(&all, 4);
    for role in ROLES {
        shops.until_more(20).await;
        let mut another = Connection::open(all.ledger(&ledger_of(role))).expect("opens");
        another.busy_timeout(PATIENCE).expect("set");
        let lock = another.transaction_with_behavior(TransactionBehavior::Immediate).expect("locked");
        all.until_readiness(role, 503).await;
        if role == "gateway" {
            until_refused_in_good_order(&all).await;
            until_served(&all, ServingStatus::NotServing).await;
        } else {
            shops.until_more(20).await;
        }
        drop(lock);
        all.until_ready(role).await;
        let again = all.counted(role, "spillway_commits_failed_total", &["outcome=\"again\""]).await;
        eprintln!("{role} tried commits again {again} times");
        assert!(again > 0, "{role} met no lock");
    }
    all.close(shops).await;
    assert_no_dead_letters(&all);
}
