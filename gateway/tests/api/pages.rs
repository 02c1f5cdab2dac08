//! ListOrders and ListOrderEvents.

use std::collections::BTreeSet;

use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{ListOrderEventsRequest, ListOrdersRequest, Order, OrderEvent};
use spillway_proto::time;

use crate::kit::{Client, World, fields, order_in, order_of};
use crate::stand_in::StandIn;

/// So many orders of two customers, of each in both partitions where there are two.
async fn placed(client: &mut Client, count: u16) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        let mut request = order_in(n / 2 % 2, "tea");
        request.customer_id = ["ada", "grace"][usize::from(n % 2)].to_owned();
        ids.push(client.place(&request).await.expect("accepted").order_id);
    }
    for id in &ids {
        client.until_rejected(id).await;
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids
}

async fn all_pages(client: &mut Client, mut request: ListOrdersRequest) -> Vec<Vec<Order>> {
    let mut pages = Vec::new();
    loop {
        let page = client.orders.list_orders(request.clone()).await.expect("answers").into_inner();
        pages.push(page.orders);
        if page.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = page.next_page_token;
    }
}

fn ids(pages: &[Vec<Order>]) -> Vec<String> {
    pages.iter().flatten().map(|order| order.order_id.clone()).collect()
}

#[tokio::test]
async fn pages_of_two_partitions_are_all_orders_newest_first() {
    let world = World::new(2).await;
    let (_orders, _inventory) = (world.orders().await, world.inventory().await);
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let all = placed(&mut client, 11).await;
    let pages = all_pages(&mut client, ListOrdersRequest { page_size: 3, ..Default::default() }).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 2]);
    assert_eq!(ids(&pages), all);
    let partitions: std::collections::BTreeSet<_> = all.iter().map(|id| id[32..].to_owned()).collect();
    assert_eq!(partitions.len(), 2, "both partitions have orders");

    let of =
        |customer: &str| ListOrdersRequest { customer_id: customer.to_owned(), page_size: 2, ..Default::default() };
    let (ada, grace) = (all_pages(&mut client, of("ada")).await, all_pages(&mut client, of("grace")).await);
    assert_eq!((ids(&ada).len(), ids(&grace).len()), (6, 5));
    assert!(ada.iter().flatten().all(|order| order.customer_id == "ada"));

    let in_state = |state: State| ListOrdersRequest { state: state.into(), ..Default::default() };
    assert_eq!(ids(&all_pages(&mut client, in_state(State::Rejected)).await), all);
    assert_eq!(ids(&all_pages(&mut client, in_state(State::Pending)).await), [""; 0]);

    let middle = pages[1][0].create_time;
    let from = ListOrdersRequest { created_from: middle, ..Default::default() };
    let before = ListOrdersRequest { created_before: middle, ..Default::default() };
    assert_eq!(ids(&all_pages(&mut client, from).await), all[..4]);
    assert_eq!(ids(&all_pages(&mut client, before).await), all[4..]);
}

#[tokio::test]
async fn a_page_says_as_of_when_and_has_everything_from_before() {
    let world = World::new(2).await;
    let (_orders, _inventory) = (world.orders().await, world.inventory().await);
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let all = placed(&mut client, 4).await;
    let began = time::Timestamp::now();
    let page = client.orders.list_orders(ListOrdersRequest::default()).await.expect("answers").into_inner();
    let as_of = page.as_of.as_ref().and_then(time::from_wire).expect("it is told");
    assert!(as_of >= time::whole_micros(began) && as_of <= time::Timestamp::now(), "{as_of}");
    assert_eq!(page.orders.len(), all.len());
}

#[tokio::test]
async fn a_token_of_other_fields_and_garbage_are_refused() {
    let world = World::new(1).await;
    let (_orders, _inventory) = (world.orders().await, world.inventory().await);
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let all = placed(&mut client, 3).await;
    let first = ListOrdersRequest { page_size: 1, customer_id: "ada".to_owned(), ..Default::default() };
    let token = client.orders.list_orders(first.clone()).await.expect("answers").into_inner().next_page_token;
    let with = |change: fn(&mut ListOrdersRequest), token: &str| {
        let mut request = ListOrdersRequest { page_token: token.to_owned(), ..first.clone() };
        change(&mut request);
        request
    };
    let larger = client.orders.list_orders(with(|r| r.page_size = 9, &token)).await.expect("the size may change");
    assert_eq!(larger.into_inner().orders.len(), 1);
    let other_fields: [fn(&mut ListOrdersRequest); 4] = [
        |r| r.customer_id = "grace".to_owned(),
        |r| r.state = State::Pending.into(),
        |r| r.created_from = Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        |r| r.created_before = Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
    ];
    for change in other_fields {
        let refused = client.orders.list_orders(with(change, &token)).await.expect_err("another question");
        assert_eq!(fields(&refused), ["page_token"]);
    }
    for garbage in ["x", "????", &token[1..], &token.to_lowercase()] {
        let refused = client.orders.list_orders(with(|_| {}, garbage)).await.expect_err("no token");
        assert_eq!(fields(&refused), ["page_token"], "{garbage:?}");
    }
    let events = ListOrderEventsRequest { order_id: all[0].clone(), page_token: token, ..Default::default() };
    assert_eq!(fields(&client.orders.list_order_events(events).await.expect_err("of orders")), ["page_token"]);
}

#[tokio::test]
async fn the_events_of_an_order_come_in_pages_oldest_first() {
    let world = World::new(1).await;
    let (_orders, _inventory) = (world.orders().await, world.inventory().await);
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let all = placed(&mut client, 1).await;
    let mut request = ListOrderEventsRequest { order_id: all[0].clone(), page_size: 2, ..Default::default() };
    let mut events = Vec::new();
    let mut pages = 0;
    loop {
        let page = client.orders.list_order_events(request.clone()).await.expect("answers").into_inner();
        events.extend(page.events);
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(pages, 2);
    assert_eq!(events.iter().map(|event| event.version).collect::<Vec<_>>(), [1, 2, 3]);
    let types: Vec<_> = events.iter().map(|event| event.r#type.as_str()).collect();
    assert_eq!(types, ["spillway.order.placed.v1", "spillway.stock.refused.v1", "spillway.order.rejected.v1"]);
    // One trace; each event names the step that said it.
    let trace = |event: &OrderEvent| event.traceparent.get(3..35).map(str::to_owned);
    assert!(trace(&events[0]).is_some() && events.iter().all(|event| trace(event) == trace(&events[0])));
    let steps: BTreeSet<_> = events.iter().map(|event| event.traceparent.as_str()).collect();
    assert_eq!(steps.len(), 3, "{steps:?}");
}

#[tokio::test]
async fn of_an_order_in_the_intake_alone_nothing_has_happened_yet() {
    let world = World::new(1).await;
    let _stand_in = StandIn::start(world.bus("stand-in").await).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    let events = ListOrderEventsRequest { order_id: placed.order_id, ..Default::default() };
    let page = client.orders.list_order_events(events).await.expect("answers").into_inner();
    assert_eq!((page.events.len(), page.next_page_token.as_str()), (0, ""));
}
