//! Browsers: gRPC-Web over HTTP/1.1, spoken byte by byte.

use prost::Message;
use spillway_shared::grpc::GrpcLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kit::{PATIENCE, Server, Words, start};

const PAGE: &str = "https://shop.example";

async fn shop_server() -> Server {
    start(GrpcLimits { allowed_origins: vec![PAGE.to_owned()], ..GrpcLimits::default() }).await
}

/// Sends one HTTP/1.1 request and reads the answer to its end.
async fn ask(server: &Server, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.addr).await.expect("it listens");
    let head = format!("{head}host: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await.expect("open");
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("in time").expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

fn preflight(origin: &str) -> String {
    format!(
        "OPTIONS /spillway.test.v1.Echo/Say HTTP/1.1\r\norigin: {origin}\r\n\
         access-control-request-method: POST\r\naccess-control-request-headers: content-type,x-grpc-web\r\n"
    )
}

fn call(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\norigin: {PAGE}\r\ncontent-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\n")
}

fn message(text: &str) -> Vec<u8> {
    let encoded = Words { text: text.to_owned() }.encode_to_vec();
    let length = u32::try_from(encoded.len()).expect("short");
    [&[0], &length.to_be_bytes()[..], &encoded].concat()
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_call() {
    let server = shop_server().await;
    let answer = ask(&server, &preflight(PAGE), b"").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(&format!("access-control-allow-origin: {PAGE}")), "{answer}");
    assert!(answer.contains("access-control-allow-headers: content-type,x-grpc-web"), "{answer}");
}

#[tokio::test]
async fn a_page_of_another_origin_may_not_and_by_default_none_may() {
    for server in [shop_server().await, start(GrpcLimits::default()).await] {
        let answer = ask(&server, &preflight("https://elsewhere.example"), b"").await;
        assert!(!answer.contains("access-control-allow-origin"), "{answer}");
    }
}

#[tokio::test]
async fn a_call_over_http_1_is_answered_with_its_trailers_in_the_body() {
    let server = shop_server().await;
    let answer = ask(&server, &call("/spillway.test.v1.Echo/Say"), &message("hello")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: application/grpc-web+proto"), "{answer}");
    assert!(answer.contains("hello") && answer.contains("grpc-status:0"), "{answer}");
    for exposed in ["grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-retry-pushback-ms"] {
        let line = answer.lines().find(|line| line.starts_with("access-control-expose-headers")).unwrap_or_default();
        assert!(line.contains(exposed), "{exposed} in {line:?}");
    }
}

#[tokio::test]
async fn an_error_over_http_1_carries_its_details() {
    let server = shop_server().await;
    let answer = ask(&server, &call("/spillway.test.v1.Echo/Say"), &message("refuse")).await;
    assert!(answer.contains("grpc-status: 3") && answer.contains("grpc-status-details-bin: "), "{answer}");
    let answer = ask(&server, &call("/spillway.test.v1.Echo/Sing"), &message("")).await;
    assert!(answer.contains("grpc-status: 12") && answer.contains("grpc-status-details-bin: "), "{answer}");
}

// Here, because tonic's own client watches the timeout it sends, and would be the first to answer.
#[tokio::test]
async fn a_clients_short_timeout_ends_with_deadline_exceeded() {
    let server = start(GrpcLimits::default()).await;
    let head = format!("{}grpc-timeout: 30m\r\n", call("/spillway.test.v1.Echo/Say"));
    let answer = ask(&server, &head, &message("hang")).await;
    assert!(answer.contains("grpc-status: 4") && answer.contains("within%20the%2030%20ms"), "{answer}");
    server.until_handlers(0).await;
}

#[tokio::test]
async fn plain_http_is_told_what_this_port_is() {
    let server = start(GrpcLimits::default()).await;
    let answer = ask(&server, "GET / HTTP/1.1\r\n", b"").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("This port speaks gRPC"), "{answer}");
}
