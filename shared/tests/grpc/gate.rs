//! Calls that are refused before their messages are decoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use spillway_shared::grpc::{CallError, Cause, Gate, Reason, Refusal, Unread};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::kit::{PATIENCE, Server, Words, start_gated};

const SAY: &str = "/spillway.test.v1.Echo/Say";

/// Refuses what begins with "no".
#[derive(Default)]
struct NoGo {
    is_shut: AtomicBool,
    /// What has not come with its headers is refused.
    is_impatient: AtomicBool,
    judged: AtomicUsize,
}

impl Gate for NoGo {
    fn guards(&self, path: &str) -> bool {
        path == SAY
    }

    fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::Relaxed)
    }

    fn refuse(&self, message: &[u8], _tried: u32) -> Option<Refusal> {
        self.judged.fetch_add(1, Ordering::Relaxed);
        let text = Words::decode(message).expect("whole").text;
        (self.is_shut() && text.starts_with("no")).then(not_now)
    }

    fn unread(&self, _tried: u32) -> Unread {
        if self.is_impatient.load(Ordering::Relaxed) { Unread::Refused(not_now()) } else { Unread::Wait }
    }
}

fn not_now() -> Refusal {
    let cause = Cause::new(Reason::new("TEST"), "not now");
    CallError::Exhausted { cause, retry_after: std::time::Duration::from_millis(500) }.into()
}

/// Calls with a message that comes in so many pieces, headers before.
async fn say(server: &Server, text: &str, pieces: usize) -> Result<String, Status> {
    let encoded = Words { text: text.to_owned() }.encode_to_vec();
    let length = u32::try_from(encoded.len()).expect("short");
    let whole = [&[0], &length.to_be_bytes()[..], &encoded].concat();
    let each = whole.len().div_ceil(pieces);
    let pieces: Vec<Bytes> = whole.chunks(each).map(Bytes::copy_from_slice).collect();
    let frames = futures::stream::iter(pieces).then(|piece| async move {
        // Long enough for those before to be sent, as a rule: either way the answer is the same.
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        Ok::<_, Status>(Frame::data(piece))
    });
    let request =
        http::Request::post(format!("http://{}{SAY}", server.addr)).header("content-type", "application/grpc");
    let request = request.body(Body::new(StreamBody::new(frames))).expect("a request");
    let client = server.client().await;
    let answer = tokio::time::timeout(PATIENCE, client.channel.oneshot(request)).await.expect("in time");
    let (head, body) = answer.expect("an answer").into_parts();
    if let Some(status) = Status::from_header_map(&head.headers).filter(|status| status.code() != Code::Ok) {
        return Err(status);
    }
    let bytes = http_body_util::BodyExt::collect(body).await.expect("whole").to_bytes();
    Ok(Words::decode(&bytes[5..]).expect("words").text)
}

#[tokio::test]
async fn a_shut_gate_refuses_and_lets_in_whole_calls_however_their_messages_come_and_judges_none_twice() {
    let gate = Arc::new(NoGo::default());
    let server = start_gated(gate.clone());
    assert_eq!(say(&server, "no, but it is open", 1).await.expect("let in"), "no, but it is open");
    gate.is_shut.store(true, Ordering::Relaxed);
    gate.judged.store(0, Ordering::Relaxed);
    let mut calls = 0;
    for pieces in [1, 2, 5, 30] {
        let long = format!("yes, {}", "x".repeat(20_000));
        for text in ["yes", &long] {
            assert_eq!(say(&server, text, pieces).await.expect("let in"), *text, "in {pieces} pieces");
        }
        let refused = say(&server, "no way, in as many pieces as it takes", pieces).await.expect_err("refused");
        assert_eq!(refused.code(), Code::ResourceExhausted, "in {pieces} pieces: {refused}");
        assert_eq!(refused.metadata().get("grpc-retry-pushback-ms").expect("when to come back"), "500");
        calls += 3;
    }
    assert_eq!(gate.judged.load(Ordering::Relaxed), calls, "each is judged once");
    let client = server.client().await;
    let spoken = client.say("no").await.expect_err("refused");
    assert_eq!(spoken.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_call_whose_message_does_not_come_is_refused_at_once_where_the_gate_does_not_wait() {
    let gate = Arc::new(NoGo::default());
    let server = start_gated(gate.clone());
    let headers_alone = || async {
        let request =
            http::Request::post(format!("http://{}{SAY}", server.addr)).header("content-type", "application/grpc");
        let never = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Status>>());
        let request = request.body(Body::new(never)).expect("a request");
        let answer = server.client().await.channel.oneshot(request).await.expect("an answer");
        Status::from_header_map(answer.headers()).expect("a status").code()
    };
    gate.is_impatient.store(true, Ordering::Relaxed);
    assert_eq!(say(&server, "yes", 5).await.expect("let in"), "yes", "it is open");
    gate.is_shut.store(true, Ordering::Relaxed);
    let refused = tokio::time::timeout(PATIENCE, headers_alone()).await.expect("at once");
    assert_eq!(refused, Code::ResourceExhausted);
    assert_eq!(gate.judged.load(Ordering::Relaxed), 1, "its message was never seen");
}

#[tokio::test]
async fn a_connection_whose_calls_are_refused_before_their_messages_come_is_not_lost() {
    let gate = Arc::new(NoGo::default());
    let server = start_gated(gate.clone());
    gate.is_shut.store(true, Ordering::Relaxed);
    gate.is_impatient.store(true, Ordering::Relaxed);
    let client = server.client().await;
    // More than h2 lets us reset on a connection.
    for round in 0..30 {
        let calls = (0..100).map(|_| refused_before_its_message(&server, client.channel.clone()));
        for code in futures::future::join_all(calls).await {
            assert_eq!(code, Code::ResourceExhausted, "round {round}");
        }
    }
}

#[tokio::test]
async fn while_calls_are_refused_connections_are_read_in_turns() {
    let gate = Arc::new(NoGo::default());
    let server = start_gated(gate.clone());
    let client = server.client().await;
    client.say("open").await.expect("let in");
    gate.is_shut.store(true, Ordering::Relaxed);
    let began = Instant::now();
    for call in 0..20 {
        client.say(if call % 2 == 0 { "no" } else { "yes" }).await.ok();
    }
    // One after the other, each waits for the next turn; at once they take a few milliseconds.
    assert!(began.elapsed() >= Duration::from_millis(18 * 20), "{:?}", began.elapsed());
}

/// Its message comes once the answer is there.
async fn refused_before_its_message(server: &Server, channel: tonic::transport::Channel) -> Code {
    let (answered, until_answered) = tokio::sync::oneshot::channel::<()>();
    let message = futures::stream::once(async move {
        until_answered.await.expect("it is answered first");
        Ok::<_, Status>(Frame::data(Bytes::from_static(&[0, 0, 0, 0, 0])))
    });
    let request =
        http::Request::post(format!("http://{}{SAY}", server.addr)).header("content-type", "application/grpc");
    let request = request.body(Body::new(StreamBody::new(message))).expect("a request");
    let answer = tokio::time::timeout(PATIENCE, channel.oneshot(request)).await.expect("in time").expect("connected");
    answered.send(()).expect("it waits");
    Status::from_header_map(answer.headers()).expect("a status").code()
}
