//! How many calls, for how long.

use std::num::NonZeroUsize;
use std::time::Duration;

use spillway_shared::grpc::{GrpcLimits, RETRY_PUSHBACK, TraceParent};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::kit::{Words, ms, start};

const ONE: NonZeroUsize = NonZeroUsize::MIN;

fn check_refusal(status: &Status, reason: &str) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().expect("ErrorInfo").reason, reason);
    assert_eq!(details.error_info().expect("ErrorInfo").metadata["max"], "1");
    let retry = details.retry_info().and_then(|info| info.retry_delay).expect("RetryInfo");
    let pushback = status.metadata().get(RETRY_PUSHBACK).expect("pushback").to_str().expect("digits");
    assert_eq!(pushback, retry.as_millis().to_string());
    assert!(retry >= Duration::from_millis(100), "{retry:?}");
}

#[tokio::test]
async fn a_call_above_the_limit_is_refused_with_the_time_to_try_again_and_health_still_answers() {
    let server = start(GrpcLimits { max_calls: ONE, ..GrpcLimits::default() }).await;
    let client = server.client().await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.say("hang").await }
    });
    server.until_handlers(1).await;
    // On a connection of its own: the limit is the server's, not the connection's.
    let status = server.client().await.say("hello").await.expect_err("one is in flight");
    check_refusal(&status, "TOO_MANY_CALLS");
    let mut health = HealthClient::new(client.channel.clone());
    health.check(HealthCheckRequest::default()).await.expect("health is exempt");
    let _stream = client.tell("hang").await.expect("streams have places of their own");
    first.abort();
    server.until_handlers(1).await;
    assert_eq!(client.say("hello").await.expect("the place is free again"), "hello");
}

#[tokio::test]
async fn a_stream_keeps_its_place_until_it_is_closed() {
    let server = start(GrpcLimits { max_streams: ONE, ..GrpcLimits::default() }).await;
    let client = server.client().await;
    let mut first = client.tell("hang").await.expect("open");
    first.message().await.expect("the first");
    let status = client.tell("hello").await.expect_err("one is open");
    check_refusal(&status, "TOO_MANY_STREAMS");
    assert_eq!(client.say("hello").await.expect("calls have places of their own"), "hello");
    drop(first);
    server.until_handlers(0).await;
    client.tell("hello").await.expect("the place is free again");
}

#[tokio::test]
async fn the_deadline_is_the_smaller_of_the_clients_and_the_servers() {
    let server =
        start(GrpcLimits { default_deadline_ms: ms(300_000), max_deadline_ms: ms(600_000), ..GrpcLimits::default() })
            .await;
    let client = server.client().await;
    for (timeout, most_ms) in [(None, 300_000), (Some("200S"), 200_000), (Some("9H"), 600_000)] {
        let mut request = Request::new(Words { text: "remaining".to_owned() });
        if let Some(timeout) = timeout {
            request.metadata_mut().insert("grpc-timeout", timeout.parse().expect("a header"));
        }
        let remaining: u64 = client.send(request).await.expect("answered").parse().expect("milliseconds");
        assert!((most_ms - 60_000..=most_ms).contains(&remaining), "{timeout:?}: {remaining} ms");
    }
}

#[tokio::test]
async fn a_stream_may_last_longer_than_any_deadline() {
    let server =
        start(GrpcLimits { default_deadline_ms: ms(50), max_deadline_ms: ms(50), ..GrpcLimits::default() }).await;
    let client = server.client().await;
    let mut stream = client.tell("until drain").await.expect("open");
    stream.message().await.expect("the first").expect("words");
    client.say("hang").await.expect_err("the time that the stream outlives");
    let draining = server.stop();
    assert_eq!(stream.message().await.expect("still open").expect("words").text, "drained");
    draining.await.expect("no panic");
}

#[tokio::test]
async fn a_call_carries_its_callers_trace_or_a_new_one_and_its_peer() {
    let server = start(GrpcLimits::default()).await;
    let client = server.client().await;
    let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut request = Request::new(Words { text: "trace".to_owned() });
    request.metadata_mut().insert("traceparent", sent.parse().expect("a header"));
    let inside = client.send(request).await.expect("answered");
    assert!(inside.starts_with(&sent[..36]) && inside.ends_with("-01") && inside != sent, "{inside}");
    let new = client.say("trace").await.expect("answered");
    assert!(new != sent && TraceParent::parse(&new).is_some(), "{new}");
    assert!(client.say("peer").await.expect("answered").starts_with("127.0.0.1:"));
}
