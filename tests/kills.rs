//! Every role is killed at named steps, and frozen for longer than JetStream waits, under load: nothing is lost, nothing
//! is done twice.

mod support;

use rustix::process::Signal;
use support::PATIENCE;
use support::roles::{ROLES, Roles};
use support::shop::Shops;

/// A role is killed at the n-th time that it comes to a step. One row for each kind of step; a matrix of all of them is
/// another test's.
const KILLS: [(&str, &str, u32); 18] = [
    ("gateway", "gateway.after_decode", 20),
    ("gateway", "gateway.before_tx", 20),
    ("gateway", "gateway.in_tx", 10),
    ("gateway", "consumer.after_commit", 12),
    ("gateway", "gateway.before_reply", 20),
    ("gateway", "relay.before_publish", 12),
    ("inventory", "relay.claimed", 12),
    ("inventory", "relay.after_puback", 12),
    ("inventory", "consumer.state_written", 12),
    ("orders", "relay.before_mark", 6),
    ("orders", "relay.after_mark", 6),
    ("orders", "consumer.fetched", 12),
    ("orders", "consumer.acked", 12),
    ("payments", "consumer.begun", 12),
    ("payments", "consumer.inbox_inserted", 12),
    ("audit", "consumer.before_commit", 12),
    ("notifications", "notifier.before_send", 12),
    ("notifications", "notifier.after_send", 12),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_role_is_killed_at_its_steps_under_load_and_the_sums_add_up() {
    // Redelivered while the test runs, not half a minute later.
    let mut all = Roles::start(&["--set", "nats.consumer.ack_wait_s=2"]).await;
    all.add_stock("tea", 100_000).await;
    let mut shops = Shops::open(&all, 4);
    for (role, step, hits) in KILLS {
        // Ended gently first, so that the kill is the only disturbance of its row.
        all.stop(role).await;
        let failpoints = format!("{step}={}*off->return(kill)", hits - 1);
        all.begin_doomed(role, failpoints).await;
        let ended = all.ended_role(role).await;
        assert_eq!((ended.code, ended.signal), (None, Some(Signal::KILL.as_raw())), "{role} at {step}: {}", all.log());
        eprintln!("{role} killed at {step}");
        all.restart(role).await;
        shops.until_more(10).await;
    }
    shops.until_more(50).await;
    all.close(shops).await;
    let redelivered = all.redeliveries().await;
    let mut absorbed = 0;
    for role in ["inventory", "payments", "orders", "notifications", "audit"] {
        absorbed += all.counted(role, "spillway_duplicates_absorbed_total", &[]).await;
    }
    eprintln!("{} kills; redelivered {redelivered}, absorbed {absorbed}", KILLS.len());
    assert!(redelivered > 0, "no message was delivered twice: these kills tried nothing");
    assert!(absorbed > 0, "no batch was heard twice: these kills tried nothing");
}

/// Waits until messages that a frozen role holds are delivered again.
async fn until_redelivered(all: &Roles, role: &str) {
    let before = all.redeliveries_to(role).await;
    let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
    let seen = async {
        while all.redeliveries_to(role).await <= before {
            every.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("what is not acknowledged is delivered again");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_is_frozen_for_longer_than_an_acknowledgement_is_waited_for_and_wakes_to_one_effect_each() {
    let mut all = Roles::start(&["--set", "nats.consumer.ack_wait_s=1"]).await;
    all.add_stock("tea", 100_000).await;
    let mut shops = Shops::open(&all, 4);
    for role in ROLES {
        shops.until_more(30).await;
        all.signal(role, Signal::STOP);
        if role == "gateway" {
            // Every shop has waited for an answer in vain.
            shops.until_more_retried(4).await;
        } else {
            until_redelivered(&all, role).await;
            let (code, told) = all.another(role).await;
            assert!(code == 3 && told.contains("is in use by process"), "{code} {told}");
        }
        all.signal(role, Signal::CONT);
        all.until_ready(role).await;
    }
    shops.until_more(50).await;
    all.close(shops).await;
    for role in ROLES.into_iter().filter(|role| *role != "gateway") {
        let absorbed = all.counted(role, "spillway_duplicates_absorbed_total", &[]).await;
        eprintln!("{role} absorbed {absorbed} batches that were heard twice");
        assert!(absorbed > 0, "{role} heard nothing twice: freezing it tried nothing");
    }
}
