//! ListOrders: every partition is asked, and their pages are merged.

use futures::future::try_join_all;
use prost::Message;
use spillway_proto::pb::internal::{OrdersPageRequest, OrdersPageResponse};
use spillway_proto::pb::orders::{ListOrdersRequest, ListOrdersResponse, Order};
use spillway_proto::{Ledger as Source, OrderId, Partition, time};
use spillway_shared::bus::Caller;
use spillway_shared::grpc::CallError;
use tonic::Status;

use crate::reading::Reading;
use crate::refusal::{self, Asked};
use crate::token::Question;
use crate::validate;

/// A page is closed at this size: clients take messages of 4 MiB by default.
const MAX_PAGE_BYTES: usize = 2 << 20;

pub(super) async fn list(
    reading: &Reading,
    caller: &Caller,
    mut request: ListOrdersRequest,
) -> Result<ListOrdersResponse, Status> {
    let token = std::mem::take(&mut request.page_token);
    let mut asked = validate::list_orders(request)?;
    let question = question(&caller.shop, &asked);
    let before = question.position(&token, OrderId::from_bytes)?;
    asked.before_order_id = before.map(|order_id| order_id.to_string()).unwrap_or_default();
    let asked = &asked;
    let pages = (0..reading.partitions).map(|partition| async move {
        reading.bus.call::<OrdersPageResponse>(Source::Orders, Partition(partition), "list", caller, asked).await
    });
    let pages = try_join_all(pages).await.map_err(|failed| refusal::of_call(failed, Asked::Question))?;
    let as_of_us = pages.iter().map(|page| page.as_of_us).min().unwrap_or(0);
    let size = usize::try_from(asked.limit).unwrap_or(0);
    let (orders, is_more) = merge(pages, size);
    let next_page_token = match orders.last() {
        Some(last) if is_more => question.token(position(last)?.as_bytes()),
        Some(_) => String::new(),
        None if is_more => return Err(CallError::internal("an empty page of orders says that there are more").into()),
        None => String::new(),
    };
    let as_of = Some(time::to_wire(time::from_micros(as_of_us)));
    Ok(ListOrdersResponse { orders, next_page_token, as_of })
}

/// What pages belong to: everything that chooses orders. Their number on a page may change from one to the next.
fn question(shop: &str, asked: &OrdersPageRequest) -> Question {
    let chosen = OrdersPageRequest { before_order_id: String::new(), limit: 0, ..asked.clone() };
    Question::new("ListOrders", shop, &[&chosen.encode_to_vec()])
}

fn position(order: &Order) -> Result<OrderId, CallError> {
    order.order_id.parse().map_err(|_| CallError::internal(format!("{:?} is no order_id", order.order_id)))
}

/// The newest of all pages, by id, and whether there are older ones. Where a partition has more than its page shows,
/// nothing older than that page is given: what it has not shown would have to come first.
fn merge(pages: Vec<OrdersPageResponse>, size: usize) -> (Vec<Order>, bool) {
    let floors = pages.iter().filter(|page| page.more).filter_map(|page| page.orders.last());
    let floor = floors.map(|last| last.order_id.clone()).max().unwrap_or_default();
    let mut is_more = pages.iter().any(|page| page.more);
    let mut orders: Vec<Order> = pages.into_iter().flat_map(|page| page.orders).collect();
    orders.sort_unstable_by(|a, b| b.order_id.cmp(&a.order_id));
    let mut bytes = 0;
    let fitting = orders.iter().take(size).take_while(|order| {
        let is_first = bytes == 0;
        bytes += order.encoded_len();
        order.order_id >= floor && (is_first || bytes <= MAX_PAGE_BYTES)
    });
    let kept = fitting.count();
    is_more = is_more || kept < orders.len();
    orders.truncate(kept);
    (orders, is_more)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spillway_proto::time::Timestamp;

    use super::*;

    fn order(number: u16, partition: u16) -> Order {
        let at = Timestamp::from_millisecond(i64::from(number)).expect("in range");
        let order_id = OrderId::new(at, Partition(partition), [0; 10]).to_string();
        Order { order_id, ..Order::default() }
    }

    /// What a partition answers: at most `limit`, and fewer where a page of its own is full before.
    fn page(all: &[Order], before: &str, limit: usize, fits: usize) -> OrdersPageResponse {
        let older: Vec<_> = all.iter().rev().filter(|o| before.is_empty() || *o.order_id < *before).cloned().collect();
        let shown: Vec<_> = older.iter().take(limit.min(fits)).cloned().collect();
        OrdersPageResponse { more: shown.len() < older.len(), orders: shown, as_of_us: 1 }
    }

    proptest! {
        #[test]
        fn pages_of_all_partitions_in_turn_are_all_orders_newest_first(
            owners in prop::collection::vec(0u16..3, 0..60), size in 1usize..9, fits in 1usize..5
        ) {
            let mut partitions = vec![Vec::new(); 3];
            for (number, owner) in (1..).zip(&owners) {
                partitions[usize::from(*owner)].push(order(number, *owner));
            }
            let mut wanted: Vec<String> = partitions.iter().flatten().map(|o| o.order_id.clone()).collect();
            wanted.sort_unstable_by(|a, b| b.cmp(a));
            let (mut seen, mut before) = (Vec::new(), String::new());
            loop {
                let pages = partitions.iter().map(|all| page(all, &before, size, fits)).collect();
                let (orders, is_more) = merge(pages, size);
                prop_assert!(orders.len() <= size);
                seen.extend(orders.iter().map(|o| o.order_id.clone()));
                if !is_more {
                    break;
                }
                before = orders.last().expect("a page that is not the last has orders").order_id.clone();
            }
            prop_assert_eq!(seen, wanted);
        }
    }

    #[test]
    fn a_page_is_closed_before_it_is_too_large_for_a_client_but_never_empty() {
        let large = |number| Order { customer_id: "x".repeat(900 << 10), ..order(number, 0) };
        let pages =
            |count| vec![OrdersPageResponse { orders: (0..count).rev().map(large).collect(), ..Default::default() }];
        let (orders, is_more) = merge(pages(5), 50);
        assert_eq!((orders.len(), is_more), (2, true));
        let huge = Order { customer_id: "x".repeat(3 << 20), ..order(1, 0) };
        let (orders, is_more) = merge(vec![OrdersPageResponse { orders: vec![huge], ..Default::default() }], 50);
        assert_eq!((orders.len(), is_more), (1, false));
    }
}
