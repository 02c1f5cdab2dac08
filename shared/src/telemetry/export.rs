//! From ended spans to OTLP: the SDK's batch processor, with a queue whose drops are counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::runtime;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{BatchConfigBuilder, SpanData, SpanExporter, SpanProcessor};
use opentelemetry_semantic_conventions::attribute::{
    SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_VERSION,
};
use spillway_proto::Ledger;
use tokio_util::sync::CancellationToken;

use super::TelemetryError;
use super::config::{Settings, Wire};
use super::span::{Span, scope};

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
            room: settings.queue,
            waiting: AtomicUsize::new(0),
            is_well: AtomicBool::new(true),
            cut: CancellationToken::new(),
        });
        let mut exporters = BTreeMap::new();
        for name in Ledger::ALL.map(Ledger::name).into_iter().chain([role]) {
            let is_own = name == role;
            // Only orders keeps the record of what others did.
            if is_own || role == Ledger::Orders.name() {
                let mut exporter = otlp(settings)?;
                exporter.set_resource(&resource(name, settings, is_own));
                exporters.insert(name, exporter);
            }
        }
        let scopes = exporters.keys().map(|name| (*name, scope(name))).collect();
        let lanes = Lanes { exporters, queue: queue.clone() };
        let config = BatchConfigBuilder::default().with_max_queue_size(settings.queue + 1).build();
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

fn otlp(settings: &Settings) -> Result<Otlp, TelemetryError> {
    let protocol = settings.protocol.protocol();
    let built = match settings.protocol {
        Wire::Grpc => {
            let builder = Otlp::builder().with_tonic().with_protocol(protocol);
            if settings.is_configured { builder.with_endpoint(&settings.endpoint).build() } else { builder.build() }
        }
        Wire::HttpProtobuf => {
            let builder = Otlp::builder().with_http().with_protocol(protocol);
            // What the variables name, the exporter completes by itself.
            let whole = format!("{}/v1/traces", settings.endpoint.trim_end_matches('/'));
            if settings.is_configured { builder.with_endpoint(whole).build() } else { builder.build() }
        }
    };
    built.map_err(|error| TelemetryError(error.to_string()))
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
    let builder = Resource::builder_empty()
        .with_attributes(attributes.clone())
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match own_name {
        Some(name) => builder.with_attribute(KeyValue::new(SERVICE_NAME, name)).build(),
        None if is_own => builder.build(),
        None => builder.with_attributes(attributes).build(),
    }
}

/// An exporter for each role whose spans go from here.
struct Lanes {
    exporters: BTreeMap<&'static str, Otlp>,
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
        for span in batch {
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
        let mut all = Ok(());
        for (name, spans, left) in &mut leaving {
            let Some(exporter) = self.exporters.get(name) else { continue };
            let exported = tokio::select! {
                exported = exporter.export(std::mem::take(spans)) => exported,
                () = self.queue.cut.cancelled() => Err(OTelSdkError::AlreadyShutdown),
            };
            match exported {
                Ok(()) => left.outcome = "exported",
                Err(error) => all = Err(error),
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

    use super::super::config::Sampling;
    use super::*;

    #[tokio::test]
    async fn no_more_spans_wait_than_there_is_room_for() {
        // It takes connections, and never answers.
        let hanging = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let settings = Settings {
            endpoint: format!("http://{}", hanging.local_addr().expect("an address")),
            is_configured: true,
            protocol: Wire::Grpc,
            sampling: Sampling::Bounded,
            queue: 20,
            service_name: None,
        };
        let exporting = Exporting::start("audit", &settings).expect("usable");
        for span_id in 1..=100 {
            let at = Timestamp::UNIX_EPOCH;
            exporting.take(Span::new(TraceContext::new(7, span_id, true), "commit", at, at));
        }
        assert_eq!(exporting.queue.waiting.load(Ordering::Relaxed), 20);
    }
}
