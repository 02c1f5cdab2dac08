//! Calls that are refused before their messages are decoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use spillway_shared::grpc::{CallError, Cause, Gate, Reason, Refusal};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::kit::{PATIENCE, Server, Words, start_gated};

const SAY: &str = "/spillway.test.v1.Echo/Say";

/// Refuses what begins with "no".
#[derive(Default)]
struct NoGo {
    is_shut: AtomicBool,
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
        let cause = Cause::new(Reason::new("TEST"), "not now");
        let retry_after = std::time::Duration::from_millis(500);
        (self.is_shut() && text.starts_with("no")).then(|| CallError::Exhausted { cause, retry_after }.into())
    }
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
