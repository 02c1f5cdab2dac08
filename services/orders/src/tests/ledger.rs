//! The laws once more through a real ledger: batches in any order and again, bad ones among them, in an SQLite file.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use spillway_proto::batch::BatchWriter;
use spillway_proto::pb::orders as api;
use spillway_proto::{Event, EventKind, Ledger as Source, TraceContext, envelope};
use spillway_shared::ledger::Batch;

use super::kit::{Bench, Told, at, captured, declined, held, order_id, placed, raw, refunded, refused};
use super::laws::{Shuffle, Story, shuffle, stories, tell};

/// An order as it is shown, with its events but not which version each of them made.
type End = (api::Order, BTreeSet<String>);

async fn run(stories: &[Story], shuffle: &Shuffle, size: usize) -> (Vec<End>, BTreeSet<String>) {
    let mut bench = Bench::open();
    let mut told: Vec<Batch> = Vec::new();
    for part in tell(stories, shuffle).chunks(size) {
        let batches = bench.batches(part);
        bench.hear_batches(&batches).await;
        told.extend(batches);
    }
    // The same batches again, under the same numbers.
    bench.hear_batches(&told).await;
    let mut ends = Vec::new();
    for (n, story) in (0..).zip(stories) {
        let answer = bench.history(n, 0, 1000).await;
        let order = answer.order.expect("placed");
        let versions: Vec<i64> = answer.events.iter().map(|event| event.version).collect();
        assert_eq!(versions, (1..=story.version()).collect::<Vec<_>>(), "without a gap");
        assert_eq!(order.version, story.version());
        ends.push((order, answer.events.into_iter().map(|event| event.id).collect()));
    }
    let said = bench.said().await;
    let ids: BTreeSet<String> = said.iter().map(|event| format!("{} {:?}", event.id, event.payload)).collect();
    assert_eq!(ids.len(), said.len(), "nothing is said twice");
    (ends, ids)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn batches_in_any_order_and_again_leave_the_same_rows_and_words(
        stories in stories(6), one in shuffle(), other in shuffle(), sizes in [1usize..20, 1usize..20]
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let first = runtime.block_on(run(&stories, &one, sizes[0]));
        let second = runtime.block_on(run(&stories, &other, sizes[1]));
        prop_assert_eq!(first, second);
    }
}

#[tokio::test]
async fn the_history_holds_the_very_bytes_that_were_heard_and_those_that_are_relayed() {
    let mut bench = Bench::open();
    let told: Vec<Told> = vec![
        (0, 1, captured()),
        (0, 0, placed("ann", "ann@example.com")),
        (1, 0, placed("bob", "")),
        (1, 1, refused()),
        (0, 1, held()),
    ];
    bench.hear(&told).await;
    let rows = bench.ledger.query(|tx| {
        tx.read("select order_id, version, event from history order by order_id, version", &[], |row| {
            Ok((row.blob(0)?, row.int(1)?, Bytes::from(row.blob(2)?)))
        })
    });
    let rows = rows.await.expect("a query");
    let said = bench.said().await;
    assert_eq!(said.len(), 2);
    let row = |n: u32, version: i64, event: Bytes| (order_id(n).as_bytes().to_vec(), version, event);
    let wanted = [
        row(0, 1, raw(&told[0])),
        row(0, 2, raw(&told[1])),
        row(0, 3, said[0].raw.clone()),
        row(0, 4, raw(&told[4])),
        row(1, 1, raw(&told[2])),
        row(1, 2, raw(&told[3])),
        row(1, 3, said[1].raw.clone()),
    ];
    assert_eq!(rows, wanted);
    assert_eq!(envelope::read(rows[2].2.clone()).expect("an event").kind(), Some(EventKind::OrderConfirmed));
}

#[tokio::test]
async fn an_end_is_said_with_its_contact_and_without_one_with_nothing() {
    let mut bench = Bench::open();
    let with = |n, event| [(n, 0, placed("ann", "ann@example.com")), (n, 1, event)];
    let without = |n, event| [(n, 0, placed("bob", "")), (n, 1, event)];
    let told = [
        with(0, captured()),
        without(1, captured()),
        with(2, declined(true)),
        without(3, declined(false)),
        with(4, refused()),
    ];
    bench.hear(&told.concat()).await;
    let mut said = Vec::new();
    for event in bench.said().await {
        assert_eq!(event.source, "orders");
        let step = TraceContext::parse(&event.traceparent).expect("a trace");
        assert!(step.is_sampled() && step.to_string() != super::kit::TRACE, "it names the step that said it: {step}");
        said.push(Event::decode(event.kind().expect("known"), event.payload).expect("a payload"));
    }
    let contact = Some(api::Contact { email: "ann@example.com".into() });
    let [
        Event::OrderConfirmed(first),
        Event::OrderConfirmed(second),
        Event::OrderRejected(third),
        Event::OrderRejected(fourth),
        Event::OrderRejected(fifth),
    ] = &said[..]
    else {
        panic!("{said:?}");
    };
    assert_eq!((&first.contact, first.customer_id.as_str()), (&contact, "ann"));
    assert_eq!(first.total.as_ref().map(|total| total.units), Some(12));
    assert_eq!(second, &Default::default());
    assert_eq!((third.reason(), &third.contact), (api::Reason::ActionRequired, &contact));
    assert_eq!((fourth.reason(), &fourth.contact, &fourth.total), (api::Reason::PaymentDeclined, &None, &None));
    assert_eq!((fifth.reason(), fifth.customer_id.as_str()), (api::Reason::OutOfStock, "ann"));
}

#[tokio::test]
async fn every_order_that_changes_is_hinted_once_a_commit() {
    let mut bench = Bench::open();
    let mut changed = bench.ledger.changed();
    let told = [(0, 0, placed("ann", "")), (0, 1, held()), (1, 0, held()), (0, 2, captured()), (0, 1, held())];
    bench.hear(&told).await;
    let mut ids = changed.try_recv().expect("a hint").to_vec();
    ids.sort_unstable();
    assert_eq!(ids, [*order_id(0).as_bytes(), *order_id(1).as_bytes()]);
    bench.hear(&[(0, 1, held())]).await;
    assert!(changed.try_recv().is_err(), "nothing changed");
}

#[tokio::test]
async fn the_earliest_event_of_an_order_sets_its_deadline() {
    let mut bench = Bench::open();
    bench.hear(&[(0, 9, captured())]).await;
    let deadline = |second: i64| spillway_proto::time::to_micros(at(second + 24 * 3600));
    assert_eq!(bench.number("select deadline_us from orders").await, deadline(9));
    bench.hear(&[(0, 5, held())]).await;
    assert_eq!(bench.number("select deadline_us from orders").await, deadline(5));
    bench.hear(&[(0, 0, placed("ann", ""))]).await;
    assert_eq!(bench.number("select deadline_us from orders").await, deadline(0));
    bench.hear(&[(0, 20, refunded("r1", 1))]).await;
    assert_eq!(bench.number("select deadline_us from orders").await, deadline(0));
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_and_its_batch_mates_pass() {
    let mut bench = Bench::open();
    let event = |told: Told| {
        let mut one = BatchWriter::default();
        let raw = raw(&told);
        let event = envelope::read(raw.clone()).expect("an event");
        assert_eq!(event.raw, raw);
        one.push(&super::kit::new_event(&told), super::kit::source(&told.2), at(told.1));
        one.into_bytes()
    };
    let no_total = spillway_proto::pb::events::OrderPlaced::default();
    let unknown = replace(&event((3, 0, placed("ann", ""))), b"spillway.order.placed.v1", b"spillway.order.placed.v9");
    let body = [
        event((0, 0, placed("ann", ""))),
        b"\x0a\x02\xff\xff".to_vec(),
        event((1, 0, no_total.into())),
        unknown,
        event((2, 0, placed("ann", ""))),
    ];
    let batch = bench.raw_batch(Source::Gateway, body.concat().into());
    bench.hear_batches(&[batch]).await;
    assert_eq!(bench.number("select sum(count) from dead_letter where cause = 'UNDECODABLE'").await, 2);
    assert_eq!(bench.number("select sum(count) from dead_letter where cause = 'NEWER'").await, 1);
    assert_eq!(bench.number("select count(*) from orders").await, 2);
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|part| part == from).expect("there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[tokio::test]
async fn what_passes_leaves_no_trace_and_own_words_are_not_heard() {
    use spillway_proto::pb::events as v1;
    let passing: [Event; 8] = [
        v1::StockCommitted::default().into(),
        v1::StockReleased::default().into(),
        v1::StockReturned::default().into(),
        v1::OrderConfirmed::default().into(),
        v1::OrderRejected::default().into(),
        v1::OrderCancelled::default().into(),
        v1::RefundRequested::default().into(),
        v1::NotificationSent::default().into(),
    ];
    let mut bench = Bench::open();
    bench.hear(&passing.map(|event| (0, 0, event))).await;
    assert_eq!(bench.number("select count(*) from orders").await, 0);
    assert_eq!(bench.number("select count(*) from history").await, 0);
    assert_eq!(bench.number("select count(*) from dead_letter").await, 0);
}

#[tokio::test]
async fn a_batch_of_two_thousand_mixed_inputs_gives_every_order_its_end_once() {
    let mut bench = Bench::open();
    let mut told: Vec<Told> = Vec::new();
    for n in 0..500u32 {
        let outcome = match n % 4 {
            0 => refused(),
            1 => declined(n % 8 == 1),
            2 => captured(),
            _ => held(),
        };
        told.extend([(n, 2, outcome), (n, 0, placed("ann", "")), (n, 1, held()), (n, 0, placed("ann", ""))]);
    }
    assert_eq!(told.len(), 2000);
    bench.hear(&told).await;
    let count = async |sql| bench.number(sql).await;
    assert_eq!(count("select count(*) from orders where state = 'CONFIRMED' and reason = 'UNSPECIFIED'").await, 125);
    assert_eq!(count("select count(*) from orders where reason = 'OUT_OF_STOCK'").await, 125);
    assert_eq!(count("select count(*) from orders where reason = 'ACTION_REQUIRED'").await, 63);
    assert_eq!(count("select count(*) from orders where reason = 'PAYMENT_DECLINED'").await, 62);
    assert_eq!(count("select count(*) from orders where state = 'PENDING'").await, 125);
    assert_eq!(count("select sum(version) from orders").await, count("select count(*) from history").await);
    let gaps = "select count(*) from orders o where version <> (select max(version) from history h
                where h.order_id = o.order_id)";
    assert_eq!(count(gaps).await, 0);
    assert_eq!(bench.said().await.len(), 375);
}
