//! Without NATS, without orders: accepting goes on, and nothing that is said goes backwards.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{GetOrderRequest, ListOrderEventsRequest, ListOrdersRequest};
use spillway_proto::{Ledger, Partition, ledgers};
use tonic::{Code, Status};

use crate::kit::{Client, PATIENCE, World, order_of, reason, retry_after};

fn unreachable(status: &Status) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::Unavailable, "SERVICE_UNREACHABLE"), "{status:?}");
    assert_eq!(retry_after(status), Some(Duration::from_secs(1)));
}

#[tokio::test]
async fn accepting_goes_on_while_nats_is_down_and_reading_says_unavailable() {
    let mut world = World::new(1).await;
    let (_orders, _inventory) = (world.orders().await, world.inventory().await);
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let before = client.place(&order_of("tea")).await.expect("accepted");
    client.until_rejected(&before.order_id).await;

    world.nats.kill().await;
    let mut connected = gateway.running.bus.connected();
    let is_noticed = connected.wait_for(|is_connected| !is_connected);
    tokio::time::timeout(PATIENCE, is_noticed).await.expect("in time").expect("it lives");
    let request = order_of("cup");
    let placed = client.place(&request).await.expect("accepted all the same");
    // Not "not found", and not PENDING for an order that was seen rejected.
    unreachable(&client.get(&placed.order_id).await.expect_err("orders is away"));
    unreachable(&client.get(&before.order_id).await.expect_err("orders is away"));
    let events = ListOrderEventsRequest { order_id: placed.order_id.clone(), ..Default::default() };
    unreachable(&client.orders.list_order_events(events).await.expect_err("orders is away"));
    unreachable(&client.orders.list_orders(ListOrdersRequest::default()).await.expect_err("orders is away"));
    let retried = client.place(&request).await.expect("a retry is answered");
    assert_eq!((retried.order_id.as_str(), retried.state()), (placed.order_id.as_str(), State::Pending));

    world.nats.restart().await.expect("again");
    client.until_rejected(&placed.order_id).await;
}

#[tokio::test]
async fn orders_that_is_not_there_is_unavailable_and_not_unknown() {
    let world = World::new(1).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let placed = client.place(&order_of("tea")).await.expect("accepted");
    unreachable(&client.get(&placed.order_id).await.expect_err("nobody answers"));
    let orders = world.orders().await;
    client.until(&placed.order_id, |order| order.version == 1).await;
    orders.end().await;
    unreachable(&client.get(&placed.order_id).await.expect_err("nobody answers"));
}

#[tokio::test]
async fn orders_that_hangs_is_told_before_the_client_gives_up_and_holds_up_no_retry() {
    let world = World::new(1).await;
    let bus = world.bus("black hole").await;
    let subject = ledgers::call_subject(Ledger::Orders, Partition(0), "history");
    let _calls = bus.client().subscribe(subject).await.expect("subscribed");
    bus.client().flush().await.expect("the server knows");
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let request = order_of("tea");
    let placed = client.place(&request).await.expect("accepted");
    let mut asked = tonic::Request::new(GetOrderRequest { order_id: placed.order_id.clone() });
    asked.set_timeout(Duration::from_secs(5));
    unreachable(&client.orders.get_order(asked).await.expect_err("nobody answers"));
    let began = Instant::now();
    assert_eq!(client.place(&request).await.expect("a retry is answered"), placed);
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
}

/// Places orders until one is refused; answers the refusal, and the last request that was accepted.
async fn until_refused(client: &mut Client) -> (Status, spillway_proto::pb::orders::PlaceOrderRequest) {
    let mut last = order_of("tea");
    let placing = async {
        loop {
            let request = order_of("tea");
            match client.place(&request).await {
                Ok(_) => last = request,
                Err(refused) => return refused,
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, placing).await.expect("in time");
    (refused, last)
}

#[tokio::test]
async fn a_full_outbox_refuses_new_orders_answers_retries_and_empties_when_it_is_heard() {
    let mut world = World::new(1).await;
    world.config.outbox_budget_bytes = NonZeroU64::new(20_000).expect("not zero");
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let (refused, last) = until_refused(&mut client).await;
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "OUTBOX_FULL"), "{refused:?}");
    assert!(retry_after(&refused).is_some());
    assert_eq!(client.place(&last).await.expect("accepted before").request_id, last.request_id);
    let mut reused = last.clone();
    reused.customer_id = "grace".to_owned();
    assert_eq!(client.place(&reused).await.expect_err("another").code(), Code::AlreadyExists);

    // Also from the first request on after a restart.
    gateway.running.end().await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let refused = client.place(&order_of("tea")).await.expect_err("still full");
    assert_eq!(reason(&refused), "OUTBOX_FULL");

    // All who hear the gateway.
    let _roles = (world.orders().await, world.inventory().await, world.audit().await);
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let accepted = async {
        loop {
            look.tick().await;
            if client.place(&order_of("tea")).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, accepted).await.expect("room again");
}
