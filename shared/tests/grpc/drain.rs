//! How a server stops.

use std::time::{Duration, Instant};

use spillway_shared::grpc::GrpcLimits;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::kit::{PATIENCE, start, start_with, until_handlers};

#[tokio::test]
async fn a_stream_that_hangs_is_cut_when_the_drain_is_over() {
    let server = start_with(GrpcLimits::default(), Duration::from_millis(200)).await;
    let client = server.client().await;
    let mut stream = client.tell("hang").await.expect("open");
    stream.message().await.expect("the first").expect("words");
    let handlers = server.handlers();
    until_handlers(&handlers, 1).await;
    let begun = Instant::now();
    let drained = timeout(PATIENCE, server.stop()).await.expect("bounded").expect("no panic");
    assert_eq!((drained.open, drained.cut), (1, 1));
    assert!(begun.elapsed() >= Duration::from_millis(200), "it was given its time");
    stream.message().await.expect_err("cut");
    until_handlers(&handlers, 0).await;
}

#[tokio::test]
async fn what_ends_by_itself_is_finished_and_nothing_is_cut() {
    let server = start(GrpcLimits::default()).await;
    let (addr, handlers) = (server.addr, server.handlers());
    let client = server.client().await;
    let mut stream = client.tell("until drain").await.expect("open");
    stream.message().await.expect("the first").expect("words");
    let call = tokio::spawn(async move { client.say("until drain").await });
    until_handlers(&handlers, 2).await;
    let draining = server.stop();
    assert_eq!(call.await.expect("no panic").expect("finished"), "drained");
    assert_eq!(stream.message().await.expect("finished").expect("words").text, "drained");
    assert!(stream.message().await.expect("an orderly end").is_none());
    let drained = timeout(PATIENCE, draining).await.expect("in time").expect("no panic");
    assert_eq!((drained.open, drained.cut), (1, 0));
    TcpStream::connect(addr).await.expect_err("nobody listens any more");
}

#[tokio::test]
async fn a_watcher_of_health_hears_not_serving_and_does_not_hold_up_the_drain() {
    let server = start_with(GrpcLimits::default(), PATIENCE).await;
    server.health.set_serving(true).await;
    let mut client = HealthClient::new(server.client().await.channel);
    let mut watch = client.watch(HealthCheckRequest::default()).await.expect("open").into_inner();
    let heard = |message: Option<tonic_health::pb::HealthCheckResponse>| message.map(|heard| heard.status());
    assert_eq!(heard(watch.message().await.expect("open")), Some(ServingStatus::Serving));
    let draining = server.stop();
    assert_eq!(heard(watch.message().await.expect("open")), Some(ServingStatus::NotServing));
    let end = watch.message().await.expect_err("the server ends it");
    assert_eq!(end.code(), Code::Unavailable);
    assert_eq!(end.get_error_details().error_info().expect("ErrorInfo").reason, "SERVER_STOPPING");
    let drained = timeout(PATIENCE / 2, draining).await.expect("long before the drain ends").expect("no panic");
    assert_eq!(drained.cut, 0);
}
