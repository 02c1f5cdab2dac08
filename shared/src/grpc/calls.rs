//! The column every call passes, after gRPC-Web and before its service.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::admission::{Admission, Place};
use super::deadline::{Allowance, Deadline};
use super::methods::{Kind, Methods};
use super::streams::StreamBody;
use super::trace::TraceParent;
use super::{Answer, Call, CallError, GrpcLimits, explain, panics};

/// What the column knows, the same for all connections.
#[derive(Debug)]
pub(super) struct Rules {
    methods: Methods,
    admission: Admission,
    allowance: Allowance,
    draining: CancellationToken,
}

impl Rules {
    pub(super) fn new(methods: Methods, limits: &GrpcLimits, draining: CancellationToken) -> Rules {
        Rules { methods, admission: Admission::new(limits), allowance: Allowance::new(limits), draining }
    }

    /// Lets a call in: refuses it before anything of it is read, or gives it its trace, place and time.
    fn admit(&self, call: &mut Call) -> Result<Admitted, CallError> {
        let kind = self.methods.kind(call.uri().path());
        let place = self.admission.admit(kind)?;
        let deadline = match kind {
            Kind::Unary | Kind::Stream => Some(self.allowance.of(call.headers())?),
            Kind::Standard => None,
        }
        .map(|allowed| (Deadline::after(allowed), allowed));
        let trace = TraceParent::of_call(call.headers());
        call.extensions_mut().insert(trace);
        if let Some((deadline, _)) = deadline {
            call.extensions_mut().insert(deadline);
        }
        Ok(Admitted { kind, place, deadline })
    }

    /// A streamed answer lives on after its handler has returned.
    fn outlive(&self, answer: Answer, uri: Uri, kind: Kind, place: Place) -> Answer {
        let drain = match kind {
            Kind::Unary => return answer,
            Kind::Stream => None,
            Kind::Standard => Some(self.draining.clone().cancelled_owned()),
        };
        answer.map(|body| Body::new(StreamBody::new(body, uri, place, drain)))
    }
}

struct Admitted {
    kind: Kind,
    place: Place,
    deadline: Option<(Deadline, std::time::Duration)>,
}

/// The column as a tower service around the routes.
#[derive(Debug, Clone)]
pub(super) struct Calls<S> {
    routes: S,
    rules: Arc<Rules>,
}

impl<S> Calls<S> {
    pub(super) fn new(routes: S, rules: Arc<Rules>) -> Calls<S> {
        Calls { routes, rules }
    }
}

impl<S> Service<Call> for Calls<S>
where
    S: Service<Call, Response = Answer, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.routes.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let admitted = match self.rules.admit(&mut call) {
            Ok(admitted) => admitted,
            Err(refusal) => return Box::pin(std::future::ready(Ok(Status::from(refusal).into_http()))),
        };
        let uri = call.uri().clone();
        let rules = Arc::clone(&self.rules);
        let handler = self.routes.call(call);
        Box::pin(async move {
            let Admitted { kind, place, deadline } = admitted;
            let answer = answer_in_time(handler, deadline, &uri).await.unwrap_or_else(Status::into_http);
            let answer = rules.outlive(answer, uri.clone(), kind, place);
            Ok(explain::complete(answer, uri))
        })
    }
}

/// The handler's answer; DEADLINE_EXCEEDED, and the handler dropped, when the time is up; INTERNAL when it panics.
async fn answer_in_time(
    handler: impl Future<Output = Result<Answer, Infallible>>,
    deadline: Option<(Deadline, std::time::Duration)>,
    uri: &Uri,
) -> Result<Answer, Status> {
    // Unwind safe: after a panic the handler's future is dropped and never polled again.
    let handler = AssertUnwindSafe(handler).catch_unwind();
    let ended = match deadline {
        Some((deadline, allowed)) => tokio::time::timeout_at(deadline.at(), handler)
            .await
            .map_err(|_elapsed| CallError::DeadlineExceeded { allowed })?,
        None => handler.await,
    };
    match ended {
        Ok(Ok(answer)) => Ok(answer),
        Err(payload) => Err(panics::answer(uri.path(), payload)),
    }
}
