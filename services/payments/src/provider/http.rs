//! A provider over HTTP/1.1 and JSON: connections are kept and reused, bodies are bounded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use spillway_shared::config::resolve_secret;
use spillway_shared::steps;

use super::certificate::Noting;
use super::token::Token;
use super::wire::{self, Answer};
use super::{Charge, Provider, ProviderCall, Refund};
use crate::config::ProviderConfig;
use crate::domain::{Outcome, Sight};

/// The longest answer, in bytes.
const BODY_MAX: usize = 64 * 1024;

/// An idle connection is closed by us before the provider may close it: no request meets a closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A provider that speaks the sandbox's protocol.
pub struct HttpProvider {
    client: Transport,
    charges: At,
    refunds: At,
    /// Of its address.
    host: Arc<str>,
    port: u16,
    token: Token,
}

/// Where something is asked for.
struct At {
    uri: Uri,
    /// Its path, below the provider's address.
    path: &'static str,
}

/// The provider cannot be spoken to as configured.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("payments.provider.url: {0:?} is not an http:// or https:// address")]
    Url(String),
    #[error("payments.provider.token: {0}")]
    Token(String),
    #[error("the certificates of this machine cannot be read, and https needs them: {0}")]
    Certificates(std::io::Error),
}

enum Transport {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<Noting<HttpsConnector<HttpConnector>>, Full<Bytes>>),
}

/// No answer came.
enum NoAnswer {
    /// The request never left.
    NotSent,
    /// It may have arrived.
    Lost,
}

impl HttpProvider {
    /// Reads the token; connects when first called.
    ///
    /// # Errors
    /// An address or a token that cannot be used, or no certificates where https needs them.
    pub fn new(config: &ProviderConfig, connections: usize) -> Result<Self, ProviderError> {
        let base: Uri = config.url.parse().map_err(|_| ProviderError::Url(config.url.clone()))?;
        let secret = resolve_secret(&config.token, &config.token_file, "payments.provider.token")
            .map_err(|problem| ProviderError::Token(problem.message))?;
        let token = Token::new(secret.as_ref(), config.token_file.clone())
            .ok_or_else(|| ProviderError::Token("holds what no header can".to_owned()))?;
        let path = |path| {
            let uri = below(&base, path).ok_or_else(|| ProviderError::Url(config.url.clone()))?;
            Ok::<At, ProviderError>(At { uri, path })
        };
        let port = base.port_u16().unwrap_or(if base.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 });
        let host = Arc::from(base.host().unwrap_or_default());
        let client = Transport::new(&base, config, connections)?;
        Ok(HttpProvider { client, charges: path("/v1/charges")?, refunds: path("/v1/refunds")?, host, port, token })
    }

    async fn send(&self, to: &At, key: &str, reference: &str, body: Bytes, call: &ProviderCall) -> Outcome {
        let Ok(key_header) = HeaderValue::from_str(key) else {
            return Outcome::Rejected { code: "key".to_owned() };
        };
        let request = Request::post(to.uri.clone())
            .header(CONTENT_TYPE, JSON)
            .header(IDEMPOTENCY_KEY, key_header)
            .body(Full::new(body));
        call.asks("POST", to.path, &self.host, self.port);
        match self.exchange(request, call).await {
            Ok(answer) => wire::sent(&answer, reference),
            Err(NoAnswer::NotSent) => Outcome::Unavailable,
            Err(NoAnswer::Lost) => Outcome::Unknown,
        }
    }

    async fn look_up(&self, at: &At, reference: &str, call: &ProviderCall) -> Outcome {
        // A reference is made of characters that a query takes as they are.
        let Some(uri) = with_query(&at.uri, reference) else {
            return Outcome::Unavailable;
        };
        let request = Request::builder().method(Method::GET).uri(uri).body(Full::default());
        call.asks("GET", at.path, &self.host, self.port);
        match self.exchange(request, call).await {
            Ok(answer) => wire::looked_up(&answer, reference),
            Err(NoAnswer::NotSent | NoAnswer::Lost) => Outcome::Unavailable,
        }
    }

    async fn find(&self, at: &At, name: &str) -> Option<Sight> {
        let uri = named(&at.uri, name)?;
        let request = Request::builder().method(Method::GET).uri(uri).body(Full::default());
        let answer = self.exchange(request, &ProviderCall::default()).await.ok()?;
        wire::found(&answer, name)
    }

    async fn exchange(
        &self,
        request: http::Result<Request<Full<Bytes>>>,
        call: &ProviderCall,
    ) -> Result<Answer, NoAnswer> {
        let mut request = request.map_err(|_| NoAnswer::NotSent)?;
        request.headers_mut().insert(ACCEPT, JSON);
        if let Some(header) = self.token.header() {
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        if !call.traceparent().is_empty()
            && let Ok(header) = HeaderValue::from_str(call.traceparent())
        {
            request.headers_mut().insert(TRACEPARENT, header);
        }
        let response = self.client.request(request).await.map_err(|error| {
            tracing::debug!(%error, "no answer from the provider");
            if error.is_connect() { NoAnswer::NotSent } else { NoAnswer::Lost }
        })?;
        steps::step("payments.http_sent");
        let (head, body) = response.into_parts();
        call.answered(head.status.as_u16());
        if head.status == http::StatusCode::UNAUTHORIZED {
            self.token.refused().await;
        }
        let body = Limited::new(body, BODY_MAX).collect().await.map_err(|error| {
            tracing::debug!(%error, "the provider's answer broke off or is too long");
            NoAnswer::Lost
        })?;
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        Ok(Answer { status: head.status, retry_after, body: body.to_bytes() })
    }
}

impl Provider for HttpProvider {
    async fn charge(&self, charge: Charge<'_>, call: &ProviderCall) -> Outcome {
        self.send(&self.charges, charge.key, charge.reference, wire::charge(charge), call).await
    }

    async fn refund(&self, refund: Refund<'_>, call: &ProviderCall) -> Outcome {
        self.send(&self.refunds, refund.key, refund.key, wire::refund(refund), call).await
    }

    async fn look_up_charge(&self, reference: &str, call: &ProviderCall) -> Outcome {
        self.look_up(&self.charges, reference, call).await
    }

    async fn look_up_refund(&self, reference: &str, call: &ProviderCall) -> Outcome {
        self.look_up(&self.refunds, reference, call).await
    }

    async fn find_charge(&self, name: &str) -> Option<Sight> {
        self.find(&self.charges, name).await
    }

    async fn find_refund(&self, name: &str) -> Option<Sight> {
        self.find(&self.refunds, name).await
    }
}

impl Transport {
    fn new(base: &Uri, config: &ProviderConfig, connections: usize) -> Result<Self, ProviderError> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_millis(config.connect_timeout_ms)));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(connections).pool_idle_timeout(IDLE_TIMEOUT).pool_timer(TokioTimer::new());
        if base.scheme() == Some(&Scheme::HTTP) {
            return Ok(Transport::Plain(builder.build(tcp)));
        }
        tcp.enforce_http(false);
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(ProviderError::Certificates)?
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Transport::Tls(builder.build(Noting(tls))))
    }

    async fn request(&self, request: Request<Full<Bytes>>) -> Result<http::Response<Incoming>, Error> {
        match self {
            Transport::Plain(client) => client.request(request).await,
            Transport::Tls(client) => client.request(request).await,
        }
    }
}

/// A path below the provider's address; `None` where that is no http or https address.
fn below(base: &Uri, path: &str) -> Option<Uri> {
    let mut parts = base.clone().into_parts();
    parts.scheme.as_ref().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme))?;
    let whole = format!("{}{path}", base.path().trim_end_matches('/'));
    parts.path_and_query = Some(PathAndQuery::try_from(whole).ok()?);
    Uri::from_parts(parts).ok()
}

fn with_query(at: &Uri, reference: &str) -> Option<Uri> {
    let mut parts = at.clone().into_parts();
    let query = format!("{}?reference={reference}", at.path());
    parts.path_and_query = Some(PathAndQuery::try_from(query).ok()?);
    Uri::from_parts(parts).ok()
}

/// The address of what has this name at the provider; `None` where no address can hold it.
fn named(at: &Uri, name: &str) -> Option<Uri> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(is_plain) {
        return None;
    }
    let mut parts = at.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{}/{name}", at.path())).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_providers_address_may_have_a_path_and_must_have_a_scheme() {
        let at = |url: &str| below(&url.parse().expect("a URI"), "/v1/charges").map(|uri| uri.to_string());
        assert_eq!(at("http://127.0.0.1:8090").as_deref(), Some("http://127.0.0.1:8090/v1/charges"));
        assert_eq!(at("https://pay.example/eu/").as_deref(), Some("https://pay.example/eu/v1/charges"));
        assert_eq!(at("ftp://pay.example"), None);
        assert_eq!(at("127.0.0.1:8090"), None);
    }

    #[test]
    fn a_name_that_an_operator_gives_stays_within_its_path() {
        let at =
            |name| named(&"http://pay.example/v1/charges".parse().expect("a URI"), name).map(|uri| uri.to_string());
        assert_eq!(at("ch_1").as_deref(), Some("http://pay.example/v1/charges/ch_1"));
        for wrong in ["", "../refunds/re_1", "ch_1?x", "ch 1", "ch/1", "ch%2f1", "..\n"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }
}
