//! What `list` answers.

use prost::Message;
use spillway_proto::pb::internal::OrdersPageRequest;
use spillway_proto::pb::orders as api;
use spillway_proto::pb::{events as v1, orders};
use spillway_proto::time;

use super::kit::{Bench, NOW, Told, at, captured, declined, euros, order_id, placed, refused};
use crate::store::{PageFilter, page_query};

/// Forty orders of two customers, a second apart: pending, confirmed, out of stock, declined.
async fn forty() -> Bench {
    let mut bench = Bench::open();
    let mut told: Vec<Told> = Vec::new();
    for n in 0..40u32 {
        let second = i64::from(n);
        told.push((n, second, placed(if n % 3 == 0 { "ann" } else { "bob" }, "")));
        match n % 4 {
            0 => {}
            1 => told.push((n, second, captured())),
            2 => told.push((n, second, refused())),
            _ => told.push((n, second, declined(false))),
        }
    }
    bench.hear(&told).await;
    bench
}

/// All pages of a request; the numbers of their orders.
async fn pages(bench: &Bench, mut request: OrdersPageRequest) -> Vec<u32> {
    let all: Vec<String> = (0..40).map(|n| order_id(n).to_string()).collect();
    let mut found = Vec::new();
    loop {
        let page = bench.list(&request).await;
        assert_eq!(page.as_of_us, time::to_micros(at(NOW)));
        assert!(page.orders.len() <= usize::try_from(request.limit).expect("positive"));
        for order in &page.orders {
            let n = all.iter().position(|id| *id == order.order_id).expect("one of the forty");
            found.push(u32::try_from(n).expect("few"));
        }
        match page.orders.last() {
            Some(last) if page.more => request.before_order_id = last.order_id.clone(),
            Some(_) | None => {
                assert!(!page.more);
                return found;
            }
        }
    }
}

fn newest_first(which: impl Fn(u32) -> bool) -> Vec<u32> {
    (0..40).rev().filter(|n| which(*n)).collect()
}

#[tokio::test]
async fn every_filter_finds_its_orders_newest_first_in_pages_of_any_size() {
    let bench = forty().await;
    use api::order::State;
    for limit in [1, 3, 10, 500] {
        for customer_id in ["", "ann", "bob", "eve"] {
            for state in [State::Unspecified, State::Pending, State::Confirmed, State::Rejected, State::Cancelled] {
                let request = OrdersPageRequest {
                    customer_id: customer_id.into(),
                    state: state.into(),
                    limit,
                    ..OrdersPageRequest::default()
                };
                let wanted = newest_first(|n| {
                    let of = match customer_id {
                        "" => true,
                        "ann" => n % 3 == 0,
                        "bob" => n % 3 != 0,
                        _ => false,
                    };
                    of && match state {
                        State::Unspecified => true,
                        State::Pending => n % 4 == 0,
                        State::Confirmed => n % 4 == 1,
                        State::Rejected => n % 4 > 1,
                        State::Cancelled | State::Refunded => false,
                    }
                });
                assert_eq!(pages(&bench, request).await, wanted, "{customer_id:?} {state:?} {limit}");
            }
        }
    }
}

#[tokio::test]
async fn bounds_of_time_are_those_of_the_time_that_is_shown() {
    let bench = forty().await;
    let us = |second: i64| time::to_micros(at(second));
    let between = async |created_from_us, created_before_us| {
        pages(&bench, OrdersPageRequest { created_from_us, created_before_us, limit: 7, ..Default::default() }).await
    };
    assert_eq!(between(us(10), us(20)).await, newest_first(|n| (10..20).contains(&n)));
    assert_eq!(between(us(10) + 1, us(20) + 1).await, newest_first(|n| (11..21).contains(&n)));
    assert_eq!(between(us(38), 0).await, [39, 38]);
    assert_eq!(between(0, us(2)).await, [1, 0]);
    assert_eq!(between(us(20), us(10)).await, [0; 0]);
    assert_eq!(between(i64::MIN, i64::MAX).await.len(), 40);
    assert_eq!(between(i64::MAX, i64::MIN).await.len(), 0);
}

/// An order's id is made before its commit, which gives it its time.
#[tokio::test]
async fn an_order_whose_commit_waited_is_found_by_the_time_that_is_shown() {
    let mut bench = Bench::open();
    bench.hear(&[(3, 8, placed("ann", ""))]).await;
    let us = |second: i64| time::to_micros(at(second));
    let found = async |created_from_us, created_before_us| {
        let request = OrdersPageRequest { created_from_us, created_before_us, limit: 7, ..Default::default() };
        bench.list(&request).await.orders.len()
    };
    assert_eq!((found(us(8), us(9)).await, found(us(3), us(8)).await), (1, 0));
}

#[tokio::test]
async fn a_page_stays_below_what_nats_carries() {
    let mut bench = Bench::open();
    let long = "x".repeat(100_000);
    let line = orders::OrderLine { sku: long, quantity: 1, unit_price: Some(euros(1)) };
    let big = v1::OrderPlaced { lines: vec![line], total: Some(euros(1)), ..Default::default() };
    let told: Vec<Told> = (0..20).map(|n| (n, i64::from(n), big.clone().into())).collect();
    bench.hear(&told).await;
    let page = bench.list(&OrdersPageRequest { limit: 500, ..Default::default() }).await;
    assert!(page.more && page.encoded_len() < 700_000 && !page.orders.is_empty(), "{}", page.encoded_len());
    assert_eq!(pages(&bench, OrdersPageRequest { limit: 500, ..Default::default() }).await.len(), 20);
}

#[tokio::test]
async fn every_list_is_led_by_an_index_and_none_is_sorted() {
    let bench = forty().await;
    let plan = async |customer_id: Option<&str>, state: Option<&str>| {
        let filter = PageFilter {
            shop: "default".into(),
            customer_id: customer_id.map(str::to_owned),
            state: state.map(str::to_owned),
            created_us: (i64::MIN, i64::MAX),
            order_ids: ([0; 16], [0xff; 16]),
        };
        let plan = bench.ledger.query(move |tx| {
            let (sql, mut values) = page_query(&filter);
            values.push(10i64.into());
            tx.read(&format!("explain query plan {sql}"), &values, |row| row.text(3))
        });
        plan.await.expect("a plan").join("; ")
    };
    let by = |plan: &str, index: &str| assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
    by(
        &plan(Some("ann"), None).await,
        "INDEX orders_customer (shop=? AND customer_id=? AND order_id>? AND order_id<?)",
    );
    by(&plan(Some("ann"), Some("PENDING")).await, "INDEX orders_customer");
    by(&plan(None, Some("PENDING")).await, "INDEX orders_state (shop=? AND state=? AND order_id>? AND order_id<?)");
    by(&plan(None, Some("REJECTED")).await, "INDEX orders_state");
    by(&plan(None, Some("CONFIRMED")).await, "PRIMARY KEY (order_id>? AND order_id<?)");
    by(&plan(None, None).await, "PRIMARY KEY (order_id>? AND order_id<?)");
}
