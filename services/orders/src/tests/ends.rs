//! What is measured of orders: those that come to their end, and those that do not.

use spillway_proto::{Event, Ledger as Source};
use spillway_shared::ledger::{Sample, Says, Service};

use super::kit::{Bench, NOW, at, captured, declined, deferred, heard, held, orders, placed};
use crate::domain::State;
use crate::store::PENDING_QUERIES;
use crate::{Book, End};

/// What is measured as each of these comes, in its second, of an order placed in second 0.
fn ends(told: &[(i64, Event)], commit: i64) -> Vec<Option<End>> {
    let (mut book, mut says) = (Book::default(), Says::new(Source::Orders, at(commit)));
    let decide = |(second, event): &(i64, Event)| {
        orders().decide(&mut book, &heard(&(0, *second, event.clone())), at(commit), &mut says)
    };
    told.iter().map(decide).collect()
}

#[test]
fn an_end_is_measured_once_from_the_acceptance_to_its_commit() {
    let told = [(0, placed("ann", "")), (1, held()), (2, captured()), (2, captured())];
    let confirmed = End { state: State::Confirmed, deferred: false, seconds: 7.0 };
    assert_eq!(ends(&told, 7), [None, None, Some(confirmed), None]);
}

#[test]
fn an_outage_of_the_provider_is_told_apart() {
    let told = [(0, placed("ann", "")), (1, held()), (2, deferred("o", 2)), (900, declined(false))];
    let rejected = End { state: State::Rejected, deferred: true, seconds: 1000.0 };
    assert_eq!(ends(&told, 1000), [None, None, None, Some(rejected)]);
}

async fn samples(bench: &Bench) -> (f64, f64) {
    let service = bench.ledger.service().clone();
    let samples = bench.ledger.query(move |tx| service.sample(tx, at(NOW))).await.expect("a query");
    let of = |name: &str| {
        let is_it = |sample: &&Sample| sample.name == name && sample.label == Some(("state", "pending"));
        samples.iter().find(is_it).expect("it is measured").value
    };
    (of("spillway_orders"), of("spillway_orders_oldest_age_seconds"))
}

#[tokio::test]
async fn what_is_pending_is_counted_and_its_oldest_has_an_age() {
    let mut bench = Bench::open();
    assert_eq!(samples(&bench).await, (0.0, 0.0));
    bench.hear(&[(1, 10, placed("ann", "")), (2, 20, placed("ann", "")), (3, 30, placed("bob", ""))]).await;
    assert_eq!(samples(&bench).await, (3.0, (NOW - 10) as f64));
    bench.hear(&[(1, 40, held()), (1, 50, captured())]).await;
    assert_eq!(samples(&bench).await, (2.0, (NOW - 20) as f64));
    bench.hear(&[(2, 60, held()), (2, 70, declined(false)), (3, 60, held()), (3, 70, captured())]).await;
    assert_eq!(samples(&bench).await, (0.0, 0.0));
}

#[tokio::test]
async fn what_is_pending_is_found_by_an_index_alone() {
    let bench = Bench::open();
    for sql in PENDING_QUERIES {
        let plan = bench
            .ledger
            .query(move |tx| tx.read(&format!("explain query plan {sql}"), &["default".into()], |row| row.text(3)));
        let plan = plan.await.expect("a plan").join("; ");
        assert!(plan.starts_with("SEARCH orders USING COVERING INDEX orders_state"), "{sql}: {plan}");
    }
}
