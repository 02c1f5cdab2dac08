//! Queries and commands between services: NATS requests, with the caller's deadline in them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::service::ServiceExt as _;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use prost::Message;
use spillway_proto::pb::internal::{Call, Refusal};
use spillway_proto::time::Timestamp;
use spillway_proto::{DEFAULT_SHOP, Ledger as Source, LedgerId, Partition, TraceContext, call, ledgers};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Bus;
use crate::logs::{as_here, in_trace};

/// Calls that one endpoint serves at a time; more wait in the subscription.
const AT_ONCE: usize = 64;

/// On whose behalf a call is made, and how long its answer is of use.
#[derive(Clone, Debug)]
pub struct Caller {
    pub shop: String,
    /// W3C trace context; empty where there is none.
    pub traceparent: String,
    pub time_left: Duration,
}

impl Caller {
    /// A call that no client waits for.
    pub fn background(time_left: Duration) -> Self {
        Caller { shop: DEFAULT_SHOP.to_owned(), traceparent: String::new(), time_left }
    }
}

/// A call was not answered, or refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallFailed {
    /// Nobody answers: not connected, nobody there, or too late. It may or may not have been done.
    #[error("{callee} does not answer: {why}")]
    NoAnswer { callee: String, why: String },
    /// It was refused, and not done.
    #[error("refused: {}", .0.message)]
    Refused(Refusal),
    /// The answer cannot be read.
    #[error("the answer of {callee} cannot be read: {why}")]
    Unreadable { callee: String, why: String },
}

impl Bus {
    /// Asks the ledger that owns it.
    pub async fn call<A: Message + Default>(
        &self,
        callee: Source,
        partition: Partition,
        endpoint: &str,
        caller: &Caller,
        request: &impl Message,
    ) -> Result<A, CallFailed> {
        let no_answer = |why: String| CallFailed::NoAnswer { callee: callee.to_string(), why };
        if !self.is_connected() {
            return Err(no_answer("not connected to nats".to_owned()));
        }
        let deadline = Timestamp::now().checked_add(caller.time_left).ok();
        let body = call::wrap(&caller.shop, &caller.traceparent, deadline, request);
        let subject = ledgers::call_subject(callee, partition, endpoint);
        let asked = self.client.request(subject, body);
        let message = tokio::time::timeout(caller.time_left, asked)
            .await
            .map_err(|_| no_answer(format!("no answer within {} ms", caller.time_left.as_millis())))?
            .map_err(|error| no_answer(error.to_string()))?;
        let unreadable = |why: String| CallFailed::Unreadable { callee: callee.to_string(), why };
        let answer = call::unwrap::<A>(message.payload).map_err(|e| unreadable(e.to_string()))?;
        answer.map_err(CallFailed::Refused)
    }
}

type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Result<Bytes, Refusal>> + Send + Sync>;

/// What a ledger answers.
#[derive(Clone, Default)]
pub struct Routes {
    handlers: Vec<(&'static str, Handler)>,
}

impl Routes {
    pub fn new() -> Self {
        Routes::default()
    }

    /// Adds an endpoint.
    pub fn on<F>(mut self, endpoint: &'static str, handler: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Bytes, Refusal>> + Send + 'static,
    {
        self.handlers.push((endpoint, Arc::new(move |call| handler(call).boxed())));
        self
    }

    /// Both.
    pub fn and(mut self, other: Routes) -> Self {
        self.handlers.extend(other.handlers);
        self
    }
}

/// Answers the calls of a ledger in a partition (the NATS service protocol), until `stop`; then what is in hand.
pub(super) async fn answer(
    bus: Bus,
    id: LedgerId,
    partitions: Vec<Partition>,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), String> {
    let name = format!("spillway-{}", id.name());
    let started = bus.client.service_builder().start(name, env!("CARGO_PKG_VERSION")).await;
    let service = started.map_err(|e| e.to_string())?;
    let tracker = TaskTracker::new();
    for (endpoint, handler) in &routes.handlers {
        for partition in &partitions {
            let subject = ledgers::call_subject(id.ledger, *partition, endpoint);
            let name = format!("{endpoint}-{partition}");
            let calls = service.endpoint_builder().name(name).add(subject).await.map_err(|e| e.to_string())?;
            tracker.spawn(as_here(serve(calls, handler.clone(), tracker.clone(), stop.clone())));
        }
    }
    tracker.close();
    stop.cancelled().await;
    if let Err(error) = service.stop().await {
        tracing::debug!(%error, "service did not stop");
    }
    tracker.wait().await;
    Ok(())
}

async fn serve(
    mut calls: async_nats::service::endpoint::Endpoint,
    handler: Handler,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let request = tokio::select! {
            request = calls.next() => request,
            () = stop.cancelled() => return,
        };
        let Some(request) = request else { return };
        let handler = handler.clone();
        tracker.spawn(as_here(async move {
            let Some(answer) = answer_one(&request.message.payload, &handler).await else { return };
            if let Err(error) = request.respond(Ok(answer)).await {
                tracing::debug!(%error, "an answer was not sent");
            }
            drop(permit);
        }));
    }
}

/// `None` where nobody waits for the answer any more.
async fn answer_one(request: &Bytes, handler: &Handler) -> Option<Bytes> {
    let outcome = match Call::decode(request.clone()) {
        Ok(call) if call::is_expired(&call, Timestamp::now()) => return None,
        Ok(call) => in_trace(TraceContext::parse(&call.traceparent), handler(call)).await,
        Err(error) => Err(Refusal {
            code: 13,
            reason: "UNDECODABLE".to_owned(),
            message: format!("the call cannot be read: {error}"),
            ..Refusal::default()
        }),
    };
    Some(call::answer(outcome))
}
