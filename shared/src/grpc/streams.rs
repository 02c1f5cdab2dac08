//! The body of a streamed answer: keeps its place while it is open, survives a panic of its handler, and, for
//! health and reflection, whose clients may listen for ever, ends when the server drains.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use http_body::{Frame, SizeHint};
use spillway_proto::TraceContext;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::body::Body;
use tonic::{Code, Status};

use super::admission::Place;
use super::durations::{StreamTiming, code_in};
use super::{CallError, Cause, Reason, panics};
use crate::logs::now_in_trace;

const SERVER_STOPPING: Reason = Reason::new("SERVER_STOPPING");

pub(super) struct StreamBody {
    inner: Option<Body>,
    uri: Uri,
    /// What is said while it is open is said in the trace of its call.
    trace: Option<TraceContext>,
    place: Place,
    timing: StreamTiming,
    drain: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl StreamBody {
    /// With `drain`, the stream ends when that resolves and nothing is left to be said.
    pub(super) fn new(
        inner: Body,
        (uri, trace): (Uri, Option<TraceContext>),
        place: Place,
        timing: StreamTiming,
        drain: Option<WaitForCancellationFutureOwned>,
    ) -> StreamBody {
        StreamBody { inner: Some(inner), uri, trace, place, timing, drain: drain.map(Box::pin) }
    }

    fn end_with(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.inner = None;
        self.place = None;
        self.timing.end(status.code());
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

impl StreamBody {
    /// Takes the time where this is the end.
    fn time(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, Status>>>) {
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(code) = frame.trailers_ref().and_then(code_in) {
                    self.timing.end(code);
                }
            }
            Poll::Ready(Some(Err(status))) => self.timing.end(status.code()),
            // It broke off: its client is told no code, and takes it for this one.
            Poll::Ready(None) => self.timing.end(Code::Unknown),
            Poll::Pending => {}
        }
    }
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = this.inner.as_mut() else {
            return Poll::Ready(None);
        };
        // Unwind safe: after a panic the inner body is dropped and never polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| now_in_trace(this.trace, || Pin::new(inner).poll_frame(cx))));
        let is_draining = |drain: &mut Option<Pin<Box<WaitForCancellationFutureOwned>>>, cx: &mut Context<'_>| {
            drain.as_mut().is_some_and(|drain| drain.as_mut().poll(cx).is_ready())
        };
        match polled {
            Err(payload) => {
                let status = now_in_trace(this.trace, || panics::answer(this.uri.path(), payload));
                this.end_with(&status)
            }
            Ok(Poll::Pending) if is_draining(&mut this.drain, cx) => this.end_with(&stopping()),
            Ok(polled) => {
                this.time(&polled);
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn stopping() -> Status {
    Status::from(CallError::Unavailable {
        cause: Cause::new(SERVER_STOPPING, "this server is stopping: call again, and reach another one"),
        retry_after: Duration::from_millis(100),
    })
}
