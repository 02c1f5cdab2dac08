//! PlaceOrder and GetOrder, with everything up.

use std::collections::BTreeSet;

use spillway_proto::pb::orders::ListOrdersRequest;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::waiting::Kind;
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::kit::{PATIENCE, World, fields, money, order_of, reason, retry_after};
use crate::stand_in::StandIn;

#[tokio::test]
async fn an_order_is_answered_pending_read_back_and_followed_to_its_end() {
    let world = World::new(1).await;
    let (_orders, _inventory) = (world.orders().await, world.inventory().await);
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let request = order_of("tea");
    let placed = client.place(&request).await.expect("accepted");
    assert_eq!((placed.state(), placed.version), (State::Pending, 0));
    assert_eq!(placed.total, Some(money(12, 500_000_000, "EUR")));
    assert_eq!(placed.refunded, Some(money(0, 0, "EUR")));
    assert_eq!(
        (&placed.request_id, &placed.lines, &placed.labels),
        (&request.request_id, &request.lines, &request.labels)
    );
    assert_eq!(
        placed.waiting.as_ref().map(|waiting| (waiting.kind(), waiting.since)),
        Some((Kind::Stock, placed.create_time))
    );

    let ended = client.until_rejected(&placed.order_id).await;
    assert_eq!(
        (&ended.lines, &ended.create_time, &ended.refunded),
        (&placed.lines, &placed.create_time, &placed.refunded)
    );
    // A retry is answered with how the order stands by now; where orders takes too long to tell, as the first one was.
    let told = async {
        loop {
            match client.place(&request).await.expect("accepted before") {
                again if again == ended => return,
                again => assert_eq!(again, placed),
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("orders tells in time");
}

#[tokio::test]
async fn the_same_request_from_64_clients_at_once_is_one_order() {
    let world = World::new(2).await;
    let _orders = world.orders().await;
    let gateway = world.gateway().await;
    let client = gateway.client().await;
    let request = order_of("tea");
    let calls = (0..64).map(|_| {
        let (mut client, request) = (client.clone(), request.clone());
        tokio::spawn(async move { client.place(&request).await.expect("accepted").order_id })
    });
    let answered: BTreeSet<String> =
        futures::future::join_all(calls).await.into_iter().map(|id| id.expect("no panic")).collect();
    assert_eq!(answered.len(), 1);
}

#[tokio::test]
async fn other_content_under_the_same_request_id_is_refused() {
    let world = World::new(1).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let request = order_of("tea");
    let placed = client.place(&request).await.expect("accepted");
    let mut other = request.clone();
    other.lines[0].quantity = 2;
    let refused = client.place(&other).await.expect_err("another order");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    assert_eq!(refused.get_details_error_info().expect("it is there").metadata["order_id"], placed.order_id);
    assert_eq!(retry_after(&refused), None);
}

#[tokio::test]
async fn a_request_that_is_only_checked_leaves_nothing_behind() {
    let world = World::new(1).await;
    let _orders = world.orders().await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let mut checked = order_of("tea");
    checked.validate_only = true;
    let order = client.place(&checked).await.expect("right");
    assert_eq!((order.order_id.as_str(), order.create_time), ("", None));
    assert_eq!((order.state(), order.total), (State::Pending, Some(money(12, 500_000_000, "EUR"))));
    // The id is still free for anything.
    let mut other = checked.clone();
    (other.validate_only, other.customer_id) = (false, "grace".to_owned());
    let placed = client.place(&other).await.expect("accepted");
    client.until(&placed.order_id, |order| order.version > 0).await;
    let all = client.orders.list_orders(ListOrdersRequest::default()).await.expect("answers").into_inner();
    assert_eq!(all.orders.iter().map(|order| &order.order_id).collect::<Vec<_>>(), [&placed.order_id]);

    checked.lines.clear();
    checked.customer_id.clear();
    assert_eq!(fields(&client.place(&checked).await.expect_err("wrong")), ["customer_id", "lines"]);
}

#[tokio::test]
async fn what_is_no_order_is_not_found_and_what_is_no_id_is_invalid() {
    let world = World::new(2).await;
    let _orders = world.orders().await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    // Partition 0, which there is, and the last one, which there is not.
    for unknown in ["00000000-0000-7000-8000-000000000000", "00000000-0000-7000-8000-00000000ffff"] {
        let refused = client.get(unknown).await.expect_err("unknown");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "RESOURCE_NOT_FOUND"), "{unknown}");
    }
    assert_eq!(fields(&client.get("order-17").await.expect_err("no id")), ["order_id"]);
    assert_eq!(fields(&client.get("").await.expect_err("no id")), ["order_id"]);
}

#[tokio::test]
async fn an_order_that_orders_does_not_know_yet_is_read_from_the_intake() {
    let world = World::new(1).await;
    let stand_in = StandIn::start(world.bus("stand-in").await).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let request = order_of("tea");
    let placed = client.place(&request).await.expect("accepted");
    assert_eq!(client.get(&placed.order_id).await.expect("in the intake"), placed);
    assert_eq!(client.place(&request).await.expect("a retry"), placed);
    stand_in.tell(&placed.order_id, 3, State::Confirmed);
    let known = client.get(&placed.order_id).await.expect("known");
    assert_eq!((known.state(), known.version), (State::Confirmed, 3));
    let unknown = client.get(&Uuid::from_u128(7).to_string()).await.expect_err("neither knows it");
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn a_restart_keeps_what_was_accepted() {
    let world = World::new(1).await;
    let _stand_in = StandIn::start(world.bus("stand-in").await).await;
    let gateway = world.gateway().await;
    let request = order_of("tea");
    let placed = gateway.client().await.place(&request).await.expect("accepted");
    gateway.running.end().await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    assert_eq!(client.get(&placed.order_id).await.expect("kept"), placed);
    assert_eq!(client.place(&request).await.expect("a retry"), placed);
}
