//! The role as it runs: against a real nats-server and a real provider, in every partition.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Provider, about, cancelled, config, held, sandbox_config};
use spillway_natsd::testing::TestServer;
use spillway_proto::time::Timestamp;
use spillway_proto::{Envelope, EventKind, Ledger as Role, LedgerId, NewEvent, OrderId, Partition};
use spillway_shared::bus::{Bus, BusConfig, Routes};
use spillway_shared::ledger::{Ledger, Numbering, Says, Service, StoreError, SystemClock, Tx, Unreadable};
use spillway_shared::lifecycle::Life;
use spillway_shared::role::Place;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A ledger that says whatever it is handed, and passes on what it hears of payments.
struct Neighbour {
    heard: mpsc::UnboundedSender<(OrderId, EventKind)>,
}

impl Service for Neighbour {
    type Input = NewEvent;
    type Answer = ();
    type Book = ();

    fn hear(&self, kind: EventKind, event: &Envelope) -> Result<Option<NewEvent>, Unreadable> {
        if let (Some(order), "payments") = (event.subject.order(), event.source.as_str()) {
            self.heard.send((order, kind)).map_err(|_| Unreadable::Undecodable("nobody listens".to_owned()))?;
        }
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

type Heard = mpsc::UnboundedReceiver<(OrderId, EventKind)>;

fn neighbour(place: &Place, ledger: Role, partition: u16) -> (Ledger<Neighbour>, Heard) {
    let (heard, hears) = mpsc::unbounded_channel();
    let id = LedgerId { ledger, partition: Partition(partition) };
    let ledger = place.open(id, Numbering::InCommit, &[], Neighbour { heard }, &[]).expect("a ledger");
    place.attach(&ledger, Routes::new());
    (ledger, hears)
}

#[tokio::test]
async fn what_is_held_is_charged_and_what_is_over_goes_back_in_every_partition() {
    let nats = TestServer::start().await;
    let provider = Provider::start(sandbox_config()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let bus = Bus::connect(&BusConfig { url: nats.client_url(), ..BusConfig::default() }, "test").await;
    let bus = bus.expect("a client");
    let mut connected = bus.connected();
    timeout(common::DEADLINE, connected.wait_for(|is| *is)).await.expect("in time").expect("connected");
    let life = Life::new("test", Duration::from_secs(10));
    let place = Place::new(2, folder.path(), bus, Arc::new(SystemClock), life.clone());
    let mut config = config();
    config.provider.url = format!("http://{}", provider.address);
    spillway_payments::run(config, place.clone()).await.expect("started");

    let (inventory, _) = neighbour(&place, Role::Inventory, 0);
    for partition in [0, 1] {
        let (orders, mut hears) = neighbour(&place, Role::Orders, partition);
        let order = OrderId::new(Timestamp::now(), Partition(partition), [7; 10]);
        inventory.command(about(order, held(500, "pm_ok"))).await.expect("said");
        let next = timeout(common::DEADLINE, hears.recv()).await.expect("in time");
        assert_eq!(next, Some((order, EventKind::PaymentCaptured)));
        orders.command(about(order, cancelled())).await.expect("said");
        let next = timeout(common::DEADLINE, hears.recv()).await.expect("in time");
        assert_eq!(next, Some((order, EventKind::PaymentRefunded)));
        assert_eq!(provider.moved(order, "charge").await, provider.moved(order, "refund").await);
    }

    life.shut_down();
    let (drained, ended) = life.finish().await;
    assert_eq!((drained.cut, ended), (vec![], Ok(())));
}

#[tokio::test]
async fn a_provider_that_cannot_be_spoken_to_as_configured_stops_the_start() {
    let nats = TestServer::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let bus = Bus::connect(&BusConfig { url: nats.client_url(), ..BusConfig::default() }, "test").await;
    let life = Life::new("test", Duration::from_secs(10));
    let place = Place::new(1, folder.path(), bus.expect("a client"), Arc::new(SystemClock), life);
    let mut config = config();
    config.provider.token_file = Some(folder.path().join("none"));
    let error = spillway_payments::run(config, place).await.expect_err("no token");
    assert!(error.to_string().contains("payments.provider.token"), "{error}");
}
