//! The gate before everything else. A call whose message is there with its headers is judged before gRPC-Web, deadlines
//! and the rest of the column are set up for it: under pressure most calls are refused, and what that costs is taken from
//! those that are let in.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::future::Either;
use http::request::Parts;
use http::{HeaderMap, Request, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

use super::calls::Rules;
use super::message::Collected;
use super::{Answer, Call};
use crate::listen::connections::Serve;

/// Around all others.
#[derive(Clone)]
pub(super) struct Early<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S> Early<S> {
    pub(super) fn new(inner: S, rules: Arc<Rules>) -> Early<S> {
        Early { inner, rules }
    }
}

impl<S> Serve for Early<S>
where
    S: Service<Call, Response = Answer, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Body = Body;
    /// A refusal is small, and nothing of what carries out a call is made for it.
    type Future = Either<Ready<Result<Answer, Infallible>>, Pin<Box<Oneshot<S, Call>>>>;

    fn serve(&self, request: Request<Incoming>, peer: &TcpConnectInfo) -> Self::Future {
        let (head, body) = request.into_parts();
        let mut call = if !self.rules.is_shut(head.uri.path()) || !is_plain(&head) {
            Call::from_parts(head, Body::new(body))
        } else {
            match self.judge(head, body) {
                Judged::LetIn(call) => call,
                Judged::Refused(answer) => return Either::Left(ready(Ok(answer))),
            }
        };
        call.extensions_mut().insert(peer.clone());
        Either::Right(Box::pin(self.inner.clone().oneshot(call)))
    }

    fn is_crowded(&self) -> bool {
        self.rules.refuses_some()
    }
}

/// What the gate says of a call.
enum Judged {
    /// To go on with; also where it is not all here yet, and is judged later.
    LetIn(Call),
    Refused(Answer),
}

impl<S> Early<S> {
    /// Reads what still comes of a refused call, as long as there is room for messages on their way. Cut off, each would be
    /// a reset of ours, and whose streams are reset too often loses the connection with all other calls on it.
    fn read_off(&self, rest: Incoming) {
        let rules = self.rules.clone();
        tokio::spawn(async move { rules.read_off(Body::new(rest)).await });
    }

    fn judge(&self, mut head: Parts, mut body: Incoming) -> Judged {
        let timing = self.rules.durations.begin(head.uri.path());
        let mut collected = Collected::default();
        // Who polls it again, in the column, hears of what comes later.
        let mut now = Context::from_waker(Waker::noop());
        loop {
            match Pin::new(&mut body).poll_frame(&mut now) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data()
                        && !collected.add(data)
                    {
                        break;
                    }
                }
                Poll::Ready(None) => {
                    let message = collected.into_message();
                    if let Some(answer) = self.rules.judge(&mut head, &message) {
                        self.rules.durations.answered(timing, &answer);
                        return Judged::Refused(answer);
                    }
                    return Judged::LetIn(Call::from_parts(head, message.into_body()));
                }
                Poll::Pending => {
                    if let Some(answer) = self.rules.judge_unread(&mut head) {
                        self.rules.durations.answered(timing, &answer);
                        self.read_off(body);
                        return Judged::Refused(answer);
                    }
                    break;
                }
                Poll::Ready(Some(Err(_))) => break,
            }
        }
        let rest = Resumed { read: Some(collected.into_message().into_bytes()), rest: body };
        Judged::LetIn(Call::from_parts(head, Body::new(rest)))
    }
}

/// gRPC as it is, over HTTP/2: gRPC-Web is translated first.
fn is_plain(head: &Parts) -> bool {
    head.version == Version::HTTP_2 && content_type(&head.headers).is_some_and(|it| it == b"application/grpc")
}

fn content_type(headers: &HeaderMap) -> Option<&[u8]> {
    let content_type = headers.get(header::CONTENT_TYPE)?.as_bytes();
    Some(content_type.split(|byte| matches!(byte, b'+' | b';')).next().unwrap_or(content_type))
}

/// A body of which something was read before.
struct Resumed {
    read: Option<Bytes>,
    rest: Incoming,
}

impl http_body::Body for Resumed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.read.take().filter(|read| !read.is_empty()) {
            Some(read) => Poll::Ready(Some(Ok(Frame::data(read)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
