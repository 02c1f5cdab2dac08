//! Traces for OpenTelemetry: spans with ids and times that are known, handed to a bounded queue and exported over OTLP.
//!
//! No span is kept open while work is done: what did the work knows when it began and ended. Ids follow from events
//! (`spillway_proto::trace`), so a span is the same whoever works it out. Without an endpoint a tracer is off and costs
//! a look at one byte for each event; trace contexts flow all the same.

mod config;
mod delay;
mod destination;
mod export;
mod limits;
mod sampling;
mod settings;
mod span;
mod tls;
mod transport;
mod variables;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use spillway_proto::{OrderId, TraceContext};
use tokio::sync::{Mutex, mpsc};

use export::Exporting;
use sampling::Bucket;
use settings::{Sampling, Settings};

pub use config::TelemetryConfig;
pub use delay::Delay;
pub use opentelemetry::trace::SpanKind;
pub use opentelemetry_semantic_conventions::attribute;
pub use span::Span;

/// Orders raised that wait to be told of. More are told of by their events alone.
const RAISED: usize = 256;

/// Of the bucket, what calls leave that change nothing: reads are many, and an order's trace is worth more.
const LEFT_BY_READS: f64 = 0.5;

/// Traces cannot be exported as configured.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be exported as configured: {0}")]
pub struct TelemetryError(String);

/// The spans of a role. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracer {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    exporting: Exporting,
    sampling: Sampling,
    bucket: Bucket,
    raised: mpsc::Sender<OrderId>,
    /// Taken by the one that tells of them.
    told: Mutex<mpsc::Receiver<OrderId>>,
}

/// How much a call weighs with the sampler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It may change something.
    Writes,
    /// It only looks.
    Reads,
}

impl Tracer {
    /// Exports nothing.
    pub fn off() -> Self {
        Tracer::default()
    }

    /// The tracer of a role, by the environment (`OTEL_*`, which wins) and the configuration. Off where neither names an
    /// endpoint. Connects when there is something to export.
    ///
    /// # Errors
    /// Everything in the environment that cannot be used, by the name of its variable; a certificate or a key that cannot
    /// be read.
    pub fn start(role: &'static str, config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        let settings = Settings::read(config, |name| std::env::var(name).ok()).map_err(TelemetryError)?;
        let Some(settings) = settings else { return Ok(Tracer::off()) };
        let exporting = Exporting::start(role, &settings)?;
        for line in &settings.without_effect {
            tracing::warn!(role, "{line}");
        }
        let (server, protocol, is_encrypted) =
            (settings.to.server(), settings.to.wire.name(), settings.to.trust.is_some());
        tracing::info!(role, server, protocol, is_encrypted, "exporting traces");
        let (raised, told) = mpsc::channel(RAISED);
        let bucket = Bucket::new(config.max_traces_per_second);
        let inner = Inner { exporting, sampling: settings.sampling, bucket, raised, told: Mutex::new(told) };
        Ok(Tracer { inner: Some(Arc::new(inner)) })
    }

    /// Whether anything is exported.
    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// The place in a trace of a call that begins now: a new span in its caller's trace, or in a new one.
    pub fn begin(&self, parent: Option<TraceContext>, weight: Weight) -> TraceContext {
        let trace_id = parent.map_or_else(rand::random, |parent| parent.trace_id);
        let is_sampled = match &self.inner {
            // Nothing is recorded here, but what comes after may be.
            None => parent.is_some_and(|parent| parent.is_sampled()),
            Some(inner) => match &inner.sampling {
                Sampling::Standard(sampler) => sampling::by_standard(sampler.as_ref(), parent, trace_id),
                Sampling::Bounded => {
                    let left = if weight == Weight::Reads { LEFT_BY_READS } else { 0.0 };
                    parent.is_none_or(|parent| parent.is_sampled()) && inner.bucket.take(Instant::now(), left)
                }
            },
        };
        TraceContext::new(trace_id, rand::random(), is_sampled)
    }

    /// Whether something that was not sampled is worth to be from now on: it waited, failed, became a dead letter
    /// or was handed in again. The order that it is about, if there is one, is told of, so that its earlier steps are
    /// exported from the record.
    pub fn raise(&self, order: Option<OrderId>) -> bool {
        let Some(inner) = &self.inner else { return false };
        let is_raised = match &inner.sampling {
            // What the environment says wins.
            Sampling::Standard(_) => false,
            Sampling::Bounded => inner.bucket.take(Instant::now(), 0.0),
        };
        if is_raised
            && let Some(order) = order
            && inner.raised.try_send(order).is_err()
        {
            // Whoever keeps the record may still hear of it by what is said next.
            tracing::debug!(%order, "many orders are raised at once, of this one nobody is told");
        }
        is_raised
    }

    /// The next order that was raised here. Waits for ever where nothing is exported.
    pub async fn next_raised(&self) -> OrderId {
        if let Some(inner) = &self.inner
            && let Some(order) = inner.told.lock().await.recv().await
        {
            return order;
        }
        std::future::pending().await
    }

    /// Takes a span that has ended. Never waits: where the queue is full the span is dropped and counted. One that is
    /// not sampled is no span.
    pub fn end(&self, span: Span) {
        if let Some(inner) = self.inner.as_ref().filter(|_| span.context.is_sampled()) {
            inner.exporting.take(span);
        }
    }

    /// Exports what is left, within this time; from then on nothing is exported.
    pub async fn shut_down(&self, within: Duration) {
        if let Some(inner) = &self.inner {
            inner.exporting.shut_down(within).await;
        }
    }
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").field("is_on", &self.is_on()).finish()
    }
}
