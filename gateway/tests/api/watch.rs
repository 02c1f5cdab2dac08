//! WatchOrder: no gap, no repeat, whatever is interrupted.

use std::time::{Duration, Instant};

use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{ListOrderEventsRequest, WatchOrderRequest, WatchOrderResponse};
use tonic::{Code, Status, Streaming};

use crate::kit::{Client, PATIENCE, World, fields, order_of, reason};
use crate::stand_in::StandIn;

pub async fn watch(client: &mut Client, order_id: &str, cursor: i64) -> Result<Streaming<WatchOrderResponse>, Status> {
    let request = WatchOrderRequest { order_id: order_id.to_owned(), cursor };
    Ok(client.orders.watch_order(request).await?.into_inner())
}

pub async fn next(stream: &mut Streaming<WatchOrderResponse>) -> Result<Option<WatchOrderResponse>, Status> {
    tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time")
}

/// (version of its event, 0 where it has none; cursor) of every message up to the end.
pub async fn rest(stream: &mut Streaming<WatchOrderResponse>) -> Vec<(i64, i64)> {
    let mut seen = Vec::new();
    while let Some(message) = next(stream).await.expect("no error") {
        seen.push((message.event.map_or(0, |event| event.version), message.cursor));
    }
    seen
}

#[tokio::test]
async fn an_order_is_replayed_followed_and_the_stream_ends_with_it() {
    let world = World::new(1).await;
    let _orders = world.orders().await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    client.until(&placed.order_id, |order| order.version == 1).await;
    let mut stream = watch(&mut client, &placed.order_id, 0).await.expect("open");
    let first = next(&mut stream).await.expect("no error").expect("a message");
    assert_eq!((first.event.expect("an event").r#type.as_str(), first.cursor), ("spillway.order.placed.v1", 1));
    // Inventory comes, has nothing in stock, and the order ends.
    let _inventory = world.inventory().await;
    let second = next(&mut stream).await.expect("no error").expect("a message");
    assert_eq!((second.event.expect("an event").r#type.as_str(), second.cursor), ("spillway.stock.refused.v1", 2));
    assert_eq!(rest(&mut stream).await, [(3, 3)]);

    // Once it has ended it is replayed, from wherever the client is.
    for cursor in 0..=3 {
        let mut again = watch(&mut client, &placed.order_id, cursor).await.expect("open");
        let wanted: Vec<(i64, i64)> = (cursor + 1..=3).map(|version| (version, version)).collect();
        assert_eq!(rest(&mut again).await, wanted, "from {cursor}");
    }
}

#[tokio::test]
async fn a_client_that_resumes_after_every_message_misses_nothing_and_hears_nothing_twice() {
    let world = World::new(2).await;
    let (_orders, _inventory) = (world.orders().await, world.inventory().await);
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    for _ in 0..4 {
        let placed = client.place(&order_of("tea")).await.expect("accepted");
        let (mut heard, mut cursor) = (Vec::new(), 0);
        loop {
            // A new stream, on a new connection, for each message.
            let mut client = gateway.client().await;
            let opened = watch(&mut client, &placed.order_id, cursor).await;
            if opened.as_ref().is_err_and(|status| status.code() == Code::Unavailable) {
                continue;
            }
            let Some(message) = next(&mut opened.expect("open")).await.expect("no error") else { break };
            cursor = message.cursor;
            heard.extend(message.event.map(|event| event.id));
        }
        let all = ListOrderEventsRequest { order_id: placed.order_id, ..Default::default() };
        let all = client.orders.list_order_events(all).await.expect("answers").into_inner().events;
        assert_eq!(heard, all.into_iter().map(|event| event.id).collect::<Vec<_>>());
        assert_eq!(heard.len(), 3);
    }
}

#[tokio::test]
async fn an_order_in_the_intake_alone_is_shown_once_and_then_followed_from_its_first_event() {
    let world = World::new(1).await;
    let stand_in = StandIn::start(world.bus("stand-in").await).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    let mut stream = watch(&mut client, &placed.order_id, 0).await.expect("open");
    let first = next(&mut stream).await.expect("no error").expect("a message");
    assert_eq!((first.order.as_ref(), first.event.as_ref(), first.cursor), (Some(&placed), None, 0));
    // Asked again, orders still does not know it: nothing new to be shown.
    let asked = stand_in.asked();
    stand_in.hint(&placed.order_id).await;
    until_asked(&stand_in, asked + 1).await;
    stand_in.tell(&placed.order_id, 2, State::Confirmed);
    stand_in.hint(&placed.order_id).await;
    assert_eq!(rest(&mut stream).await, [(1, 1), (2, 2)]);
}

async fn until_asked(stand_in: &StandIn, count: usize) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let asked = async {
        while stand_in.asked() < count {
            look.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("in time");
}

#[tokio::test]
async fn a_hint_makes_it_fast_and_without_one_it_is_asked_again_within_two_seconds() {
    let world = World::new(1).await;
    let stand_in = StandIn::start(world.bus("stand-in").await).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    stand_in.tell(&placed.order_id, 1, State::Pending);
    let mut stream = watch(&mut client, &placed.order_id, 1).await.expect("open");

    let mut quickest = Duration::MAX;
    for version in 2..6 {
        stand_in.tell(&placed.order_id, version, State::Pending);
        let began = Instant::now();
        stand_in.hint(&placed.order_id).await;
        let heard = next(&mut stream).await.expect("no error").expect("a message");
        assert_eq!(heard.cursor, version);
        quickest = quickest.min(began.elapsed());
    }
    assert!(quickest < Duration::from_millis(500), "a hint took {quickest:?}");

    stand_in.tell(&placed.order_id, 6, State::Pending);
    let began = Instant::now();
    let heard = next(&mut stream).await.expect("no error").expect("a message");
    assert_eq!(heard.cursor, 6);
    // With room for a busy machine.
    assert!(began.elapsed() < Duration::from_secs(4), "without a hint it took {:?}", began.elapsed());
}

#[tokio::test]
async fn more_events_than_one_answer_holds_come_without_a_pause() {
    let world = World::new(1).await;
    let stand_in = StandIn::start(world.bus("stand-in").await).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    stand_in.tell(&placed.order_id, 230, State::Refunded);
    let mut stream = watch(&mut client, &placed.order_id, 7).await.expect("open");
    let began = Instant::now();
    let wanted: Vec<(i64, i64)> = (8..=230).map(|version| (version, version)).collect();
    assert_eq!(rest(&mut stream).await, wanted);
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn what_cannot_be_watched_is_told_at_once() {
    let world = World::new(1).await;
    let stand_in = StandIn::start(world.bus("stand-in").await).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    let refused = |outcome: Result<Streaming<WatchOrderResponse>, Status>| outcome.expect_err("refused");
    assert_eq!(fields(&refused(watch(&mut client, &placed.order_id, -1).await)), ["cursor"]);
    assert_eq!(fields(&refused(watch(&mut client, "x", -1).await)), ["order_id", "cursor"]);
    assert_eq!(fields(&refused(watch(&mut client, &placed.order_id, 1).await)), ["cursor"], "nothing happened yet");
    stand_in.tell(&placed.order_id, 3, State::Pending);
    assert_eq!(fields(&refused(watch(&mut client, &placed.order_id, 4).await)), ["cursor"], "beyond the last");
    let unknown = refused(watch(&mut client, "00000000-0000-7000-8000-000000000000", 0).await);
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "RESOURCE_NOT_FOUND"));
}
