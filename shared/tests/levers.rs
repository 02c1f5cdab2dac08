//! What operators do to a ledger and what befalls it: pauses and settings in force with their commit, kept over
//! restarts, once for each request; incidents written down with the next commit.

mod common;

use std::time::Duration;

use common::{Add, Tally, open, total};
use spillway_proto::{Event, Partition, batch};
use spillway_shared::ledger::{Act, Acted, Due, IncidentKind, Ledger, incidents_told, settings_told};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const HERE: Partition = Partition(0);

fn act(request: u128, reason: &str) -> Act {
    Act {
        request_id: Uuid::from_u128(request),
        reason: reason.to_owned(),
        by: "ada".to_owned(),
        traceparent: String::new(),
    }
}

/// The events that a ledger has said, in order.
async fn said(ledger: &Ledger<Tally>) -> Vec<Event> {
    let outbox = ledger.outbox(HERE, 1, i64::MAX, 1 << 20).await.expect("answers");
    let events = outbox.into_iter().flat_map(|told| batch::read(told.body).expect("a batch"));
    events
        .map(|event| {
            let event = event.expect("an event");
            Event::decode(event.kind().expect("a known kind"), event.payload).expect("its payload")
        })
        .collect()
}

/// Waits until the file is free.
async fn closed(ledger: Ledger<Tally>) {
    let gone = ledger.gone();
    drop(ledger);
    gone.await;
}

#[tokio::test]
async fn a_pause_is_said_once_kept_over_a_restart_and_ended_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let mut pauses = ledger.pauses();
    assert_eq!(ledger.pause("mills", act(1, "flood")).await, Ok(Acted::Done));
    assert!(pauses.has_changed().expect("open"), "in force when it is answered");
    assert_eq!(ledger.pause("mills", act(1, "flood")).await, Ok(Acted::Repeated));
    assert_eq!(ledger.pause("mills", act(2, "again")).await, Ok(Acted::Already));
    assert_eq!(ledger.resume("mills", act(1, "flood")).await, Ok(Acted::Reused));
    let known = pauses.borrow_and_update().clone();
    closed(ledger).await;

    let ledger = open(folder.path());
    assert_eq!(*ledger.pauses().borrow(), known);
    assert_eq!((known["mills"].reason.as_str(), known["mills"].by.as_str()), ("flood", "ada"));
    assert_eq!(ledger.resume("mills", act(3, "dry")).await, Ok(Acted::Done));
    assert_eq!(ledger.resume("mills", act(4, "dry")).await, Ok(Acted::Already));
    // A late repeat of the first request holds nothing up again.
    assert_eq!(ledger.pause("mills", act(1, "flood")).await, Ok(Acted::Repeated));
    assert!(ledger.pauses().borrow().is_empty());
    let [Event::FlowPaused(paused), Event::FlowResumed(resumed)] = &said(&ledger).await[..] else {
        panic!("one event for each act that did something")
    };
    assert_eq!((paused.flow.as_str(), paused.reason.as_str(), paused.by.as_str()), ("mills", "flood", "ada"));
    assert_eq!((resumed.flow.as_str(), resumed.reason.as_str()), ("mills", "dry"));
}

#[tokio::test]
async fn a_setting_is_kept_and_an_empty_value_goes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    assert_eq!(ledger.set("speed", "7", act(1, "slow")).await, Ok(Acted::Done));
    assert_eq!(ledger.set("speed", "7", act(2, "slow")).await, Ok(Acted::Already));
    assert_eq!(ledger.set("speed", "8", act(1, "slow")).await, Ok(Acted::Reused));
    closed(ledger).await;
    let ledger = open(folder.path());
    assert_eq!(ledger.settings().borrow().get("speed").map(String::as_str), Some("7"));
    let told = ledger.query(settings_told).await.expect("answers");
    assert_eq!((told[0].name.as_str(), told[0].reason.as_str()), ("speed", "slow"));
    assert_eq!(ledger.set("speed", "", act(3, "enough")).await, Ok(Acted::Done));
    assert_eq!(ledger.set("speed", "", act(4, "enough")).await, Ok(Acted::Already));
    assert!(ledger.settings().borrow().is_empty());
    assert_eq!(said(&ledger).await.len(), 2);
}

#[tokio::test]
async fn while_a_flow_is_paused_nothing_of_it_is_taken_and_what_is_in_hand_is_finished() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let (stop, go_on) = (CancellationToken::new(), CancellationToken::new());
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel::<String>();
    let work = tokio::spawn({
        let (ledger, stop, go_on) = (ledger.clone(), stop.clone(), go_on.clone());
        let mill = move |due: Due, _wait| {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            async move {
                let name = String::from_utf8(due.key.to_vec()).expect("a name");
                begun.send(name.clone()).expect("heard");
                go_on.cancelled().await;
                Add { done: true, ..Add::new(&name, 10) }
            }
        };
        async move { ledger.work_off("again", "mills", 4, stop, mill).await }
    });
    let due = |name: &str| Add { later: Some(ledger.now()), ..Add::new(name, 1) };
    ledger.command(due("before")).await.expect("taken");
    assert_eq!(begins.recv().await.as_deref(), Some("before"));
    assert_eq!(ledger.pause("mills", act(1, "flood")).await, Ok(Acted::Done));
    let mut heads = ledger.heads();
    ledger.command(due("during")).await.expect("taken");
    go_on.cancel();
    // The batches so far: the first row, the pause, the second row, and what came of the first.
    heads.wait_for(|heads| heads[&HERE] == 4).await.expect("open");
    assert_eq!((total(&ledger, "before").await, total(&ledger, "during").await), (11, 1));
    let early = tokio::time::timeout(Duration::from_millis(300), begins.recv()).await;
    assert!(early.is_err(), "{early:?} was taken in a pause");
    assert_eq!(ledger.resume("mills", act(2, "dry")).await, Ok(Acted::Done));
    assert_eq!(begins.recv().await.as_deref(), Some("during"));
    heads.wait_for(|heads| heads[&HERE] == 6).await.expect("open");
    assert_eq!(total(&ledger, "during").await, 11);
    stop.cancel();
    work.await.expect("ends");
}

#[tokio::test]
async fn what_befell_a_ledger_is_counted_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    ledger.note(IncidentKind::AskedFor, "inventory", HERE, 3);
    ledger.note(IncidentKind::Reconnected, "nats", HERE, 1);
    ledger.noted().await;
    ledger.flush().await.expect("written");
    ledger.note(IncidentKind::AskedFor, "inventory", HERE, 4);
    // Any commit writes it down.
    ledger.command(Add::new("tea", 1)).await.expect("taken");
    ledger.flush().await.expect("nothing is written twice");
    closed(ledger).await;
    let ledger = open(folder.path());
    let told = ledger.query(incidents_told).await.expect("answers");
    let told: Vec<_> = told.iter().map(|i| (i.kind.as_str(), i.source.as_str(), i.count)).collect();
    assert_eq!(told, [("asked_for", "inventory", 7), ("reconnected", "nats", 1)]);
}
