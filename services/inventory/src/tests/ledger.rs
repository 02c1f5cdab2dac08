//! The laws once more through a real ledger: batches in any order and again, bad ones among them, in an SQLite file.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use spillway_proto::batch::BatchWriter;
use spillway_proto::pb::events as v1;
use spillway_proto::{Event, EventKind, Ledger as Source, NewEvent, Subject};
use spillway_shared::ledger::Batch;

use super::kit::{Bench, adjust, at, order_id, placed, said};
use super::laws::{SKUS, Schedule, Story, schedule, stories, tell};

/// Stocks a bench, hears the stories in batches of `size`, and answers everything that is left of it.
async fn run(stories: &[Story], schedule: &Schedule, size: usize, units: i64) -> (super::kit::State, BTreeSet<String>) {
    let mut bench = Bench::open();
    for (n, sku) in (1u128..).zip(SKUS) {
        bench.ledger.command(adjust(n, sku, units)).await.expect("adjusted");
    }
    let mut told: Vec<Batch> = Vec::new();
    for part in tell(stories, schedule).chunks(size) {
        // One batch is of one source; the stream's order is kept.
        let batches: Vec<Batch> =
            part.iter().map(|(n, source, event)| bench.batch(*source, &[said(*n, event.clone())])).collect();
        bench.hear(&batches).await;
        told.extend(batches);
    }
    // The same batches again, under the same numbers.
    bench.hear(&told).await;
    let all = bench.said().await;
    let said: BTreeSet<String> = all.iter().map(|event| format!("{event:?}")).collect();
    assert_eq!(said.len(), all.len(), "nothing is said twice");
    (bench.state().await, said)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn batches_in_any_order_and_again_leave_the_same_rows_and_words(
        stories in stories(8), one in schedule(), other in schedule(), sizes in [1usize..20, 1usize..20]
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let first = runtime.block_on(run(&stories, &one, sizes[0], 1000));
        let second = runtime.block_on(run(&stories, &other, sizes[1], 1000));
        prop_assert_eq!(first, second);
    }
}

#[tokio::test]
async fn every_step_says_what_the_next_one_needs() {
    let mut bench = Bench::open();
    bench.ledger.command(adjust(1, "tea", 5)).await.expect("adjusted");
    let order = |n| said(n, placed(&[("tea", 2)]));
    let batch = bench.batch(Source::Gateway, &[order(0), order(1), order(2)]);
    bench.hear(&[batch]).await;
    let ends = [said(0, v1::OrderConfirmed::default().into()), said(1, v1::OrderRejected::default().into())];
    let batch = bench.batch(Source::Orders, &ends);
    bench.hear(&[batch]).await;
    let all = bench.said().await;
    let of = |n: u32| -> Vec<&Event> {
        all.iter().filter(|(_, subject, _)| *subject == Subject::Order(order_id(n))).map(|(.., event)| event).collect()
    };
    let [Event::StockHeld(held), Event::StockCommitted(_)] = of(0)[..] else { panic!("{:?}", of(0)) };
    assert_eq!(held.total.as_ref().map(|total| total.units), Some(12));
    assert_eq!(held.payment_method, "pm_ok");
    assert!(matches!(of(1)[..], [Event::StockHeld(_), Event::StockReleased(_)]));
    let [Event::StockRefused(refused)] = of(2)[..] else { panic!("{:?}", of(2)) };
    let short = v1::ShortLine { sku: "tea".into(), wanted: 2, available: 1 };
    assert_eq!(refused.short_lines, [short]);
    let adjusted = all.iter().find(|(kind, ..)| *kind == EventKind::StockAdjusted).expect("said");
    assert_eq!(adjusted.1, Subject::Sku("tea".into()));
}

/// 2,000 events on three SKUs that soon run out: placed, decided, repeated, all in one go.
fn mixed() -> Vec<(Source, NewEvent)> {
    let mut events = Vec::new();
    for n in 0..800u32 {
        let lines = [("tea", i64::from(n % 3) + 1), (SKUS[1 + (n % 2) as usize], 1)];
        events.push((Source::Gateway, said(n, placed(&lines))));
        let end: Event = match n % 4 {
            0 => v1::OrderRejected::default().into(),
            1 => v1::OrderCancelled::default().into(),
            2 => v1::OrderConfirmed::default().into(),
            // Undecided; told twice.
            _ => placed(&lines),
        };
        events.push((Source::Orders, said(n, end)));
        if n % 2 == 0 {
            events.push((Source::Gateway, said(n, placed(&lines))));
        }
    }
    events
}

#[tokio::test]
async fn a_batch_of_two_thousand_mixed_inputs_leaves_stock_conserved() {
    let mut bench = Bench::open();
    for (n, sku) in (1u128..).zip(SKUS) {
        bench.ledger.command(adjust(n, sku, 300)).await.expect("adjusted");
    }
    let events = mixed();
    assert_eq!(events.len(), 2000);
    let batches: Vec<Batch> = events.into_iter().map(|(source, event)| bench.batch(source, &[event])).collect();
    bench.hear(&batches).await;
    let wrong = "select count(*) from stock where available + held + sold <> received or received <> 300";
    assert_eq!(bench.number(wrong).await, 0);
    let holds = "select count(*) from hold";
    assert_eq!(bench.number(holds).await, 800);
    // Every order of the two thousand wants one to three units of tea, and each state of a hold says where they are.
    let state = bench.state().await;
    let units = |wanted: &str| -> i64 {
        let ids: Vec<_> = (0..800u32).map(|n| (order_id(n).as_bytes().to_vec(), i64::from(n % 3) + 1)).collect();
        let in_state = state.holds.iter().filter(|(_, state)| state == wanted);
        in_state.filter_map(|(id, _)| ids.iter().find(|(known, _)| known == id)).map(|(_, units)| units).sum()
    };
    let tea = state.stock.iter().find(|(sku, _)| sku == "tea").expect("stocked").1;
    assert_eq!((tea.held, tea.sold), (units("HELD"), units("SOLD")));
    assert!(tea.sold > 0 && tea.held > 0 && units("REFUSED") > 0, "{tea:?}");
    assert_eq!(bench.number("select count(*) from inbox_above").await, 0);
}

#[tokio::test]
async fn an_order_that_is_placed_and_decided_in_one_commit_is_written_once_as_decided() {
    let mut bench = Bench::open();
    bench.ledger.command(adjust(1, "tea", 5)).await.expect("adjusted");
    let placed = bench.batch(Source::Gateway, &[said(0, placed(&[("tea", 2)]))]);
    let confirmed = bench.batch(Source::Orders, &[said(0, v1::OrderConfirmed::default().into())]);
    bench.hear(&[placed, confirmed]).await;
    let state = bench.state().await;
    assert_eq!(state.holds, [(order_id(0).as_bytes().to_vec(), "SOLD".to_owned())]);
    assert_eq!((state.stock[0].1.available, state.stock[0].1.sold), (3, 2));
    let lines = "select count(*) from hold where length(lines) > 0";
    assert_eq!(bench.number(lines).await, 1, "what was sold stays known");
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_and_its_batch_mates_pass() {
    let mut bench = Bench::open();
    bench.ledger.command(adjust(1, "tea", 5)).await.expect("adjusted");
    let mut good = BatchWriter::default();
    good.push(&said(0, placed(&[("tea", 1)])), Source::Gateway, at(0));
    let mut last = BatchWriter::default();
    last.push(&said(1, placed(&[("tea", 1)])), Source::Gateway, at(0));
    let mut bad = BatchWriter::default();
    bad.push(&said(2, placed(&[("tea", -1)])), Source::Gateway, at(0));
    // An event that is none, and one of a type that no build knows yet.
    let newer = [bad.as_bytes(), &b"\x0a\x02\xff\xff"[..]].concat();
    let text = String::from_utf8_lossy(good.as_bytes()).into_owned();
    let unknown = replace(good.as_bytes(), b"spillway.order.placed.v1", b"spillway.order.placed.v9");
    assert!(text.contains("spillway.order.placed.v1"));
    let body = [good.as_bytes(), &newer, &unknown, last.as_bytes()].concat();
    let batch = bench.raw_batch(Source::Gateway, Bytes::from(body));
    bench.hear(&[batch]).await;
    assert_eq!(bench.number("select sum(count) from dead_letter where cause = 'UNDECODABLE'").await, 2);
    assert_eq!(bench.number("select sum(count) from dead_letter where cause = 'NEWER'").await, 1);
    assert_eq!(bench.counts().await.get(&EventKind::StockHeld), Some(&2));
    assert_eq!(bench.state().await.stock[0].1.held, 2);
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|part| part == from).expect("there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}
