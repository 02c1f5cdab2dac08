//! Two ledgers on a real bus: relay, listen, redelivery, holes, wiped streams, calls.

mod common;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use common::{Add, Tally, attached, total, until_relayed};
use prost::Message as _;
use spillway_natsd::testing::TestServer;
use spillway_proto::Partition;
use spillway_proto::ledgers::{self, Ledger as Source};
use spillway_proto::pb::internal::{HeadsResponse, Refusal};
use spillway_shared::bus::{Bus, BusConfig, CallFailed, Caller};
use spillway_shared::ledger::Ledger;
use spillway_shared::role::Place;

const HERE: Partition = Partition(0);

/// A ledger that runs, and how to end it.
struct Running {
    ledger: Ledger<Tally>,
    place: Place,
    _folder: Arc<tempfile::TempDir>,
}

async fn start(server: &TestServer, ledger: Source, folder: Arc<tempfile::TempDir>) -> Running {
    let (ledger, place) = attached(&server.client_url(), ledger, folder.path(), 100).await;
    Running { ledger, place, _folder: folder }
}

impl Running {
    async fn until_total(&self, name: &'static str, wanted: i64) {
        let mut inbox = self.ledger.inbox();
        let reached = async {
            while total(&self.ledger, name).await != wanted {
                inbox.changed().await.expect("open");
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), reached).await.is_err() {
            panic!("{name} is {} where it should be {wanted}", total(&self.ledger, name).await);
        }
    }

    async fn end(self) -> Arc<tempfile::TempDir> {
        self.place.life.shut_down();
        let (drained, ended) = self.place.life.finish().await;
        assert_eq!((drained.cut, ended), (vec![], Ok(())));
        let gone = self.ledger.gone();
        drop((self.ledger, self.place));
        gone.await;
        self._folder
    }
}

fn folder() -> Arc<tempfile::TempDir> {
    Arc::new(tempfile::tempdir().expect("a folder"))
}

/// The sum of 1 to n of "tea", as payments hears inventory's totals.
fn heard(n: i64) -> i64 {
    (1..=n).sum()
}

async fn add(ledger: &Ledger<Tally>, times: i64) {
    for _ in 0..times {
        ledger.command(Add::new("tea", 1)).await.expect("taken");
    }
}

#[tokio::test]
async fn what_one_ledger_says_the_other_hears_in_order_and_after_restarts() {
    let server = TestServer::start().await;
    let inventory = start(&server, Source::Inventory, folder()).await;
    let payments = start(&server, Source::Payments, folder()).await;
    add(&inventory.ledger, 5).await;
    payments.until_total("tea", heard(5)).await;

    let kept = payments.end().await;
    add(&inventory.ledger, 5).await;
    let inventory_folder = inventory.end().await;
    let payments = start(&server, Source::Payments, kept).await;
    payments.until_total("tea", heard(10)).await;
    let inventory = start(&server, Source::Inventory, inventory_folder).await;
    add(&inventory.ledger, 1).await;
    payments.until_total("tea", heard(11)).await;
    until_relayed(&inventory.ledger, 11).await;
    assert_eq!(inventory.ledger.relayed_up_to(HERE), 11);
}

/// Batches that a ledger has said.
async fn said(ledger: &Ledger<Tally>) -> i64 {
    let counted = ledger.query(|tx| tx.read("select count(*) from outbox", &[], |row| row.int(0))).await;
    counted.expect("answers")[0]
}

#[tokio::test]
async fn a_full_replay_of_the_stream_changes_nothing() {
    let server = TestServer::start().await;
    let inventory = start(&server, Source::Inventory, folder()).await;
    let payments = start(&server, Source::Payments, folder()).await;
    add(&inventory.ledger, 20).await;
    payments.until_total("tea", heard(20)).await;
    let commits = said(&payments.ledger).await;
    let kept = payments.end().await;

    let js = jetstream::new(async_nats::connect(server.client_url()).await.expect("connects"));
    let stream = js.get_stream("spillway-inventory").await.expect("there");
    // It may not be there yet: what was missing may all have been asked for. Either way the new one hears everything.
    drop(stream.delete_consumer("payments-0").await);
    let payments = start(&server, Source::Payments, kept).await;
    add(&inventory.ledger, 1).await;
    payments.until_total("tea", heard(21)).await;
    assert_eq!(said(&payments.ledger).await, commits + 1, "a replayed batch said something");
}

#[tokio::test]
async fn batches_deleted_from_the_stream_are_asked_for() {
    let server = TestServer::start().await;
    let inventory = start(&server, Source::Inventory, folder()).await;
    add(&inventory.ledger, 10).await;
    let js = jetstream::new(async_nats::connect(server.client_url()).await.expect("connects"));
    let stream = until_messages(&js, "spillway-inventory", 10).await;
    for sequence in [1, 2, 5, 10] {
        stream.delete_message(sequence).await.expect("deleted");
    }
    let payments = start(&server, Source::Payments, folder()).await;
    payments.until_total("tea", heard(10)).await;
}

#[tokio::test]
async fn a_stream_wiped_while_it_runs_is_made_again_and_nothing_is_lost() {
    let server = TestServer::start().await;
    let inventory = start(&server, Source::Inventory, folder()).await;
    let payments = start(&server, Source::Payments, folder()).await;
    add(&inventory.ledger, 3).await;
    payments.until_total("tea", heard(3)).await;
    let js = jetstream::new(async_nats::connect(server.client_url()).await.expect("connects"));
    js.delete_stream("spillway-inventory").await.expect("deleted");
    add(&inventory.ledger, 3).await;
    payments.until_total("tea", heard(6)).await;
}

async fn until_messages(js: &jetstream::Context, name: &str, count: u64) -> jetstream::stream::Stream {
    let reached = async {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        loop {
            every.tick().await;
            if let Ok(mut stream) = js.get_stream(name).await
                && stream.info().await.is_ok_and(|info| info.state.messages >= count)
            {
                return stream;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached).await.expect("the stream fills")
}

#[tokio::test]
async fn accepting_goes_on_while_nats_is_down_and_everything_is_said_afterwards() {
    let mut server = TestServer::start().await;
    let inventory = start(&server, Source::Inventory, folder()).await;
    let payments = start(&server, Source::Payments, folder()).await;
    add(&inventory.ledger, 2).await;
    payments.until_total("tea", heard(2)).await;
    server.kill().await;
    add(&inventory.ledger, 5).await;
    server.restart().await.expect("starts again");
    payments.until_total("tea", heard(7)).await;
}

#[tokio::test]
async fn two_runs_of_batches_under_load_arrive_once() {
    let server = TestServer::start().await;
    let inventory = start(&server, Source::Inventory, folder()).await;
    let payments = start(&server, Source::Payments, folder()).await;
    let ledger = Arc::new(inventory.ledger.clone());
    let commands = (0..1000).map(|_| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.command(Add::new("tea", 1)).await.expect("taken") })
    });
    futures::future::join_all(commands).await;
    payments.until_total("tea", heard(1000)).await;
}

#[tokio::test]
async fn a_listener_tells_how_far_it_has_heard() {
    let server = TestServer::start().await;
    let inventory = start(&server, Source::Inventory, folder()).await;
    let payments = start(&server, Source::Payments, folder()).await;
    add(&inventory.ledger, 4).await;
    payments.until_total("tea", heard(4)).await;
    let told = async {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        loop {
            every.tick().await;
            let rows = inventory.ledger.query(|tx| {
                tx.read("select listener, number from listener_mark", &[], |row| Ok((row.text(0)?, row.int(1)?)))
            });
            if rows.await.expect("answers") == [("payments".to_owned(), 4)] {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("the mark is told and written down");
}

#[tokio::test]
async fn calls_are_answered_refused_and_dropped_when_too_late() {
    let server = TestServer::start().await;
    let inventory = start(&server, Source::Inventory, folder()).await;
    let config = BusConfig { url: server.client_url(), ..BusConfig::default() };
    let bus = Bus::connect(&config, "asker").await.expect("an address");
    bus.connected().wait_for(|connected| *connected).await.expect("connects");
    add(&inventory.ledger, 3).await;
    let caller = Caller::background(Duration::from_secs(5));
    let request = spillway_proto::pb::internal::HeadsRequest {};
    let asked = async {
        loop {
            match bus.call::<HeadsResponse>(Source::Inventory, HERE, "heads", &caller, &request).await {
                Ok(answer) => return answer,
                Err(CallFailed::NoAnswer { .. }) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    let heads = tokio::time::timeout(Duration::from_secs(10), asked).await.expect("answers").heads;
    assert_eq!(heads.iter().map(|h| (h.partition, h.number)).collect::<Vec<_>>(), [(0, 3)]);

    let nobody = bus.call::<HeadsResponse>(Source::Orders, HERE, "heads", &caller, &request).await;
    assert!(matches!(nobody, Err(CallFailed::NoAnswer { .. })), "{nobody:?}");

    let subject = ledgers::call_subject(Source::Inventory, HERE, "batches");
    let garbage = bus.client().request(subject, Bytes::from_static(b"\xff\xff")).await.expect("an answer");
    let refused = spillway_proto::call::unwrap::<HeadsResponse>(garbage.payload).expect("readable");
    assert_eq!(refused.map_err(|refusal: Refusal| refusal.reason), Err("UNDECODABLE".to_owned()));

    let late = spillway_proto::call::wrap("default", "", Some(spillway_proto::time::from_micros(1)), &request);
    let subject = ledgers::call_subject(Source::Inventory, HERE, "heads");
    let answer = tokio::time::timeout(Duration::from_millis(300), bus.client().request(subject, late)).await;
    assert!(answer.is_err(), "an expired call was answered: {:?}", HeadsResponse::default().encode_to_vec());
}

/// (state, count) of every dead letter.
async fn letters(ledger: &Ledger<Tally>) -> Vec<(String, i64)> {
    let read = ledger.query(|tx| {
        tx.read("select state, count from dead_letter order by number", &[], |row| Ok((row.text(0)?, row.int(1)?)))
    });
    read.await.expect("answers")
}

#[tokio::test]
async fn a_message_that_is_damaged_in_the_stream_is_taken_from_the_outbox_and_one_that_is_damaged_there_too_is_dead() {
    let server = TestServer::start().await;
    let inventory = start(&server, Source::Inventory, folder()).await;
    add(&inventory.ledger, 4).await;
    let js = jetstream::new(async_nats::connect(server.client_url()).await.expect("connects"));
    let stream = until_messages(&js, "spillway-inventory", 4).await;
    // The last number is damaged in the stream alone, the third in the outbox as well. Nothing follows that would show
    // the gap.
    for sequence in [3, 4] {
        let message = stream.get_raw_message(sequence).await.expect("there");
        stream.delete_message(sequence).await.expect("deleted");
        let mut headers = message.headers.clone();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, format!("damaged-{sequence}"));
        let garbage = Bytes::from_static(b"\x0a\x7fshort");
        let told = js.publish_with_headers(message.subject.clone(), headers, garbage).await.expect("sent");
        told.await.expect("stored");
    }
    let file = rusqlite::Connection::open(inventory._folder.path().join("inventory.db")).expect("opens");
    file.execute("update outbox set body = x'0a7f00' where number = 3", []).expect("damaged");
    let payments = start(&server, Source::Payments, folder()).await;
    payments.until_total("tea", 1 + 2 + 4).await;
    let settled = async {
        let mut inbox = payments.ledger.inbox();
        loop {
            let letters = letters(&payments.ledger).await;
            if letters.len() == 2 && letters[0].1 == 2 && letters[1].0 == "RESOLVED" {
                return letters;
            }
            inbox.changed().await.expect("open");
        }
    };
    let letters = tokio::time::timeout(Duration::from_secs(20), settled).await.expect("both are settled");
    assert_eq!(letters, [("DEAD".to_owned(), 2), ("RESOLVED".to_owned(), 1)]);
    let inbox = payments.ledger.inbox().borrow().clone();
    let marks: Vec<i64> = inbox.lines().map(|(_, mark)| mark.number).collect();
    assert_eq!(marks, [4]);
}
