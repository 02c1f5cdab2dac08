//! Where traces go, and how many: the configuration. What is in force is in [`super::settings`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Problem, Validate, join};

/// Where traces go, and how many. The standard `OTEL_*` variables win: docs/traces.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Where traces are sent over OTLP: `http://host:4317` for gRPC, `http://host:4318` for HTTP; with `https://` over TLS.
    /// Empty: nowhere.
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

/// The address that an endpoint is.
///
/// # Errors
/// What is wrong with it, where it is no address of a receiver.
pub(super) fn check_endpoint(endpoint: &str) -> Result<http::Uri, String> {
    let uri: http::Uri = endpoint.parse().map_err(|_| format!("{endpoint:?} is no address"))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        Some(_) | None => Err(format!("{endpoint:?} is no http:// or https:// address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_told() {
        let told = |endpoint: &str, max_traces_per_second| {
            let mut problems = Vec::new();
            let config = TelemetryConfig { otlp_endpoint: endpoint.into(), max_traces_per_second };
            config.problems("telemetry", &mut problems);
            problems.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
        };
        assert_eq!(told("ftp://a", 0), ["telemetry.otlp_endpoint", "telemetry.max_traces_per_second"]);
        assert_eq!(told("a:4317", 1), ["telemetry.otlp_endpoint"]);
        for endpoint in ["", "http://a:4317", "https://a:4318"] {
            assert_eq!(told(endpoint, 1), [""; 0], "{endpoint}");
        }
    }
}
