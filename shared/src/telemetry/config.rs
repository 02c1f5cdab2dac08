//! Where traces go, and how many: the configuration, and the standard variables, which win over it.

use opentelemetry_otlp::{OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL, Protocol};
use opentelemetry_otlp::{OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL};
use opentelemetry_sdk::trace::{Sampler, ShouldSample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Problem, Validate, join};

/// Where traces go, and how many. The standard `OTEL_*` variables win: docs/traces.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Where traces are sent over OTLP: `http://host:4317` for gRPC, `http://host:4318` for HTTP. Empty: nowhere.
    pub otlp_endpoint: String,
    /// Traces that each role begins or raises in a second, at most. At rest every order is traced.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_traces_per_second: u32,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        TelemetryConfig { otlp_endpoint: String::new(), max_traces_per_second: 50 }
    }
}

impl Validate for TelemetryConfig {
    fn problems(&self, at: &str, out: &mut Vec<Problem>) {
        if !self.otlp_endpoint.is_empty()
            && let Err(why) = check_endpoint(&self.otlp_endpoint)
        {
            out.push(Problem::new(join(at, "otlp_endpoint"), why));
        }
        if !(1..=100_000).contains(&self.max_traces_per_second) {
            out.push(Problem::new(join(at, "max_traces_per_second"), "must be 1 to 100000"));
        }
    }
}

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
}

/// Which traces are sampled.
pub(super) enum Sampling {
    /// All at rest, a bounded number under load.
    Bounded,
    /// As `OTEL_TRACES_SAMPLER` says.
    Standard(Box<dyn ShouldSample>),
}

/// What is in force.
pub(super) struct Settings {
    pub endpoint: String,
    /// The endpoint is the configuration's, which the exporter has to be told.
    pub is_configured: bool,
    pub protocol: Wire,
    pub sampling: Sampling,
    /// Spans that wait to be exported, at most.
    pub queue: usize,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: Option<String>,
}

/// What the specification has where `OTEL_BSP_MAX_QUEUE_SIZE` says nothing.
const QUEUE: usize = 2048;

impl Settings {
    /// Host and port of the endpoint; whoever signs in there does so with what nobody should read in a log.
    pub fn server(&self) -> String {
        let uri = self.endpoint.parse::<http::Uri>().unwrap_or_default();
        format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or_default())
    }

    /// By the variables, then by the configuration. None where nothing is to be exported.
    pub fn read(
        config: &TelemetryConfig,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Settings>, String> {
        let said = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let is_disabled = said("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if is_disabled || said("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none") {
            return Ok(None);
        }
        let named = said(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT).or_else(|| said(OTEL_EXPORTER_OTLP_ENDPOINT));
        let is_configured = named.is_none();
        let endpoint = named.unwrap_or_else(|| config.otlp_endpoint.clone());
        if endpoint.is_empty() {
            return Ok(None);
        }
        let port = check_endpoint(&endpoint)?;
        let protocol = said(OTEL_EXPORTER_OTLP_TRACES_PROTOCOL).or_else(|| said(OTEL_EXPORTER_OTLP_PROTOCOL));
        let protocol = match protocol.as_deref() {
            Some("grpc") => Wire::Grpc,
            Some("http/protobuf") => Wire::HttpProtobuf,
            Some(other) => return Err(format!("protocol {other:?}: there are grpc and http/protobuf")),
            // The ports that everybody gives them.
            None if port == Some(4318) => Wire::HttpProtobuf,
            None => Wire::Grpc,
        };
        let sampling = match said("OTEL_TRACES_SAMPLER") {
            None => Sampling::Bounded,
            Some(name) => Sampling::Standard(sampler(&name, said("OTEL_TRACES_SAMPLER_ARG").as_deref())?),
        };
        let queue = said("OTEL_BSP_MAX_QUEUE_SIZE").and_then(|size| size.parse().ok()).filter(|size| *size > 0);
        let (queue, service_name) = (queue.unwrap_or(QUEUE), said("OTEL_SERVICE_NAME"));
        Ok(Some(Settings { endpoint, is_configured, protocol, sampling, queue, service_name }))
    }
}

/// The port of an endpoint, where it names one.
fn check_endpoint(endpoint: &str) -> Result<Option<u16>, String> {
    let uri: http::Uri = endpoint.parse().map_err(|_| format!("{endpoint:?} is no address"))?;
    match uri.scheme_str() {
        Some("http") => Ok(uri.port_u16()),
        Some("https") => Err("https is not spoken: send to a collector near by, which does".to_owned()),
        Some(_) | None => Err(format!("{endpoint:?} is no http:// address")),
    }
}

fn sampler(name: &str, argument: Option<&str>) -> Result<Box<dyn ShouldSample>, String> {
    let (is_parent_based, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name),
    };
    let root = match root {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => {
            let ratio = argument.unwrap_or("1.0").parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
            Sampler::TraceIdRatioBased(ratio.ok_or("OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1")?)
        }
        _ => return Err(format!("OTEL_TRACES_SAMPLER {name:?} is not known here")),
    };
    Ok(if is_parent_based { Box::new(Sampler::ParentBased(Box::new(root))) } else { Box::new(root) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(endpoint: &str, variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let config = TelemetryConfig { otlp_endpoint: endpoint.into(), ..TelemetryConfig::default() };
        Settings::read(&config, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn shape(endpoint: &str, variables: &[(&str, &str)]) -> Option<(String, bool, Wire)> {
        let settings = read(endpoint, variables).expect("sound");
        settings.map(|settings| (settings.endpoint, settings.is_configured, settings.protocol))
    }

    #[test]
    fn nothing_is_exported_unless_somebody_says_where() {
        assert_eq!(shape("", &[]), None);
        assert_eq!(shape("", &[(OTEL_EXPORTER_OTLP_ENDPOINT, " ")]), None);
        assert_eq!(shape("http://a:4317", &[("OTEL_SDK_DISABLED", "true")]), None);
        assert_eq!(shape("http://a:4317", &[("OTEL_TRACES_EXPORTER", "none")]), None);
        assert_eq!(shape("http://a:4317", &[]), Some(("http://a:4317".into(), true, Wire::Grpc)));
        assert_eq!(shape("http://a:4318", &[]), Some(("http://a:4318".into(), true, Wire::HttpProtobuf)));
    }

    #[test]
    fn the_standard_variables_win() {
        let variables =
            [(OTEL_EXPORTER_OTLP_ENDPOINT, "http://b:4318"), (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, "http://c:1")];
        assert_eq!(shape("http://a:4317", &variables[..1]), Some(("http://b:4318".into(), false, Wire::HttpProtobuf)));
        assert_eq!(shape("http://a:4317", &variables), Some(("http://c:1".into(), false, Wire::Grpc)));
        let protocol = [(OTEL_EXPORTER_OTLP_PROTOCOL, "http/protobuf")];
        assert_eq!(shape("http://a:4317", &protocol), Some(("http://a:4317".into(), true, Wire::HttpProtobuf)));
        let queue = read("http://a:1", &[("OTEL_BSP_MAX_QUEUE_SIZE", "7")]).expect("sound").expect("on").queue;
        assert_eq!(queue, 7);
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        for (endpoint, variables) in [
            ("https://a:4317", vec![]),
            ("a:4317", vec![]),
            ("http://a:4317", vec![(OTEL_EXPORTER_OTLP_PROTOCOL, "http/json")]),
            ("http://a:4317", vec![("OTEL_TRACES_SAMPLER", "xray")]),
            ("http://a:4317", vec![("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")]),
        ] {
            assert!(read(endpoint, &variables).is_err(), "{endpoint} {variables:?}");
        }
        let mut problems = Vec::new();
        let config = TelemetryConfig { otlp_endpoint: "ftp://a".into(), max_traces_per_second: 0 };
        config.problems("telemetry", &mut problems);
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["telemetry.otlp_endpoint", "telemetry.max_traces_per_second"]);
    }
}
