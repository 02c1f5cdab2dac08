//! A server with one small service, and a client for it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::uri::PathAndQuery;
use prost::Message;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use prost_types::{MethodDescriptorProto, ServiceDescriptorProto};
use spillway_shared::grpc::{
    CallError, Deadline, Gate, GrpcLimits, GrpcServer, GrpcServerBuilder, Health, MAX_REQUEST_BYTES, TraceParent,
};
use spillway_shared::listen;
use spillway_shared::listen::connections::Drained;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::{NamedService, ServerStreamingService, UnaryService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// Longer than anything here takes; a test that waits for so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn ms(milliseconds: u64) -> NonZeroU64 {
    NonZeroU64::new(milliseconds).expect("not zero")
}

#[derive(Clone, PartialEq, Message)]
pub struct Words {
    #[prost(string, tag = "1")]
    pub text: String,
}

/// `spillway.test.v1.Echo`: its text says what a call shall do.
#[derive(Clone)]
pub struct Echo {
    draining: CancellationToken,
    handlers: watch::Sender<usize>,
}

/// Counts a handler as running until its future is dropped.
struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

impl Echo {
    fn enter(&self) -> Running {
        self.handlers.send_modify(|running| *running += 1);
        Running(self.handlers.clone())
    }
}

impl UnaryService<Words> for Echo {
    type Response = Words;
    type Future = BoxFuture<'static, Result<Response<Words>, Status>>;

    fn call(&mut self, request: Request<Words>) -> Self::Future {
        let running = self.enter();
        let draining = self.draining.clone();
        Box::pin(async move {
            let _running = running;
            let text = match request.get_ref().text.as_str() {
                "hang" => std::future::pending().await,
                "until drain" => {
                    draining.cancelled().await;
                    "drained".to_owned()
                }
                "panic" => panic!("as asked"),
                "refuse" => return Err(CallError::invalid("text", "must not be refuse").into()),
                "remaining" => {
                    let deadline = Deadline::of(request.extensions()).expect("every call has one");
                    deadline.remaining().as_millis().to_string()
                }
                "trace" => TraceParent::of(request.extensions()).expect("every call has one").to_string(),
                "peer" => request.remote_addr().expect("a TCP connection").to_string(),
                other => other.to_owned(),
            };
            Ok(Response::new(Words { text }))
        })
    }
}

impl ServerStreamingService<Words> for Echo {
    type Response = Words;
    type ResponseStream = BoxStream<'static, Result<Words, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Words>) -> Self::Future {
        let running = self.enter();
        let draining = self.draining.clone();
        Box::pin(async move {
            let text = request.into_inner().text;
            if text == "late" {
                std::future::pending::<()>().await;
            }
            let first = futures::stream::iter([Ok(Words { text: text.clone() })]);
            let rest = async move {
                let _running = running;
                match text.as_str() {
                    "hang" => std::future::pending().await,
                    "panic" => {
                        // Lets the first words go out before.
                        tokio::task::yield_now().await;
                        panic!("as asked")
                    }
                    "bare error" => Err(Status::data_loss("torn")),
                    _ => {
                        draining.cancelled().await;
                        Ok(Words { text: "drained".to_owned() })
                    }
                }
            };
            Ok(Response::new(first.chain(futures::stream::once(rest)).boxed()))
        })
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "spillway.test.v1.Echo";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<Words, Words>::default();
            let mut grpc = tonic::server::Grpc::new(codec).apply_max_message_size_config(Some(MAX_REQUEST_BYTES), None);
            Ok(match request.uri().path() {
                "/spillway.test.v1.Echo/Say" => grpc.unary(service, request).await,
                "/spillway.test.v1.Echo/Tell" => grpc.server_streaming(service, request).await,
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

/// What protoc would say of the service.
pub fn descriptors() -> Vec<u8> {
    let method = |name: &str, streams| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".spillway.test.v1.Words".to_owned()),
        output_type: Some(".spillway.test.v1.Words".to_owned()),
        server_streaming: Some(streams),
        ..Default::default()
    };
    let text = FieldDescriptorProto {
        name: Some("text".to_owned()),
        number: Some(1),
        label: Some(1),
        r#type: Some(9),
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("spillway/test/v1/echo.proto".to_owned()),
        package: Some("spillway.test.v1".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![DescriptorProto { name: Some("Words".to_owned()), field: vec![text], ..Default::default() }],
        service: vec![
            ServiceDescriptorProto {
                name: Some("Echo".to_owned()),
                method: vec![method("Say", false), method("Tell", true)],
                ..Default::default()
            },
            ServiceDescriptorProto { name: Some("Elsewhere".to_owned()), ..Default::default() },
        ],
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

/// A server of the test's own, on a free port.
pub struct Server {
    pub addr: SocketAddr,
    pub health: Health,
    handlers: watch::Receiver<usize>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Drained>,
}

pub async fn start(limits: GrpcLimits) -> Server {
    start_with(limits, Duration::from_secs(10)).await
}

pub async fn start_with(limits: GrpcLimits, drain: Duration) -> Server {
    serve(GrpcServer::builder(limits), drain)
}

/// A server with a gate.
pub fn start_gated(gate: Arc<dyn Gate>) -> Server {
    serve(GrpcServer::builder(GrpcLimits::default()).gate(gate), Duration::from_secs(10))
}

fn serve(builder: GrpcServerBuilder, drain: Duration) -> Server {
    let listener = listen::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let handlers = watch::Sender::new(0);
    let seen = handlers.subscribe();
    let echo = Echo { draining: builder.draining(), handlers };
    let health = builder.health();
    let server = builder.add_service(echo).descriptors(descriptors()).build(listener).expect("buildable");
    let addr = server.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        stopped.await.unwrap_or_default();
    };
    let task = tokio::spawn(server.run(shutdown, drain));
    Server { addr, health, handlers: seen, stop, task }
}

impl Server {
    /// Begins the drain; the task's result says how it went.
    pub fn stop(self) -> JoinHandle<Drained> {
        self.stop.send(()).expect("it runs");
        self.task
    }

    pub async fn client(&self) -> Client {
        let endpoint = Channel::from_shared(format!("http://{}", self.addr)).expect("a URI");
        let channel = endpoint.connect().await.expect("it listens");
        Client { channel }
    }

    /// Waits until so many handlers run, streams included.
    pub async fn until_handlers(&self, count: usize) {
        until_handlers(&self.handlers, count).await;
    }

    pub fn handlers(&self) -> watch::Receiver<usize> {
        self.handlers.clone()
    }
}

pub async fn until_handlers(handlers: &watch::Receiver<usize>, count: usize) {
    let mut handlers = handlers.clone();
    let reached = handlers.wait_for(|running| *running == count);
    tokio::time::timeout(PATIENCE, reached).await.expect("in time").expect("the service lives");
}

/// A client with one connection.
#[derive(Clone)]
pub struct Client {
    pub channel: Channel,
}

impl Client {
    pub async fn say(&self, text: &str) -> Result<String, Status> {
        self.send(Request::new(Words { text: text.to_owned() })).await
    }

    pub async fn send(&self, request: Request<Words>) -> Result<String, Status> {
        self.call("/spillway.test.v1.Echo/Say", request).await
    }

    pub async fn call(&self, path: &'static str, request: Request<Words>) -> Result<String, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Words, Words>::default();
        let answer = grpc.unary(request, PathAndQuery::from_static(path), codec);
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")?;
        Ok(answer.into_inner().text)
    }

    pub async fn tell(&self, text: &str) -> Result<Streaming<Words>, Status> {
        self.tell_by(Request::new(Words { text: text.to_owned() })).await
    }

    pub async fn tell_by(&self, request: Request<Words>) -> Result<Streaming<Words>, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/spillway.test.v1.Echo/Tell");
        let codec = ProstCodec::<Words, Words>::default();
        let answer = grpc.server_streaming(request, path, codec);
        Ok(tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")?.into_inner())
    }
}
