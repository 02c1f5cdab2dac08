//! The role on a real bus: what stands in the streams ends up in the chains, and the calls are answered.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, jetstream};
use spillway_natsd::testing::TestServer;
use spillway_proto::batch::header;
use spillway_proto::pb::internal::{
    ExportStretchRequest, ExportStretchResponse, VerifyStretchRequest, VerifyStretchResponse,
};
use spillway_proto::{Ledger as Source, LedgerId, Partition, ledgers};
use spillway_shared::bus::{Bus, BusConfig, Caller};
use spillway_shared::ledger::{Batch, SystemClock};
use spillway_shared::lifecycle::Life;
use spillway_shared::role::Place;

use crate::kit;

const PARTITIONS: u16 = 2;

async fn say(jetstream: &jetstream::Context, batch: &Batch, partition: Partition) {
    let number = batch.number.expect("numbered");
    let mut headers = HeaderMap::new();
    headers.insert(header::INCARNATION, number.incarnation.to_string());
    headers.insert(header::PARTITION, partition.to_string());
    headers.insert(header::NUMBER, number.number.to_string());
    headers.insert(header::TIME, batch.time_us.to_string());
    let subject = ledgers::subject(batch.source, partition);
    let told = jetstream.publish_with_headers(subject, headers, batch.body.clone()).await.expect("sent");
    told.await.expect("stored");
}

async fn make_streams(jetstream: &jetstream::Context) {
    for id in Source::ALL.into_iter().flat_map(|ledger| LedgerId::all(ledger, PARTITIONS)) {
        for spec in ledgers::streams_of(id, PARTITIONS) {
            let config = jetstream::stream::Config { name: spec.name, subjects: spec.subjects, ..Default::default() };
            jetstream.create_stream(config).await.expect("made");
        }
    }
}

#[tokio::test]
async fn what_every_ledger_says_in_every_partition_is_in_its_chain() {
    let server = TestServer::start().await;
    let jetstream = jetstream::new(async_nats::connect(server.client_url()).await.expect("connects"));
    make_streams(&jetstream).await;

    let folder = tempfile::tempdir().expect("a folder");
    let config = BusConfig { url: server.client_url(), ..BusConfig::default() };
    let bus = Bus::connect(&config, "audit").await.expect("an address");
    let life = Life::new("audit", Duration::from_secs(10));
    let place = Place::new(PARTITIONS, folder.path(), bus.clone(), Arc::new(SystemClock), life.clone());
    spillway_audit::run(place).await.expect("starts");

    for batch in kit::batches(4) {
        for partition in 0..PARTITIONS {
            say(&jetstream, &batch, Partition(partition)).await;
        }
    }
    for partition in (0..PARTITIONS).map(Partition) {
        let answer = tokio::time::timeout(Duration::from_secs(20), until_position(&bus, partition, 20)).await;
        assert_eq!(answer.expect("all heard in time").broken, None);
        let request = ExportStretchRequest::default();
        let caller = Caller::background(Duration::from_secs(5));
        let call = bus.call::<ExportStretchResponse>(Source::Audit, partition, "export", &caller, &request);
        let entries = call.await.expect("answers").entries;
        assert_eq!(entries.len(), 20);
        assert!(entries.iter().all(|entry| entry.partition == u32::from(partition.0)));
    }
    life.shut_down();
    let (drained, ended) = life.finish().await;
    assert_eq!((drained.cut, ended), (vec![], Ok(())));
}

/// Asks until the chain is so long.
async fn until_position(bus: &Bus, partition: Partition, wanted: i64) -> VerifyStretchResponse {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let caller = Caller::background(Duration::from_secs(5));
    loop {
        tick.tick().await;
        let request = VerifyStretchRequest::default();
        let answer: Result<VerifyStretchResponse, _> =
            bus.call(Source::Audit, partition, "verify", &caller, &request).await;
        match answer {
            Ok(answer) if answer.position >= wanted => return answer,
            Ok(_) | Err(_) => {}
        }
    }
}
