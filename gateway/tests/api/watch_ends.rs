//! How a watch ends before its order does, and how a client goes on.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::{Duration, Instant};

use spillway_proto::pb::orders::order::State;
use tonic::Code;
use tonic_types::StatusExt;

use crate::kit::{PATIENCE, World, order_of, reason, retry_after};
use crate::stand_in::StandIn;
use crate::watch::{next, rest, watch};

#[tokio::test]
async fn a_draining_gateway_ends_its_watches_and_the_next_one_goes_on_from_the_cursor() {
    let world = World::new(1).await;
    let stand_in = StandIn::start(world.bus("stand-in").await).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    stand_in.tell(&placed.order_id, 2, State::Pending);
    let mut stream = watch(&mut client, &placed.order_id, 0).await.expect("open");
    for version in 1..=2 {
        assert_eq!(next(&mut stream).await.expect("no error").expect("a message").cursor, version);
    }
    let began = Instant::now();
    gateway.running.end().await;
    assert!(began.elapsed() < Duration::from_secs(8), "a watch held up the drain: {:?}", began.elapsed());
    let ended = next(&mut stream).await.expect_err("interrupted");
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "WATCH_INTERRUPTED"));
    assert_eq!(ended.get_details_error_info().expect("it is there").metadata["cursor"], "2");
    assert_eq!(retry_after(&ended), Some(Duration::from_millis(1)));

    stand_in.tell(&placed.order_id, 4, State::Confirmed);
    let gateway = world.gateway().await;
    let mut stream = watch(&mut gateway.client().await, &placed.order_id, 2).await.expect("open");
    assert_eq!(rest(&mut stream).await, [(3, 3), (4, 4)]);
}

#[tokio::test]
async fn a_watch_that_is_old_is_asked_to_come_anew() {
    let mut world = World::new(1).await;
    world.config.watch.max_age_ms = NonZeroU64::new(300).expect("not zero");
    let stand_in = StandIn::start(world.bus("stand-in").await).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    stand_in.tell(&placed.order_id, 1, State::Pending);
    let mut stream = watch(&mut client, &placed.order_id, 0).await.expect("open");
    // Old before the first step is told, where that takes long.
    let mut cursor = 0;
    let ended = loop {
        match next(&mut stream).await {
            Ok(step) => cursor = step.expect("a message").cursor,
            Err(ended) => break ended,
        }
    };
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "WATCH_INTERRUPTED"));
    assert_eq!(ended.get_details_error_info().expect("it is there").metadata["cursor"], cursor.to_string());
}

#[tokio::test]
async fn one_watch_too_many_is_refused_and_taken_when_another_has_ended() {
    let mut world = World::new(1).await;
    world.config.watch.max = NonZeroUsize::new(2).expect("not zero");
    let stand_in = StandIn::start(world.bus("stand-in").await).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    stand_in.tell(&placed.order_id, 1, State::Pending);
    let first = watch(&mut client, &placed.order_id, 0).await.expect("open");
    let _second = watch(&mut client, &placed.order_id, 0).await.expect("open");
    let refused = watch(&mut client, &placed.order_id, 0).await.expect_err("one too many");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "TOO_MANY_WATCHES"));
    assert!(retry_after(&refused).is_some());
    drop(first);
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let taken = async {
        while watch(&mut client, &placed.order_id, 0).await.is_err() {
            look.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("a place gets free");
}

#[tokio::test]
async fn a_watch_bears_with_orders_that_is_away_for_a_while() {
    let world = World::new(1).await;
    let orders = world.orders().await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    client.until(&placed.order_id, |order| order.version == 1).await;
    let mut stream = watch(&mut client, &placed.order_id, 0).await.expect("open");
    assert_eq!(next(&mut stream).await.expect("no error").expect("a message").cursor, 1);
    orders.end().await;
    let _inventory = world.inventory().await;
    let _orders = world.orders().await;
    assert_eq!(rest(&mut stream).await, [(2, 2), (3, 3)]);
}

#[tokio::test]
async fn patience_with_orders_ends() {
    let mut world = World::new(1).await;
    world.config.watch.patience_ms = NonZeroU64::new(300).expect("not zero");
    let orders = world.orders().await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    client.until(&placed.order_id, |order| order.version == 1).await;
    let mut stream = watch(&mut client, &placed.order_id, 0).await.expect("open");
    assert_eq!(next(&mut stream).await.expect("no error").expect("a message").cursor, 1);
    orders.end().await;
    let ended = next(&mut stream).await.expect_err("too long");
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "SERVICE_UNREACHABLE"));
    assert!(retry_after(&ended).is_some());
    // Whoever asks for the first time is told at once.
    let refused = watch(&mut client, &placed.order_id, 1).await.expect_err("nobody answers");
    assert_eq!(reason(&refused), "SERVICE_UNREACHABLE");
}
