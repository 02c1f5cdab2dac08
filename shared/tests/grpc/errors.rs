//! What a client is told when a call fails.

use std::time::Duration;

use spillway_shared::grpc::{
    CallError, Cause, DOMAIN, FieldViolation, GrpcLimits, MAX_REQUEST_BYTES, RETRY_PUSHBACK, Reason,
};
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::{ErrorInfo, StatusExt};

use crate::kit::{Words, ms, start};

/// Every error of this system has these.
fn error_info(status: &Status) -> ErrorInfo {
    let info = status.get_error_details().error_info().cloned();
    let info = info.unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, DOMAIN);
    info
}

fn check(status: &Status, code: Code, reason: &str, advice: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    assert_eq!(error_info(status).reason, reason);
    assert!(status.message().contains(advice), "{:?} lacks {advice:?}", status.message());
}

fn words(text: &str) -> Request<Words> {
    Request::new(Words { text: text.to_owned() })
}

#[tokio::test]
async fn a_call_that_is_not_finished_in_time_ends_with_deadline_exceeded() {
    let server = start(GrpcLimits { default_deadline_ms: ms(50), ..GrpcLimits::default() }).await;
    let client = server.client().await;
    let status = client.say("hang").await.expect_err("it hangs");
    check(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "within the 50 ms");
    server.until_handlers(0).await;
    let status = client.tell("late").await.expect_err("no first answer");
    check(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "a longer deadline");
    let mut again = words("still here");
    again.set_timeout(Duration::from_secs(20));
    assert_eq!(client.send(again).await.expect("the connection lives"), "still here");
}

#[tokio::test]
async fn an_unknown_method_tells_how_to_list_the_known_ones() {
    let server = start(GrpcLimits::default()).await;
    let client = server.client().await;
    for path in ["/spillway.test.v1.Echo/Sing", "/spillway.test.v1.Opera/Sing"] {
        let status = client.call(path, words("")).await.expect_err("nobody sings");
        check(&status, Code::Unimplemented, "METHOD_UNKNOWN", "grpcurl -plaintext <address> list");
        assert_eq!(error_info(&status).metadata["method"], path);
    }
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_with_the_limit() {
    let server = start(GrpcLimits::default()).await;
    let client = server.client().await;
    let status = client.say(&"x".repeat(MAX_REQUEST_BYTES)).await.expect_err("too large");
    check(&status, Code::OutOfRange, "MESSAGE_TOO_LARGE", "262144 bytes");
    let violations = status.get_error_details().bad_request().expect("BadRequest").field_violations.len();
    assert_eq!(violations, 1);
    let most = "x".repeat(MAX_REQUEST_BYTES - 4);
    assert_eq!(client.say(&most).await.expect("just small enough").len(), most.len());
}

#[tokio::test]
async fn a_message_that_is_no_protobuf_of_its_type_is_told_so() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Number {
        #[prost(uint64, tag = "1")]
        text: u64,
    }
    let server = start(GrpcLimits::default()).await;
    let mut grpc = tonic::client::Grpc::new(server.client().await.channel);
    grpc.ready().await.expect("connected");
    let path = http::uri::PathAndQuery::from_static("/spillway.test.v1.Echo/Say");
    let codec = ProstCodec::<Number, Number>::default();
    let status = grpc.unary(Request::new(Number { text: 7 }), path, codec).await.expect_err("a varint");
    check(&status, Code::Internal, "MESSAGE_NOT_DECODABLE", "describe");
}

#[tokio::test]
async fn a_compression_that_is_not_taken_is_told_so() {
    let server = start(GrpcLimits::default()).await;
    let channel = server.client().await.channel;
    let mut grpc = tonic::client::Grpc::new(channel).send_compressed(CompressionEncoding::Gzip);
    grpc.ready().await.expect("connected");
    let path = http::uri::PathAndQuery::from_static("/spillway.test.v1.Echo/Say");
    let codec = ProstCodec::<Words, Words>::default();
    let status = grpc.unary(words("hello"), path, codec).await.expect_err("no gzip here");
    check(&status, Code::Unimplemented, "COMPRESSION_NOT_SUPPORTED", "grpc-accept-encoding");
}

#[tokio::test]
async fn a_panic_is_internal_and_harms_no_other_call() {
    let server = start(GrpcLimits::default()).await;
    let client = server.client().await;
    let mut other = client.tell("until drain").await.expect("open");
    let status = client.say("panic").await.expect_err("it panics");
    check(&status, Code::Internal, "INTERNAL", "error id");
    assert!(!status.message().contains("as asked"), "the client must not see what panicked");
    let mut stream = client.tell("panic").await.expect("open");
    assert_eq!(stream.message().await.expect("the first").expect("words").text, "panic");
    let status = stream.message().await.expect_err("it panics");
    check(&status, Code::Internal, "INTERNAL", "error id");
    assert_eq!(other.message().await.expect("the first").expect("words").text, "until drain");
    assert_eq!(client.say("still here").await.expect("the connection lives"), "still here");
}

#[tokio::test]
async fn our_own_errors_pass_untouched_and_bare_ones_of_streams_are_completed() {
    let server = start(GrpcLimits::default()).await;
    let client = server.client().await;
    let status = client.say("refuse").await.expect_err("refused");
    check(&status, Code::InvalidArgument, "FIELDS_INVALID", "text is not valid: must not be refuse");
    let mut stream = client.tell("bare error").await.expect("open");
    stream.message().await.expect("the first");
    let status = stream.message().await.expect_err("torn");
    check(&status, Code::DataLoss, "CALL_NOT_SERVED", "torn");
}

#[tokio::test]
async fn a_malformed_timeout_is_refused() {
    let server = start(GrpcLimits::default()).await;
    let mut request = words("hello");
    request.metadata_mut().insert("grpc-timeout", "soon".parse().expect("a header"));
    let status = server.client().await.send(request).await.expect_err("soon is no time");
    check(&status, Code::InvalidArgument, "FIELDS_INVALID", "grpc-timeout");
}

#[test]
fn every_error_has_its_code_its_reason_and_its_time_to_try_again() {
    const BUSY: Reason = Reason::new("BUSY");
    let cause = || Cause::new(BUSY, "{room} is busy: wait").with("room", "r1");
    let retry_after = Duration::from_millis(250);
    let (resource_type, resource_name) = ("room", "r1".to_owned());
    let not_found = CallError::NotFound { resource_type, resource_name: resource_name.clone() };
    let exists = CallError::AlreadyExists { resource_type, resource_name, cause: cause() };
    let cases = [
        (CallError::invalid("room", "is empty"), Code::InvalidArgument, "FIELDS_INVALID", None),
        (not_found, Code::NotFound, "RESOURCE_NOT_FOUND", None),
        (exists, Code::AlreadyExists, "BUSY", None),
        (CallError::FailedPrecondition { cause: cause() }, Code::FailedPrecondition, "BUSY", None),
        (CallError::Exhausted { cause: cause(), retry_after }, Code::ResourceExhausted, "BUSY", Some("250")),
        (CallError::Unavailable { cause: cause(), retry_after }, Code::Unavailable, "BUSY", Some("250")),
        (CallError::internal("disk on fire"), Code::Internal, "INTERNAL", None),
    ];
    for (error, code, reason, pushback) in cases {
        let status = Status::from(error);
        check(&status, code, reason, "");
        let told = status.metadata().get(RETRY_PUSHBACK).map(|value| value.to_str().expect("digits"));
        assert_eq!(told, pushback);
        let retry = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
        assert_eq!(retry, pushback.map(|_| retry_after));
        assert!(!status.message().contains('{') && !status.message().contains("disk"), "{}", status.message());
    }
}

#[test]
fn all_violations_are_told_unless_they_would_not_fit_into_trailers() {
    let violations = |count: usize| {
        let one = |line| FieldViolation::new(format!("lines[{line}].sku"), "must not be empty");
        Status::from(CallError::InvalidArgument { violations: (0..count).map(one).collect() })
    };
    let told = |status: &Status| status.get_error_details().bad_request().expect("BadRequest").field_violations.len();
    assert_eq!(told(&violations(50)), 50);
    let many = violations(10_000);
    let info = error_info(&many);
    assert_eq!(info.metadata["violations"], "10000");
    assert_eq!(info.metadata["violations_not_told"], (10_000 - told(&many)).to_string());
    let mut trailers = http::HeaderMap::new();
    many.add_header(&mut trailers).expect("fits");
    let bytes: usize = trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    assert!(bytes < 8 * 1024, "{bytes} bytes of trailers");
}
