//! The role as it runs: against a real nats-server, heard and asked as others do it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use prost::Message;
use spillway_natsd::testing::TestServer;
use spillway_orders::OrdersConfig;
use spillway_proto::pb::internal::{
    ChangedOrders, HistoryRequest, HistoryResponse, OrdersPageRequest, OrdersPageResponse,
};
use spillway_proto::pb::{self, events as v1};
use spillway_proto::time::Timestamp;
use spillway_proto::{
    DEFAULT_SHOP, Envelope, EventKind, Ledger as Source, LedgerId, NewEvent, OrderId, Partition, Subject, ledgers,
};
use spillway_shared::bus::{Bus, BusConfig, Caller, Routes};
use spillway_shared::ledger::{Numbering, Says, Service, StoreError, SystemClock, Tx, Unreadable};
use spillway_shared::lifecycle::Life;
use spillway_shared::role::Place;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway that accepts whatever it is handed.
struct Gateway;

impl Service for Gateway {
    type Input = NewEvent;
    type Answer = ();
    type Book = ();

    fn hear(&self, _: EventKind, _: &Envelope) -> Result<Option<NewEvent>, Unreadable> {
        Ok(None)
    }

    fn load(&self, _: &Tx<'_>, _: &[&NewEvent]) -> Result<(), StoreError> {
        Ok(())
    }

    fn decide(&self, (): &mut (), event: &NewEvent, _: Timestamp, says: &mut Says) {
        says.event(event);
    }

    fn save(&self, _: &Tx<'_>, (): ()) -> Result<(), StoreError> {
        Ok(())
    }
}

fn placed(order_id: OrderId) -> NewEvent {
    let total = Some(pb::Money { currency_code: "EUR".into(), units: 12, nanos: 0 });
    NewEvent {
        shop: DEFAULT_SHOP.into(),
        subject: Subject::Order(order_id),
        occurrence: String::new(),
        traceparent: String::new(),
        event: v1::OrderPlaced { customer_id: "ann".into(), total, ..Default::default() }.into(),
    }
}

#[tokio::test]
async fn an_order_that_is_heard_is_hinted_at_once_and_told_when_asked_in_every_partition() {
    let nats = TestServer::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let bus = Bus::connect(&BusConfig { url: nats.client_url(), ..BusConfig::default() }, "test").await;
    let bus = bus.expect("a client");
    let mut connected = bus.connected();
    timeout(PATIENCE, connected.wait_for(|is| *is)).await.expect("in time").expect("connected");
    let life = Life::new("test", Duration::from_secs(10));
    let place = Place::new(2, folder.path(), bus.clone(), Arc::new(SystemClock), life.clone());
    spillway_orders::run(OrdersConfig::default(), place.clone()).await.expect("started");
    let id = LedgerId { ledger: Source::Gateway, partition: Partition(0) };
    let gateway = place.open(id, Numbering::InCommit, &[], Gateway, &[]).expect("a ledger");
    place.attach(&gateway, Routes::new());

    for partition in [Partition(0), Partition(1)] {
        let mut hints = bus.client().subscribe(ledgers::changed_subject(partition)).await.expect("subscribed");
        bus.client().flush().await.expect("flushed");
        let order_id = OrderId::new(Timestamp::now(), partition, [7; 10]);
        gateway.command(placed(order_id)).await.expect("accepted");
        let hint = timeout(PATIENCE, hints.next()).await.expect("a hint in time").expect("a hint");
        let hint = ChangedOrders::decode(hint.payload).expect("a hint");
        assert_eq!(hint.order_ids, &order_id.as_bytes()[..]);

        let caller = Caller::background(PATIENCE);
        let request = HistoryRequest { order_id: order_id.to_string(), after: 0, limit: 10 };
        let told: HistoryResponse =
            bus.call(Source::Orders, partition, "history", &caller, &request).await.expect("an answer");
        assert_eq!((told.order.expect("known").version, told.events.len()), (1, 1));
        let request = OrdersPageRequest { customer_id: "ann".into(), limit: 10, ..Default::default() };
        let page: OrdersPageResponse =
            bus.call(Source::Orders, partition, "list", &caller, &request).await.expect("an answer");
        assert_eq!(page.orders.len(), 1, "orders of other partitions are not in it");
    }

    life.shut_down();
    let (drained, ended) = life.finish().await;
    assert_eq!((drained.cut, ended), (vec![], Ok(())));
}
