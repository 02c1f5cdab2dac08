//! The role on a real bus: what orders says in its stream becomes a mail, and what came of it is said in a stream.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, jetstream};
use futures::StreamExt;
use spillway_natsd::testing::TestServer;
use spillway_proto::batch::{self, header};
use spillway_proto::trace::step_span;
use spillway_proto::{EventKind, Ledger as Source, LedgerId, TraceContext, ledgers};
use spillway_shared::bus::{Bus, BusConfig};
use spillway_shared::ledger::SystemClock;
use spillway_shared::lifecycle::Life;
use spillway_shared::role::Place;

use crate::kit::{self, HERE};

#[tokio::test]
async fn an_event_in_the_stream_becomes_a_mail_and_an_event() {
    let server = TestServer::start().await;
    let jetstream = jetstream::new(async_nats::connect(server.client_url()).await.expect("connects"));
    for ledger in [Source::Orders, Source::Notifications] {
        for spec in ledgers::streams_of(LedgerId { ledger, partition: HERE }, 1) {
            let config = jetstream::stream::Config { name: spec.name, subjects: spec.subjects, ..Default::default() };
            jetstream.create_stream(config).await.expect("made");
        }
    }
    let subject = ledgers::subject(Source::Notifications, HERE);
    let client = async_nats::connect(server.client_url()).await.expect("connects");
    let mut told = client.subscribe(subject).await.expect("subscribes");
    client.flush().await.expect("subscribed");

    let folder = tempfile::tempdir().expect("a folder");
    let config = BusConfig { url: server.client_url(), ..BusConfig::default() };
    let bus = Bus::connect(&config, "notifications").await.expect("an address");
    let life = Life::new("notifications", Duration::from_secs(10));
    let place = Place::new(1, folder.path(), bus, Arc::new(SystemClock), life.clone());
    spillway_notifications::run(kit::config(), place).await.expect("starts");

    let said = kit::batch(1, &[kit::confirmed(1, "ada@example.com")]);
    let number = said.number.expect("numbered");
    let mut headers = HeaderMap::new();
    headers.insert(header::INCARNATION, number.incarnation.to_string());
    headers.insert(header::PARTITION, number.partition.to_string());
    headers.insert(header::NUMBER, number.number.to_string());
    headers.insert(header::TIME, said.time_us.to_string());
    let subject = ledgers::subject(Source::Orders, HERE);
    let published = jetstream.publish_with_headers(subject, headers, said.body).await.expect("sent");
    published.await.expect("stored");

    let message = tokio::time::timeout(Duration::from_secs(20), told.next()).await.expect("told in time");
    let events = batch::read(message.expect("a message").payload).expect("a batch");
    let event = events[0].as_ref().expect("an event");
    assert_eq!(event.kind(), Some(EventKind::NotificationSent));
    assert_eq!(event.subject.order(), Some(kit::order(1)));
    let cause = TraceContext::parse("00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa01-bbbbbbbbbbbbbbbb-01").expect("a trace");
    let step = cause.at(step_span(Source::Notifications, kit::confirmed(1, "ada@example.com").id()));
    // The cause is of another day: what it leads to begins a trace of its own.
    let told = TraceContext::parse(&event.traceparent);
    assert!([Some(step), Some(step.renewed())].contains(&told), "{told:?}");
    assert_eq!(std::fs::read_dir(folder.path().join("mail")).expect("made").count(), 1);
    life.shut_down();
    let (drained, ended) = life.finish().await;
    assert_eq!((drained.cut, ended), (vec![], Ok(())));
}
