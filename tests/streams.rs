//! The streams lie or go, while orders run: the numbers show it, the listeners ask, the outboxes answer.

mod support;

use std::time::Duration;

use async_nats::jetstream;
use futures::StreamExt;
use spillway_proto::ledgers;
use spillway_proto::{Ledger, LedgerId};
use support::calls::request;
use support::{Options, System};
use tokio_util::sync::CancellationToken;

async fn jetstream(system: &System) -> jetstream::Context {
    jetstream::new(async_nats::connect(system.address("nats")).await.expect("connects"))
}

fn streams(partitions: u16) -> Vec<String> {
    let ledgers = Ledger::ALL.into_iter().flat_map(|ledger| LedgerId::all(ledger, partitions));
    ledgers.flat_map(|id| ledgers::streams_of(id, partitions)).map(|stream| stream.name).collect()
}

/// Places orders, eight at a time, while something is done to the streams; then everything must add up.
async fn orders_run_while<F: Future<Output = ()>>(system: &System, orders: usize, trouble: F) {
    let before = system.every_order().await.len();
    system.add_stock("tea", 10_000).await;
    let done = CancellationToken::new();
    let placing = async {
        let requests = (0..orders).map(|n| request("tea", 1, if n % 5 == 0 { "pm_declined" } else { "pm_ok" }));
        futures::stream::iter(requests)
            .for_each_concurrent(8, |request| async {
                system.place(request).await;
            })
            .await;
        done.cancel();
    };
    let troubling = async {
        tokio::select! {
            () = trouble => {}
            () = done.cancelled() => {}
        }
    };
    tokio::join!(placing, troubling);
    let sums = system.sums_add_up(before + orders).await;
    assert_eq!(sums.orders, before + orders);
}

/// Deletes every second message of every stream as it comes.
async fn punch_holes(js: &jetstream::Context, partitions: u16) {
    let mut every = tokio::time::interval(Duration::from_millis(20));
    loop {
        every.tick().await;
        for name in streams(partitions) {
            let Ok(mut stream) = js.get_stream(&name).await else { continue };
            let Ok(info) = stream.info().await else { continue };
            let (first, last) = (info.state.first_sequence, info.state.last_sequence);
            for sequence in (first..=last).rev().step_by(2).take(10) {
                // It may be gone already.
                drop(stream.delete_message(sequence).await);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_deleted_while_it_runs_change_nothing() {
    let system = System::start().await;
    let js = jetstream(&system).await;
    orders_run_while(&system, 300, punch_holes(&js, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_deleted_while_two_partitions_run_change_nothing() {
    let system = System::start_with(Options { partitions: Some(2), ..Options::default() }).await;
    let js = jetstream(&system).await;
    orders_run_while(&system, 300, punch_holes(&js, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_wiped_while_it_runs_changes_nothing() {
    let system = System::start().await;
    let js = jetstream(&system).await;
    let wipe = async {
        let mut every = tokio::time::interval(Duration::from_millis(300));
        for name in streams(1) {
            every.tick().await;
            js.delete_stream(&name).await.expect("deleted");
        }
    };
    orders_run_while(&system, 300, wipe).await;
}

/// Says everything that was said again, twice and backwards, on the streams' own subjects: as a relay would that has
/// forgotten how far it came, and a stream that was restored from an old copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicated_and_reordered_stream_changes_nothing() {
    let system = System::start().await;
    let js = jetstream(&system).await;
    let client = js.client();
    orders_run_while(&system, 100, async {}).await;
    let before = events_said(&system);
    let mut said = 0;
    for name in streams(1) {
        let mut stream = js.get_stream(&name).await.expect("there");
        let last = stream.info().await.expect("told").state.last_sequence;
        for sequence in (1..=last).rev().chain(1..=last) {
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            let mut headers = message.headers.clone();
            // Without its id JetStream stores it again.
            headers.insert(async_nats::header::NATS_MESSAGE_ID, uuid::Uuid::new_v4().to_string());
            client.publish_with_headers(message.subject.clone(), headers, message.payload).await.expect("said");
            said += 1;
        }
    }
    assert!(said > 100, "only {said} messages were said again");
    client.flush().await.expect("flushed");
    orders_run_while(&system, 10, async {}).await;
    // Of ten orders: placed, held, captured or declined, confirmed or rejected, committed or released; and one SKU.
    let new = events_said(&system) - before;
    assert!(new <= 10 * 5 + 1, "{new} events were said of 10 orders: repeats said something");
}

/// Events in all outboxes.
fn events_said(system: &System) -> usize {
    let names = ["gateway", "inventory", "payments-0", "orders-0", "notifications-0"];
    let count = |name: &&str| {
        let ledger = rusqlite::Connection::open(system.ledger(name)).expect("opens");
        let events: i64 =
            ledger.query_row("select coalesce(sum(events), 0) from outbox", [], |row| row.get(0)).expect("counted");
        usize::try_from(events).expect("not negative")
    };
    names.iter().map(count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_deleted_and_made_anew_hear_all_of_history_and_change_nothing() {
    let system = System::start().await;
    let js = jetstream(&system).await;
    let delete = async {
        let mut every = tokio::time::interval(Duration::from_millis(200));
        for name in streams(1) {
            every.tick().await;
            let stream = js.get_stream(&name).await.expect("there");
            let mut consumers = stream.consumer_names();
            while let Some(Ok(consumer)) = consumers.next().await {
                stream.delete_consumer(&consumer).await.expect("deleted");
            }
        }
    };
    orders_run_while(&system, 300, delete).await;
}
