//! The role as it runs: against a real nats-server, asked as the gateway does it.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use spillway_natsd::testing::TestServer;
use spillway_proto::pb::inventory::{
    AdjustStockRequest, AdjustStockResponse, GetStockRequest, GetStockResponse, ListStockRequest, ListStockResponse,
};
use spillway_proto::{Ledger as Source, Partition};
use spillway_shared::bus::{Bus, BusConfig, CallFailed, Caller};
use spillway_shared::ledger::SystemClock;
use spillway_shared::lifecycle::Life;
use spillway_shared::role::Place;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

async fn ask<A: Message + Default>(bus: &Bus, endpoint: &str, request: &impl Message) -> Result<A, CallFailed> {
    // Inventory is one ledger that is asked in any partition.
    bus.call(Source::Inventory, Partition(1), endpoint, &Caller::background(PATIENCE), request).await
}

#[tokio::test]
async fn stock_is_adjusted_and_told_by_its_endpoints() {
    let nats = TestServer::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = BusConfig { url: nats.client_url(), ..BusConfig::default() };
    let bus = Bus::connect(&config, "test").await.expect("a client");
    let mut connected = bus.connected();
    timeout(PATIENCE, connected.wait_for(|is| *is)).await.expect("in time").expect("connected");
    let life = Life::new("test", Duration::from_secs(10));
    let place = Place::new(2, folder.path(), bus.clone(), Arc::new(SystemClock), life.clone());
    spillway_inventory::run(place).await.expect("started");

    let get = GetStockRequest { sku: "tea".into() };
    let answering = async {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        loop {
            every.tick().await;
            match ask::<GetStockResponse>(&bus, "get_stock", &get).await {
                Err(CallFailed::NoAnswer { .. }) => {}
                answered => return answered,
            }
        }
    };
    let refused = timeout(PATIENCE, answering).await.expect("it answers");
    assert!(matches!(&refused, Err(CallFailed::Refused(why)) if why.reason == "SKU_NOT_FOUND"), "{refused:?}");
    let request = AdjustStockRequest {
        request_id: "3f2b7a52-8a0e-4c0e-9d6a-0c8f8b0a9c11".into(),
        sku: "tea".into(),
        delta: 5,
        reason: "delivery".into(),
    };
    let adjusted: AdjustStockResponse = ask(&bus, "adjust_stock", &request).await.expect("adjusted");
    let told: GetStockResponse = ask(&bus, "get_stock", &get).await.expect("known");
    assert_eq!((told.item.as_ref().map(|item| item.available), &told.item), (Some(5), &adjusted.item));
    let listed: ListStockResponse = ask(&bus, "list_stock", &ListStockRequest::default()).await.expect("a list");
    assert_eq!(listed.items, Vec::from_iter(told.item));

    life.shut_down();
    let (drained, ended) = life.finish().await;
    assert_eq!((drained.cut, ended), (vec![], Ok(())));
}
