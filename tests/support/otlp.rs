//! A receiver of traces: OTLP over gRPC and over HTTP, in the test's own process.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
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
    pub address: SocketAddr,
    taken: Taken,
    stop: CancellationToken,
}

#[derive(Clone, Default)]
struct Taken {
    spans: Arc<Mutex<Vec<Seen>>>,
    /// Of each request.
    headers: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Receiver {
    pub async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (taken, stop) = (Taken::default(), CancellationToken::new());
        let (taking, stopped) = (taken.clone(), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let taking = taking.clone();
                tokio::spawn(stopped.clone().run_until_cancelled_owned(async move {
                    let take = service_fn(move |request| take(request, taking.clone()));
                    let server = auto::Builder::new(TokioExecutor::new());
                    // Whoever sends may hang up whenever it likes.
                    drop(server.serve_connection(TokioIo::new(connection), take).await);
                }));
            }
        }));
        Receiver { endpoint: format!("http://{address}"), address, taken, stop }
    }

    /// What a role needs in its environment to send here, soon.
    pub fn environment(&self) -> Vec<(String, String)> {
        environment(&self.endpoint)
    }

    /// Everything so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.taken.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Of each request so far.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.taken.headers.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

/// By gRPC, or by HTTP: the body is then what a message of gRPC is, without the five bytes before it.
async fn take(request: http::Request<Incoming>, taken: Taken) -> Result<http::Response<Body>, Infallible> {
    taken.headers.lock().unwrap_or_else(PoisonError::into_inner).push(request.headers().clone());
    let service = TraceServiceServer::new(taken).max_decoding_message_size(64 << 20);
    let mut service = service.accept_compressed(CompressionEncoding::Gzip);
    if request.uri().path() != "/v1/traces" {
        return service.call(request).await;
    }
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let encoding = head.headers.remove(CONTENT_ENCODING);
    let mut message = BytesMut::with_capacity(5 + body.len());
    message.put_u8(u8::from(encoding.is_some()));
    message.put_u32(u32::try_from(body.len()).expect("short"));
    message.put_slice(&body);
    head.uri = Uri::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    head.headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    if let Some(encoding) = encoding {
        head.headers.insert("grpc-encoding", encoding);
    }
    let answer = service.call(http::Request::from_parts(head, Full::<Bytes>::from(message.freeze()))).await?;
    let mut told = http::Response::new(Body::empty());
    if answer.headers().contains_key("grpc-status") {
        *told.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(told)
}

#[tonic::async_trait]
impl TraceService for Taken {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut seen = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
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
