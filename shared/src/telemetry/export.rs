//! From ended spans to OTLP: the SDK's batch processor, with a queue whose drops are counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::runtime;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{BatchConfigBuilder, SpanData, SpanExporter, SpanProcessor};
use opentelemetry_semantic_conventions::attribute::{
    SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_VERSION,
};
use spillway_proto::Ledger;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::TelemetryError;
use super::limits::Limits;
use super::settings::{Batching, Settings};
use super::span::{Span, scope};
use super::transport::Transport;

/// Where spans go.
pub(super) struct Exporting {
    role: &'static str,
    processor: Arc<BatchSpanProcessor<runtime::Tokio>>,
    /// Of the role itself, and of those whose steps it works out from its record.
    scopes: BTreeMap<&'static str, InstrumentationScope>,
    queue: Arc<Queue>,
}

/// What waits to be exported.
struct Queue {
    role: &'static str,
    room: usize,
    waiting: AtomicUsize,
    /// Whether the last export succeeded.
    is_well: AtomicBool,
    /// Nothing is exported any more.
    cut: CancellationToken,
}

impl Queue {
    fn count(&self, outcome: &'static str, spans: usize) {
        metrics::counter!("spillway_trace_spans_total", "role" => self.role, "outcome" => outcome)
            .increment(u64::try_from(spans).unwrap_or(u64::MAX));
    }
}

impl Exporting {
    pub fn start(role: &'static str, settings: &Settings) -> Result<Exporting, TelemetryError> {
        let queue = Arc::new(Queue {
            role,
            room: settings.batching.queue,
            waiting: AtomicUsize::new(0),
            is_well: AtomicBool::new(true),
            cut: CancellationToken::new(),
        });
        let transport = Transport::new(&settings.to).map_err(TelemetryError)?;
        let mut exporters = BTreeMap::new();
        for name in Ledger::ALL.map(Ledger::name).into_iter().chain([role]) {
            let is_own = name == role;
            // Only orders keeps the record of what others did.
            if is_own || role == Ledger::Orders.name() {
                let mut exporter = transport.exporter(&settings.to).map_err(TelemetryError)?;
                exporter.set_resource(&resource(name, settings, is_own));
                exporters.insert(name, exporter);
            }
        }
        let scopes = exporters.keys().map(|name| (*name, scope(name))).collect();
        let Batching { queue: room, batch, delay, timeout } = settings.batching;
        let (timeout, limits) = (timeout.min(settings.to.timeout), settings.limits);
        let lanes = Lanes { exporters, transport, timeout, limits, queue: queue.clone() };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(room + 1)
            .with_max_export_batch_size(batch)
            .with_scheduled_delay(delay)
            // The lanes end it before, and tell.
            .with_max_export_timeout(timeout * 2)
            .with_max_concurrent_exports(1)
            .build();
        let processor = BatchSpanProcessor::builder(lanes, runtime::Tokio).with_batch_config(config).build();
        Ok(Exporting { role, processor: Arc::new(processor), scopes, queue })
    }

    pub fn take(&self, span: Span) {
        let name = span.of.map_or(self.role, Ledger::name);
        let Some(scope) = self.scopes.get(name) else { return };
        if self.queue.cut.is_cancelled() {
            self.queue.count("dropped", 1);
            return;
        }
        if self.queue.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue.room {
            self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
            self.queue.count("dropped", 1);
            return;
        }
        self.processor.on_end(span.into_data(scope.clone()));
    }

    pub async fn shut_down(&self, within: Duration) {
        let processor = self.processor.clone();
        let flushed = tokio::task::spawn_blocking(move || processor.shutdown());
        match tokio::time::timeout(within, flushed).await {
            Ok(Ok(Ok(()))) => tracing::info!(role = self.role, "all spans are exported"),
            Ok(Ok(Err(error))) => tracing::warn!(role = self.role, %error, "the last spans were not exported"),
            Ok(Err(_cancelled)) => {}
            Err(_elapsed) => {
                let left = self.queue.waiting.load(Ordering::Relaxed);
                tracing::warn!(role = self.role, left, "spans were not exported in time");
            }
        }
        self.queue.cut.cancel();
    }
}

/// Who says the spans. What `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say wins; the name is this process's own,
/// and not that of others whose steps it works out.
fn resource(role: &'static str, settings: &Settings, is_own: bool) -> Resource {
    let mut attributes = vec![
        KeyValue::new(SERVICE_NAME, format!("spillway-{role}")),
        KeyValue::new(SERVICE_NAMESPACE, "spillway"),
        KeyValue::new(SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
    ];
    let instance = uuid::Uuid::new_v4().to_string();
    attributes.push(KeyValue::new(SERVICE_INSTANCE_ID, if is_own { instance } else { "record".to_owned() }));
    let own_name = settings.service_name.clone().filter(|_| is_own);
    let said = settings.attributes.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let builder = Resource::builder_empty()
        .with_attributes(attributes.clone())
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(said);
    match own_name {
        Some(name) => builder.with_attribute(KeyValue::new(SERVICE_NAME, name)).build(),
        None if is_own => builder.build(),
        None => builder.with_attributes(attributes).build(),
    }
}

/// An exporter for each role whose spans go from here.
struct Lanes {
    exporters: BTreeMap<&'static str, Otlp>,
    transport: Transport,
    /// For all of a batch, with all tries.
    timeout: Duration,
    limits: Limits,
    queue: Arc<Queue>,
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").field("of", &self.exporters.keys()).finish()
    }
}

/// Spans on their way; whatever becomes of them, they wait no longer.
struct Leaving<'a> {
    queue: &'a Queue,
    spans: usize,
    outcome: &'static str,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(self.spans, Ordering::Relaxed);
        self.queue.count(self.outcome, self.spans);
    }
}

impl SpanExporter for Lanes {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut groups: BTreeMap<&str, Vec<SpanData>> = BTreeMap::new();
        for mut span in batch {
            self.limits.keep(&mut span);
            let name = self.exporters.get_key_value(span.instrumentation_scope.name()).map(|(name, _)| *name);
            groups.entry(name.unwrap_or_default()).or_default().push(span);
        }
        let mut leaving: Vec<_> = groups
            .into_iter()
            .map(|(name, spans)| {
                let left = Leaving { queue: &self.queue, spans: spans.len(), outcome: "failed" };
                (name, spans, left)
            })
            .collect();
        let (mut all, end) = (Ok(()), Instant::now() + self.timeout);
        for (name, spans, left) in &mut leaving {
            let Some(exporter) = self.exporters.get(name) else { continue };
            let exported = tokio::select! {
                exported = exporter.export(std::mem::take(spans)) => exported,
                () = self.queue.cut.cancelled() => Err(OTelSdkError::AlreadyShutdown),
                () = tokio::time::sleep_until(end) => Err(OTelSdkError::Timeout(self.timeout)),
            };
            match exported {
                Ok(()) => left.outcome = "exported",
                // Whatever it was that gave up then: the time is what was wrong.
                Err(_) if Instant::now() >= end => all = Err(OTelSdkError::Timeout(self.timeout)),
                Err(error) => all = Err(self.transport.explained(error)),
            }
        }
        self.tell(&all);
        all
    }

    fn set_resource(&mut self, _of_nobody: &Resource) {}
}

impl Lanes {
    /// One line when exporting begins to fail, and one when it goes on.
    fn tell(&self, exported: &OTelSdkResult) {
        let was_well = self.queue.is_well.swap(exported.is_ok(), Ordering::Relaxed);
        match exported {
            Ok(()) if !was_well => tracing::info!(role = self.queue.role, "spans are exported again"),
            Err(error) if was_well => {
                tracing::warn!(role = self.queue.role, %error, "spans are not exported; nothing else depends on it");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use spillway_proto::TraceContext;
    use spillway_proto::time::Timestamp;
    use tokio::net::TcpListener;

    use super::super::TelemetryConfig;
    use super::*;

    #[tokio::test]
    async fn no_more_spans_wait_than_there_is_room_for() {
        // It takes connections, and never answers.
        let hanging = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", hanging.local_addr().expect("an address"));
        let config = TelemetryConfig { otlp_endpoint: endpoint, ..TelemetryConfig::default() };
        let queue = |name: &str| (name == "OTEL_BSP_MAX_QUEUE_SIZE").then(|| "20".to_owned());
        let settings = Settings::read(&config, queue).expect("sound").expect("on");
        let exporting = Exporting::start("audit", &settings).expect("usable");
        for span_id in 1..=100 {
            let at = Timestamp::UNIX_EPOCH;
            exporting.take(Span::new(TraceContext::new(7, span_id, true), "commit", at, at));
        }
        assert_eq!(exporting.queue.waiting.load(Ordering::Relaxed), 20);
    }
}
