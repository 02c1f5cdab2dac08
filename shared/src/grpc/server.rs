//! Build a gRPC server on a bound listener, run it until told to stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use http::Request;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::pb::health_server::HealthServer;
use tonic_web::GrpcWebLayer;
use tower::{Service, ServiceBuilder};

use super::calls::{Calls, Rules};
use super::durations::Durations;
use super::early::Early;
use super::gate::Gate;
use super::health::Health;
use super::limits::{GrpcLimits, MAX_REQUEST_BYTES};
use super::methods::Methods;
use super::web;
use crate::config::{Problems, Validate};
use crate::listen::Name;
use crate::listen::connections::{self, Drained};
use crate::telemetry::Tracer;

/// How often the calls in flight are told.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// What every listener serves.
const STANDARD: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// Services, health, reflection and limits, not yet on a listener.
pub struct GrpcServerBuilder {
    limits: GrpcLimits,
    routes: RoutesBuilder,
    services: Vec<&'static str>,
    descriptors: Vec<Vec<u8>>,
    health: Health,
    draining: CancellationToken,
    gate: Option<Arc<dyn Gate>>,
    name: Name,
    tracer: Tracer,
}

/// Why a server could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Limits(Problems),
    #[error("the descriptor set cannot be decoded: {0}")]
    Descriptors(#[from] prost::DecodeError),
    #[error("the descriptor set cannot be served by reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl GrpcServerBuilder {
    /// Adds a service. Its decode limit is its own to set: `.max_decoding_message_size(MAX_REQUEST_BYTES)`.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> GrpcServerBuilder
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.services.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Adds an encoded `google.protobuf.FileDescriptorSet` that describes services: for reflection, and to know which
    /// methods stream.
    #[must_use]
    pub fn descriptors(mut self, encoded: impl Into<Vec<u8>>) -> GrpcServerBuilder {
        self.descriptors.push(encoded.into());
        self
    }

    /// Refuses calls before their messages are decoded.
    #[must_use]
    pub fn gate(mut self, gate: Arc<dyn Gate>) -> GrpcServerBuilder {
        self.gate = Some(gate);
        self
    }

    /// What its figures are labelled with.
    #[must_use]
    pub fn named(mut self, name: Name) -> GrpcServerBuilder {
        self.name = name;
        self
    }

    /// Where the spans of its calls go.
    #[must_use]
    pub fn traced(mut self, tracer: Tracer) -> GrpcServerBuilder {
        self.tracer = tracer;
        self
    }

    /// Cancelled when the server begins to drain: a handler with a long stream ends it then.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// # Errors
    /// [`BuildError`] when the limits or the descriptors cannot be used.
    pub fn build(mut self, listener: TcpListener) -> Result<GrpcServer, BuildError> {
        let mut problems = Vec::new();
        self.limits.problems("", &mut problems);
        if !problems.is_empty() {
            return Err(BuildError::Limits(Problems(problems)));
        }
        let standard = [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let methods = Methods::from_descriptors(self.descriptors.iter().map(Vec::as_slice).chain(standard))?;
        let served: Vec<&str> = self.services.iter().copied().chain(STANDARD).collect();
        let durations = Durations::new(self.name, methods.of(&served));
        self.add_reflection()?;
        let health = HealthServer::new(self.health.service()).max_decoding_message_size(MAX_REQUEST_BYTES);
        self.routes.add_service(health);
        Ok(GrpcServer {
            listener,
            rules: Arc::new(Rules::new(
                methods,
                durations,
                &self.limits,
                (self.gate, self.name),
                self.draining.clone(),
                self.tracer,
            )),
            name: self.name,
            routes: self.routes.routes().prepare(),
            limits: self.limits,
            services: self.services,
            health: self.health,
            draining: self.draining,
        })
    }

    /// v1 for new tools, v1alpha for old ones (grpcurl before 1.8.8). Lists what this listener serves, even where the
    /// descriptors say more.
    fn add_reflection(&mut self) -> Result<(), tonic_reflection::server::Error> {
        let builder = || {
            let mut reflection = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET);
            for encoded in &self.descriptors {
                reflection = reflection.register_encoded_file_descriptor_set(encoded);
            }
            let listed = self.services.iter().copied().chain(STANDARD);
            listed.fold(reflection, tonic_reflection::server::Builder::with_service_name)
        };
        let v1 = builder().build_v1()?.max_decoding_message_size(MAX_REQUEST_BYTES);
        let v1alpha = builder().build_v1alpha()?.max_decoding_message_size(MAX_REQUEST_BYTES);
        self.routes.add_service(v1).add_service(v1alpha);
        Ok(())
    }
}

/// A gRPC server on its listener.
pub struct GrpcServer {
    listener: TcpListener,
    limits: GrpcLimits,
    routes: Routes,
    services: Vec<&'static str>,
    rules: Arc<Rules>,
    name: Name,
    health: Health,
    draining: CancellationToken,
}

impl GrpcServer {
    #[must_use]
    pub fn builder(limits: GrpcLimits) -> GrpcServerBuilder {
        GrpcServerBuilder {
            limits,
            routes: Routes::builder(),
            services: Vec::new(),
            descriptors: Vec::new(),
            health: Health::new(),
            draining: CancellationToken::new(),
            gate: None,
            name: Name { role: "", listener: "grpc" },
            tracer: Tracer::off(),
        }
    }

    /// # Errors
    /// When the operating system does not know the socket any more.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` resolves. Then, in this order: health says NOT_SERVING, `draining` is cancelled, no
    /// connection is accepted any more, open ones are told to go (GOAWAY) and finish their calls. What is still open
    /// after `drain` is cut.
    pub async fn run(self, shutdown: impl Future<Output = ()>, drain: Duration) -> Drained {
        self.health.cover(self.services).await;
        // From the outside in. CORS answers a browser's preflight, which gRPC-Web would refuse; gRPC-Web makes a
        // gRPC call of what it takes, so that the column sees one kind of call.
        let service = ServiceBuilder::new()
            .option_layer(web::cors(&self.limits.allowed_origins))
            .map_response(web::tell_plain_http)
            .layer(GrpcWebLayer::new())
            .service(Calls::new(self.routes, self.rules.clone()));
        let service = Early::new(service, self.rules.clone());
        let (health, draining) = (self.health, self.draining);
        let stop = async {
            shutdown.await;
            health.drain().await;
            draining.cancel();
        };
        let (http, limits) = (self.limits.http(), self.limits.connections(self.name));
        let rules = self.rules;
        let measure = async {
            let mut every = tokio::time::interval(MEASURE_EVERY);
            loop {
                every.tick().await;
                rules.admission.measure();
            }
        };
        tokio::select! {
            drained = connections::serve(self.listener, http, limits, service, stop, drain) => drained,
            never = measure => never,
        }
    }
}
