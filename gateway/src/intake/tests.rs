//! The intake as a ledger: one order per request id, through batches, restarts, and whatever comes at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spillway_proto::{DEFAULT_SHOP, Event, Ledger as Source, LedgerId, OrderId, Partition, batch};
use spillway_shared::ledger::{Ledger, LedgerSpec, Numbering, OpenError};

use super::{Accept, Answer, Intake, MIGRATIONS, by_order, by_request};
use crate::samples;
use crate::validate::{self, Placement};

const PARTITIONS: u16 = 2;

fn try_open(folder: &Path) -> Result<Ledger<Intake>, OpenError> {
    let id = LedgerId { ledger: Source::Gateway, partition: Partition(0) };
    let mut spec = LedgerSpec::new(id, PARTITIONS, folder, MIGRATIONS);
    spec.numbering = Numbering::ByRelay;
    Ledger::open(spec, Intake, &[])
}

/// The writer of a ledger that was just dropped lets go of its file in its own time.
async fn open(folder: &Path) -> Ledger<Intake> {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..2000 {
        look.tick().await;
        match try_open(folder) {
            Ok(ledger) => return ledger,
            Err(OpenError::InUse { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the file stays locked");
}

fn accept(placement: Placement, random: u8) -> Accept {
    let shop: Arc<str> = Arc::from(DEFAULT_SHOP);
    let at = spillway_proto::time::Timestamp::now();
    Accept::new(placement, &shop, String::new(), at, PARTITIONS, [random; 10])
}

fn other_content() -> Placement {
    let mut request = samples::request();
    request.customer_id = "grace".to_owned();
    validate::place_order(request).expect("right")
}

/// Every event in the outbox, once it is numbered.
async fn said(ledger: &Ledger<Intake>) -> Vec<spillway_proto::Envelope> {
    ledger.number().await.expect("numbered");
    let mut said = Vec::new();
    for partition in (0..PARTITIONS).map(Partition) {
        for found in ledger.outbox(partition, 1, i64::MAX - 1, 1 << 20).await.expect("answers") {
            let events = batch::read(found.body).expect("a batch");
            said.extend(events.into_iter().map(|event| event.expect("an event")));
        }
    }
    said
}

#[tokio::test]
async fn the_same_request_from_64_at_once_is_one_order_said_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path()).await;
    let accepts = (0..64).map(|n| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let accept = accept(samples::placement(), n);
            let own = accept.order_id();
            (own, ledger.command(accept).await.expect("taken"))
        })
    });
    let mut orders = std::collections::BTreeSet::new();
    let mut new = 0;
    for answered in futures::future::join_all(accepts).await {
        match answered.expect("no panic") {
            (own, Answer::Accepted { .. }) => {
                new += 1;
                orders.insert(own)
            }
            (_, Answer::Repeated { order_id, .. }) => orders.insert(order_id),
            (_, Answer::Reused { .. }) => panic!("the content was the same"),
        };
    }
    assert_eq!((orders.len(), new), (1, 1));
    let said = said(&ledger).await;
    assert_eq!(said.iter().map(|event| event.subject.order()).collect::<Vec<_>>(), [orders.first().copied()]);
}

#[tokio::test]
async fn other_content_under_the_same_id_is_refused_and_names_the_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path()).await;
    // In one batch and one after the other alike.
    let first = accept(samples::placement(), 1);
    let order_id = first.order_id();
    let (one, other) = tokio::join!(ledger.command(first), ledger.command(accept(other_content(), 2)));
    assert!(matches!(one, Ok(Answer::Accepted { .. })), "{one:?}");
    assert_eq!(other, Ok(Answer::Reused { order_id }));
    assert_eq!(ledger.command(accept(other_content(), 3)).await, Ok(Answer::Reused { order_id }));
    assert_eq!(said(&ledger).await.len(), 1);
}

#[tokio::test]
async fn a_restart_keeps_the_order_and_what_tells_a_retry_from_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path()).await;
    let first = accept(samples::placement(), 1);
    let order_id = first.order_id();
    let Ok(Answer::Accepted { at }) = ledger.command(first).await else { panic!("it is new") };
    drop(ledger);
    let ledger = open(folder.path()).await;
    assert_eq!(ledger.command(accept(samples::placement(), 2)).await, Ok(Answer::Repeated { order_id, at }));
    assert_eq!(ledger.command(accept(other_content(), 3)).await, Ok(Answer::Reused { order_id }));
}

#[tokio::test]
async fn what_is_kept_is_what_was_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path()).await;
    let first = accept(samples::placement(), 1);
    let (order_id, request_id) = (first.order_id(), first.request_id());
    let Ok(Answer::Accepted { at }) = ledger.command(first).await else { panic!("it is new") };
    let found = ledger.query(move |tx| by_order(tx, DEFAULT_SHOP, order_id)).await.expect("answers").expect("known");
    assert_eq!((found.order_id, found.create_time), (order_id, at));
    let said = said(&ledger).await;
    let [event] = &said[..] else { panic!("one event") };
    let kind = event.kind().expect("known");
    let placed = Event::decode(kind, event.payload.clone()).expect("readable");
    assert_eq!(placed, found.placed.clone().expect("kept").into());
    assert_eq!((event.time, event.subject.order()), (at, Some(order_id)));
    assert_eq!(found.placed.as_ref().expect("kept").request_id, samples::REQUEST_ID);

    let by_id = ledger.query(move |tx| by_request(tx, DEFAULT_SHOP, request_id)).await.expect("answers");
    assert_eq!(by_id, Some(found));
    let elsewhere = ledger.query(move |tx| by_order(tx, "another", order_id)).await.expect("answers");
    assert_eq!(elsewhere, None, "another shop's order is not found");
}

#[tokio::test]
async fn a_request_finds_its_partition_and_its_order_carries_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path()).await;
    let mut seen = [0; PARTITIONS as usize];
    for n in 0..40u8 {
        let mut placement = samples::placement();
        placement.request_id = uuid::Uuid::new_v4();
        let accept = accept(placement.clone(), n);
        let partition = Partition::of_request(DEFAULT_SHOP, placement.request_id, PARTITIONS);
        assert_eq!(accept.order_id().partition(), partition);
        seen[usize::from(partition.0)] += 1;
        ledger.command(accept).await.expect("taken");
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
    let subjects: std::collections::BTreeSet<OrderId> =
        said(&ledger).await.iter().filter_map(|event| event.subject.order()).collect();
    assert_eq!(subjects.len(), 40);
}
