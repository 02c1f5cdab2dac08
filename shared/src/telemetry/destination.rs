//! Where spans go, and in which way.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use opentelemetry_otlp::Protocol;

use super::config::{TelemetryConfig, check_endpoint};
use super::settings::milliseconds;
use super::tls::Trust;
use super::variables::{Said, Variables};

/// How spans travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Grpc,
    HttpProtobuf,
}

impl Wire {
    /// As `OTEL_EXPORTER_OTLP_PROTOCOL` names it.
    pub fn name(self) -> &'static str {
        match self {
            Wire::Grpc => "grpc",
            Wire::HttpProtobuf => "http/protobuf",
        }
    }

    pub fn protocol(self) -> Protocol {
        match self {
            Wire::Grpc => Protocol::Grpc,
            Wire::HttpProtobuf => Protocol::HttpBinary,
        }
    }

    /// Where the standard has a receiver.
    fn usual_place(self) -> &'static str {
        match self {
            Wire::Grpc => "http://localhost:4317",
            Wire::HttpProtobuf => "http://localhost:4318",
        }
    }
}

/// Where spans go.
pub(super) struct Destination {
    /// For HTTP with its path.
    pub address: String,
    pub wire: Wire,
    /// For one export, with all its tries.
    pub timeout: Duration,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub is_compressed: bool,
    /// None where the way is not encrypted.
    pub trust: Option<Trust>,
    /// Variables of an encryption that there is not.
    pub without_effect: Vec<String>,
}

/// What the specification has where `OTEL_EXPORTER_OTLP_TIMEOUT` says nothing.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a receiver takes traces over HTTP.
const PATH: &str = "/v1/traces";

impl Destination {
    /// Host and port; whoever signs in there does so with what nobody should read in a log.
    pub fn server(&self) -> String {
        let uri = self.address.parse::<Uri>().unwrap_or_default();
        let usual = if self.trust.is_some() { 443 } else { 80 };
        format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(usual))
    }

    /// None where nobody says where to, and the exporter is not asked for by name either.
    pub fn read(config: &TelemetryConfig, is_asked_for: bool, variables: &mut Variables<'_>) -> Option<Destination> {
        let named = variables.exporter("ENDPOINT");
        let wire = wire(variables);
        let configured = (!config.otlp_endpoint.is_empty())
            .then(|| Said { variable: "telemetry.otlp_endpoint".to_owned(), value: config.otlp_endpoint.clone() });
        let usual = || Said { variable: String::new(), value: wire.unwrap_or(Wire::Grpc).usual_place().to_owned() };
        let said = named.or(configured).or_else(|| is_asked_for.then(usual))?;
        let (endpoint, has_scheme) = with_scheme(&said.value, variables);
        let uri = check_endpoint(&endpoint).unwrap_or_else(|why| {
            variables.wrong_in(&said.variable, why);
            Uri::default()
        });
        // The ports that everybody gives them.
        let by_port = if uri.port_u16() == Some(4318) { Wire::HttpProtobuf } else { Wire::Grpc };
        let wire = wire.unwrap_or(by_port);
        if !has_scheme && wire == Wire::HttpProtobuf {
            variables.wrong(&said, "http/protobuf needs http:// or https://");
        }
        let is_whole = wire == Wire::Grpc || said.variable.contains("_TRACES_");
        let address = if is_whole { endpoint } else { format!("{}{PATH}", endpoint.trim_end_matches('/')) };
        let is_encrypted = uri.scheme_str() == Some("https");
        let timeout = variables.exporter("TIMEOUT");
        Some(Destination {
            address,
            wire,
            timeout: milliseconds(variables, timeout).unwrap_or(TIMEOUT),
            headers: headers(variables),
            is_compressed: is_compressed(variables),
            trust: is_encrypted.then(|| Trust::read(variables)),
            without_effect: if is_encrypted { Vec::new() } else { Trust::set(variables) },
        })
    }
}

/// An endpoint without a scheme is encrypted, unless it may be insecure. Answers too whether it had one.
fn with_scheme(endpoint: &str, variables: &Variables<'_>) -> (String, bool) {
    if endpoint.contains("://") {
        return (endpoint.to_owned(), true);
    }
    let may_be_insecure = variables.exporter("INSECURE").is_some_and(|said| said.name() == "true");
    (format!("{}://{endpoint}", if may_be_insecure { "http" } else { "https" }), false)
}

fn wire(variables: &mut Variables<'_>) -> Option<Wire> {
    let said = variables.exporter("PROTOCOL")?;
    let known = [Wire::Grpc, Wire::HttpProtobuf].into_iter().find(|wire| wire.name() == said.name());
    if known.is_none() {
        variables.wrong(&said, "there are grpc and http/protobuf");
    }
    known
}

fn headers(variables: &mut Variables<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let Some(said) = variables.exporter("HEADERS") else { return Vec::new() };
    let mut headers = Vec::new();
    for (name, value) in variables.pairs(&said) {
        let value = HeaderValue::try_from(value).ok().filter(|value| value.to_str().is_ok());
        match (HeaderName::try_from(name), value) {
            (Ok(name), Some(mut value)) => {
                value.set_sensitive(true);
                headers.push((name, value));
            }
            _ => variables.wrong_in(&said.variable, "a part of it can be no header"),
        }
    }
    headers
}

fn is_compressed(variables: &mut Variables<'_>) -> bool {
    let Some(said) = variables.exporter("COMPRESSION") else { return false };
    match said.name().as_str() {
        "gzip" => true,
        "none" => false,
        _ => {
            variables.wrong(&said, "there are gzip and none");
            false
        }
    }
}
