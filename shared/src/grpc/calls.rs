//! The column every call passes, after gRPC-Web and before its service.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, Uri};
use spillway_proto::TraceContext;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::admission::{Admission, Place};
use super::deadline::{Allowance, Deadline};
use super::durations::{Durations, StreamTiming, Timing, code_in};
use super::gate::{Gate, LetIn, Refusal, Unread};
use super::limits::{GrpcLimits, duration};
use super::message::Message;
use super::methods::{Kind, Methods};
use super::streams::StreamBody;
use super::trace::CallSpan;
use super::{Answer, Call, CallError, explain, panics};
use crate::listen::Name;
use crate::logs::{in_trace, now_in_trace};
use crate::telemetry::Tracer;

/// How often a client's library has tried a call before (gRFC A6).
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// What the column knows, the same for all connections.
pub(super) struct Rules {
    methods: Methods,
    pub(super) durations: Durations,
    pub(super) admission: Admission,
    gate: Option<Arc<dyn Gate>>,
    allowance: Allowance,
    /// For a message, from its headers on.
    message_timeout: Duration,
    draining: CancellationToken,
    tracer: Tracer,
}

impl Rules {
    pub(super) fn new(
        methods: Methods,
        durations: Durations,
        limits: &GrpcLimits,
        (gate, name): (Option<Arc<dyn Gate>>, Name),
        draining: CancellationToken,
        tracer: Tracer,
    ) -> Rules {
        Rules {
            methods,
            durations,
            admission: Admission::new(limits, name),
            gate,
            allowance: Allowance::new(limits),
            message_timeout: duration(limits.opening_timeout_ms),
            draining,
            tracer,
        }
    }

    /// Lets a call in as far as its headers go, and gives it its trace and its time.
    fn begin(&self, call: &mut Call, kind: Kind) -> Result<Option<Timed>, CallError> {
        let timed = match kind {
            Kind::Unary | Kind::Stream => {
                let allowed = self.allowance.of(call.headers())?;
                Some(Timed { deadline: Deadline::after(allowed), allowed })
            }
            Kind::Standard => None,
        };
        if let Some(Timed { deadline, .. }) = timed {
            call.extensions_mut().insert(deadline);
        }
        Ok(timed)
    }

    /// Reads the message of a call, and refuses the call before anything of it is decoded, or gives it its place.
    async fn admit(&self, call: Call, kind: Kind, span: &CallSpan) -> Result<(Call, Place), Answer> {
        let (mut head, body) = call.into_parts();
        let mut body = Some(body);
        if kind == Kind::Unary
            && let Some(unread) = body.take()
        {
            let message = Message::read(unread, &self.admission, self.message_timeout).await;
            let message = message.map_err(Status::into_http)?;
            if let Some(refused) = self.judge(&mut head, &message) {
                return Err(refused);
            }
            body = Some(message.into_body());
        }
        let place = self.admission.admit(kind).map_err(|refusal| Status::from(refusal).into_http())?;
        if kind != Kind::Standard {
            let weight = self.methods.weight(head.uri.path());
            let traceparent = span.enter(&self.tracer, weight, &head.headers);
            head.extensions.insert(traceparent);
        }
        Ok((Call::from_parts(head, body.unwrap_or_default()), place))
    }

    /// Whether the gate refuses any calls now.
    pub(super) fn refuses_some(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.is_shut())
    }

    /// Whether the gate refuses calls of this path now, or some of them.
    pub(super) fn is_shut(&self, path: &str) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.is_shut() && gate.guards(path))
    }

    /// What the gate answers to a call; `None` where it lets it in, has done so before, or cannot tell.
    pub(super) fn judge(&self, head: &mut Parts, message: &Message) -> Option<Answer> {
        let gate = self.gate.as_ref().filter(|gate| gate.guards(head.uri.path()))?;
        if head.extensions.get::<LetIn>().is_some() {
            return None;
        }
        let refusal = gate.refuse(message.encoded()?, tried(&head.headers));
        if refusal.is_none() {
            head.extensions.insert(LetIn);
        }
        refusal.map(Refusal::into_answer)
    }

    /// The same for a call whose message has not come with its headers.
    pub(super) fn judge_unread(&self, head: &mut Parts) -> Option<Answer> {
        let gate = self.gate.as_ref().filter(|gate| gate.guards(head.uri.path()))?;
        match gate.unread(tried(&head.headers)) {
            Unread::Wait => None,
            Unread::LetIn => {
                head.extensions.insert(LetIn);
                None
            }
            Unread::Refused(refusal) => Some(refusal.into_answer()),
        }
    }

    /// Reads a message that nobody wants any more.
    pub(super) async fn read_off(&self, rest: Body) {
        if let Err(status) = Message::read(rest, &self.admission, self.message_timeout).await {
            tracing::debug!(%status, "the message of a refused call does not come");
        }
    }

    /// A streamed answer lives on after its handler has returned, and so does the time that it takes.
    fn outlive(
        &self,
        answer: Answer,
        of: (Uri, Option<TraceContext>),
        kind: Kind,
        (place, timing): (Place, Timing),
    ) -> Answer {
        let drain = match kind {
            Kind::Unary => None,
            Kind::Stream => Some(None),
            Kind::Standard => Some(Some(self.draining.clone().cancelled_owned())),
        };
        match drain.filter(|_| code_in(answer.headers()).is_none()) {
            Some(drain) => {
                let timing = StreamTiming::new(timing);
                answer.map(|body| Body::new(StreamBody::new(body, of, place, timing, drain)))
            }
            None => {
                self.durations.answered(timing, &answer);
                answer
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Timed {
    deadline: Deadline,
    allowed: Duration,
}

fn tried(headers: &HeaderMap) -> u32 {
    headers.get(PREVIOUS_ATTEMPTS).and_then(|tried| tried.to_str().ok()?.parse().ok()).unwrap_or(0)
}

/// The column as a tower service around the routes.
#[derive(Clone)]
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
    S: Service<Call, Response = Answer, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.routes.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let (timing, span) = (self.rules.durations.begin(call.uri().path()), CallSpan::begin());
        let kind = self.rules.methods.kind(call.uri().path());
        let timed = match self.rules.begin(&mut call, kind) {
            Ok(timed) => timed,
            Err(refusal) => {
                let answer = Status::from(refusal).into_http();
                self.rules.durations.answered(timing, &answer);
                return Box::pin(std::future::ready(Ok(answer)));
            }
        };
        let uri = call.uri().clone();
        let rules = Arc::clone(&self.rules);
        // The one that was polled ready; a clone of it takes the next call.
        let next = self.routes.clone();
        let mut routes = std::mem::replace(&mut self.routes, next);
        Box::pin(async move {
            let served = async {
                let (call, place) = match rules.admit(call, kind, &span).await {
                    Ok(admitted) => admitted,
                    Err(refusal) => return Ok((refusal, None)),
                };
                Ok((in_trace(span.context(), routes.call(call)).await?, place))
            };
            let answered = answer_in_time(served, timed, (&uri, &span)).await;
            let (answer, place) = answered.unwrap_or_else(|s| (s.into_http(), None));
            let trace = span.context();
            span.end(&rules.tracer, uri.path(), &answer);
            let answer = rules.outlive(answer, (uri.clone(), trace), kind, (place, timing));
            Ok(now_in_trace(trace, || explain::complete(answer, uri)))
        })
    }
}

/// The answer; DEADLINE_EXCEEDED, and the handler dropped, when the time is up; INTERNAL when it panics.
async fn answer_in_time<T>(
    served: impl Future<Output = Result<T, Infallible>>,
    timed: Option<Timed>,
    (uri, span): (&Uri, &CallSpan),
) -> Result<T, Status> {
    // Unwind safe: after a panic the handler's future is dropped and never polled again.
    let served = AssertUnwindSafe(served).catch_unwind();
    let ended = match timed {
        Some(Timed { deadline, allowed }) => tokio::time::timeout_at(deadline.at(), served)
            .await
            .map_err(|_elapsed| CallError::DeadlineExceeded { allowed })?,
        None => served.await,
    };
    match ended {
        Ok(Ok(answer)) => Ok(answer),
        Err(payload) => Err(now_in_trace(span.context(), || panics::answer(uri.path(), payload))),
    }
}
