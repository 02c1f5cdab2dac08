//! How connections are taken and let go.

use std::num::NonZeroUsize;

use spillway_shared::grpc::GrpcLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kit::{PATIENCE, Server, ms, start};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const GOAWAY: u8 = 7;

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.addr).await.expect("it listens")
}

/// Everything the server says until it closes.
async fn until_closed(mut stream: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("closed in time");
    // A reset is as good an end as any.
    read.map_or_else(|error| assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset), |_bytes| ());
    said
}

fn frame_types(mut said: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [high, middle, low, kind, ..] = *said {
        types.push(kind);
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        said = said.get(9 + length..).unwrap_or_default();
    }
    types
}

fn impatient() -> GrpcLimits {
    GrpcLimits { opening_timeout_ms: ms(100), ..GrpcLimits::default() }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = start(impatient()).await;
    assert_eq!(until_closed(connect(&server).await).await, b"");
}

#[tokio::test]
async fn a_connection_that_stops_in_the_middle_of_its_opening_is_closed() {
    let server = start(impatient()).await;
    for opening in [&PREFACE[..1], &PREFACE[..23], b"POST /spillway", b"POST /spillway.test.v1.Echo/Say HTTP/1.1\r\n"] {
        let mut stream = connect(&server).await;
        stream.write_all(opening).await.expect("open");
        let said = until_closed(stream).await;
        assert!(!said.windows(3).any(|part| part == b"200"), "{said:?}");
    }
}

#[tokio::test]
async fn a_connection_that_opened_and_rests_is_kept() {
    let server = start(impatient()).await;
    let client = server.client().await;
    // The silent one came later, so the other one was open for as long when it is closed.
    until_closed(connect(&server).await).await;
    let mut stream = client.tell("until drain").await.expect("open");
    stream.message().await.expect("the first").expect("words");
    server.stop();
    assert_eq!(stream.message().await.expect("the same connection").expect("words").text, "drained");
}

#[tokio::test]
async fn a_connection_above_the_cap_is_told_and_closed_and_the_others_go_on() {
    let server = start(GrpcLimits {
        max_connections: const { NonZeroUsize::new(2).expect("not zero") },
        ..GrpcLimits::default()
    })
    .await;
    let first = server.client().await;
    let second = connect(&server).await;
    assert_eq!(first.say("hello").await.expect("within the cap"), "hello");
    let said = until_closed(connect(&server).await).await;
    assert_eq!(frame_types(&said), [4, GOAWAY], "{said:?}");
    assert!(said.ends_with(b"too many connections"), "{said:?}");
    assert_eq!(first.say("hello").await.expect("untouched"), "hello");
    drop(second);
    let again = async {
        while server_refuses(&server).await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.expect("the place is free again");
}

async fn server_refuses(server: &Server) -> bool {
    let mut stream = connect(server).await;
    let opened = async {
        stream.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await?;
        let mut said = [0; 9];
        stream.read_exact(&mut said).await?;
        // Our SETTINGS are never empty, those of a refusal always are.
        Ok::<bool, std::io::Error>(said[..3] == [0; 3])
    };
    timeout(PATIENCE, opened).await.expect("an answer").unwrap_or(true)
}

#[tokio::test]
async fn a_connection_is_told_to_go_at_its_age_and_its_stream_is_finished_first() {
    let server = start(GrpcLimits { max_connection_age_ms: ms(100), ..GrpcLimits::default() }).await;
    let client = server.client().await;
    let mut stream = client.tell("until drain").await.expect("open");
    stream.message().await.expect("the first").expect("words");
    let mut idle = connect(&server).await;
    idle.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.expect("open");
    let mut said = Vec::new();
    let told = async {
        while !frame_types(&said).contains(&GOAWAY) {
            assert_ne!(idle.read_buf(&mut said).await.expect("open"), 0, "closed without a word");
        }
    };
    timeout(PATIENCE, told).await.expect("GOAWAY in time");
    server.stop();
    assert_eq!(stream.message().await.expect("not cut").expect("words").text, "drained");
}
