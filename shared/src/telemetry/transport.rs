//! The way to the receiver: gRPC or HTTP, plain or over TLS. All exporters of a role share it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Compression, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::error::OTelSdkError;
use rustls::ClientConfig;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::destination::{Destination, Wire};
use super::tls::Trust;
use crate::logs::with_causes;

/// What is spoken, as ALPN names it: servers of gRPC hang up on who does not say so.
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

pub(super) enum Transport {
    Grpc(Channel),
    Http(Arc<Client>),
}

impl Transport {
    /// Connects when there is something to send.
    ///
    /// # Errors
    /// A file of a certificate or a key that cannot be used.
    pub fn new(to: &Destination) -> Result<Transport, String> {
        let tls = to.trust.as_ref().map(Trust::client).transpose()?;
        match to.wire {
            Wire::Grpc => {
                let endpoint = Endpoint::from_shared(to.address.clone()).map_err(|error| with_causes(&error))?;
                // A server that takes the connection and says nothing more must not hold the export for ever.
                let endpoint = endpoint.timeout(to.timeout).connect_timeout(to.timeout);
                Ok(Transport::Grpc(match tls {
                    None => endpoint.connect_lazy(),
                    Some(tls) => endpoint.connect_with_connector_lazy(https(tls, HTTP_2)),
                }))
            }
            Wire::HttpProtobuf => {
                let inner: Box<dyn HttpClient> = match tls {
                    None => Box::new(HyperClient::with_default_connector(to.timeout, None)),
                    Some(tls) => Box::new(HyperClient::new(https(tls, HTTP_1), to.timeout, None)),
                };
                Ok(Transport::Http(Arc::new(Client { inner, fault: Mutex::default() })))
            }
        }
    }

    /// An exporter that goes this way.
    ///
    /// # Errors
    /// An address that is none.
    pub fn exporter(&self, to: &Destination) -> Result<SpanExporter, String> {
        let protocol = to.wire.protocol();
        let built = match self {
            Transport::Grpc(channel) => {
                let metadata = MetadataMap::from_headers(to.headers.iter().cloned().collect());
                let mut builder = SpanExporter::builder().with_tonic().with_protocol(protocol).with_timeout(to.timeout);
                builder = builder.with_endpoint(&to.address).with_metadata(metadata).with_channel(channel.clone());
                if to.is_compressed { builder.with_compression(Compression::Gzip) } else { builder }.build()
            }
            Transport::Http(client) => {
                let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
                let headers = to.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
                let mut builder = SpanExporter::builder().with_http().with_protocol(protocol).with_timeout(to.timeout);
                builder =
                    builder.with_endpoint(&to.address).with_headers(headers).with_shared_http_client(client.clone());
                if to.is_compressed { builder.with_compression(Compression::Gzip) } else { builder }.build()
            }
        };
        built.map_err(|error| error.to_string())
    }

    /// An error with its reason, where the exporter does not say it.
    pub fn explained(&self, error: OTelSdkError) -> OTelSdkError {
        let Transport::Http(client) = self else { return error };
        let fault = client.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (error, fault) {
            (OTelSdkError::InternalFailure(what), Some(fault)) => {
                OTelSdkError::InternalFailure(format!("{what}: {fault}"))
            }
            (error, _) => error,
        }
    }
}

fn https(mut tls: ClientConfig, protocol: &[u8]) -> HttpsConnector<HttpConnector> {
    tls.alpn_protocols = vec![protocol.to_vec()];
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    HttpsConnector::from((tcp, tls))
}

/// HTTP, remembering why the last request failed: the exporter keeps that to itself.
#[derive(Debug)]
pub(super) struct Client {
    inner: Box<dyn HttpClient>,
    fault: Mutex<Option<String>>,
}

#[tonic::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let answer = self.inner.send_bytes(request).await;
        let fault = answer.as_ref().err().map(|error| with_causes(error.as_ref()));
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        answer
    }
}
