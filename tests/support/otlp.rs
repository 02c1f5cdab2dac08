//! A receiver of traces: OTLP over gRPC, in the test's own process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::PATIENCE;

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `service.name` of its resource, and what else stands there.
    pub service: String,
    pub resource: BTreeMap<String, String>,
    pub attributes: BTreeMap<String, String>,
    pub name: String,
    /// Hexadecimal; the parent empty where there is none.
    pub trace: String,
    pub id: String,
    pub parent: String,
    /// Trace and span of each link.
    pub links: Vec<(String, String)>,
    pub kind: i32,
    pub start_ns: u64,
    pub end_ns: u64,
    pub is_error: bool,
}

impl Seen {
    /// The value of an attribute; empty where there is none.
    pub fn of(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

/// The receiver. It ends when it is dropped.
pub struct Receiver {
    pub endpoint: String,
    seen: Taken,
    stop: CancellationToken,
}

#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<Seen>>>);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Receiver {
    pub async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let (seen, stop) = (Taken::default(), CancellationToken::new());
        let service = TraceServiceServer::new(seen.clone()).max_decoding_message_size(64 << 20);
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            let served = Server::builder().add_service(service);
            served.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped).await.expect("serves");
        });
        Receiver { endpoint, seen, stop }
    }

    /// What a role needs in its environment to send here, soon.
    pub fn environment(&self) -> Vec<(String, String)> {
        environment(&self.endpoint)
    }

    /// Everything so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn of_trace(&self, trace: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|span| span.trace == trace).collect()
    }

    /// Waits until there is such a span in any trace.
    pub async fn until_any(&self, what: &str, is_it: impl Fn(&Seen) -> bool) {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        let asked = async {
            while !self.seen().iter().any(&is_it) {
                every.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{what} does not come"));
    }

    /// The spans of a trace once they are what is wanted.
    pub async fn until(&self, trace: &str, what: &str, is_it: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        let asked = async {
            loop {
                every.tick().await;
                let spans = self.of_trace(trace);
                if is_it(&spans) {
                    return spans;
                }
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
            let names: Vec<String> =
                self.of_trace(trace).iter().map(|span| format!("{} {}", span.service, span.name)).collect();
            panic!("{what} does not come; there is\n{}", names.join("\n"))
        })
    }
}

/// What a role needs in its environment to send there, soon.
pub fn environment(endpoint: &str) -> Vec<(String, String)> {
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![set("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), set("OTEL_BSP_SCHEDULE_DELAY", "100")]
}

#[tonic::async_trait]
impl TraceService for Taken {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for of_resource in request.into_inner().resource_spans {
            let resource = texts(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
            let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
            seen.extend(spans.map(|span| read(span, &resource)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(span: Span, resource: &BTreeMap<String, String>) -> Seen {
    Seen {
        service: resource.get("service.name").cloned().unwrap_or_default(),
        resource: resource.clone(),
        attributes: texts(span.attributes),
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        kind: span.kind,
        start_ns: span.start_time_unix_nano,
        end_ns: span.end_time_unix_nano,
        is_error: span.status.is_some_and(|status| status.code == 2),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: any_value::Value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::BoolValue(truth) => truth.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |pair: KeyValue| Some((pair.key, text(pair.value?.value?)));
    attributes.into_iter().filter_map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
