//! What is in force: the standard variables, which win, and the configuration.

use std::time::Duration;

use opentelemetry_sdk::trace::{Sampler, ShouldSample};

use super::config::TelemetryConfig;
use super::destination::Destination;
use super::limits::Limits;
use super::variables::{Said, Variables};

/// Which traces are sampled.
pub(super) enum Sampling {
    /// All at rest, a bounded number under load.
    Bounded,
    /// As `OTEL_TRACES_SAMPLER` says.
    Standard(Box<dyn ShouldSample>),
}

/// How spans are gathered before they leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batching {
    /// Spans that wait to be exported, at most.
    pub queue: usize,
    /// Spans of one export, at most.
    pub batch: usize,
    /// Between two exports, where no batch is full before.
    pub delay: Duration,
    /// For one export, whatever is done in it.
    pub timeout: Duration,
}

/// What is in force.
pub(super) struct Settings {
    pub to: Destination,
    pub sampling: Sampling,
    pub batching: Batching,
    pub limits: Limits,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    pub attributes: Vec<(String, String)>,
    /// What is set and changes nothing, and why.
    pub without_effect: Vec<String>,
}

/// A day: nobody waits longer.
const LONGEST_MS: u64 = 86_400_000;

/// A batch and a queue are kept in memory.
const MOST_SPANS: usize = 1_000_000;

/// Standard variables that have nothing to say here.
const WITHOUT_EFFECT: [(&str, &str); 7] = [
    ("OTEL_LOG_LEVEL", "log.level says how much is logged"),
    ("OTEL_CONFIG_FILE", "a configuration in YAML is not read"),
    ("OTEL_EXPERIMENTAL_CONFIG_FILE", "a configuration in YAML is not read"),
    ("OTEL_ENTITIES", "OTEL_RESOURCE_ATTRIBUTES is read"),
    ("OTEL_EXPORTER_PROMETHEUS_HOST", "each role's admin listener has /metrics"),
    ("OTEL_EXPORTER_PROMETHEUS_PORT", "each role's admin listener has /metrics"),
    ("OTEL_BSP_MAX_CONCURRENT_EXPORTS", "one export follows the other"),
];

impl Settings {
    /// By the variables, then by the configuration. None where nothing is to be exported.
    ///
    /// # Errors
    /// Everything that cannot be used, each with its variable.
    pub fn read(
        config: &TelemetryConfig,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Settings>, String> {
        let mut variables = Variables::new(&variable);
        if variables.said("OTEL_SDK_DISABLED").is_some_and(|said| said.name() == "true") {
            return Ok(None);
        }
        let is_asked_for = match variables.said("OTEL_TRACES_EXPORTER") {
            None => false,
            Some(said) if said.name() == "none" => return Ok(None),
            Some(said) if said.name() == "otlp" => true,
            Some(said) => {
                variables.wrong(&said, "there are otlp and none");
                true
            }
        };
        let Some(to) = Destination::read(config, is_asked_for, &mut variables) else {
            return variables.finish().map(|()| None);
        };
        let settings = Settings {
            sampling: sampling(&mut variables),
            batching: batching(&mut variables),
            limits: Limits::read(&mut variables),
            service_name: variables.said("OTEL_SERVICE_NAME").map(|said| said.value),
            attributes: variables
                .said("OTEL_RESOURCE_ATTRIBUTES")
                .map(|said| variables.pairs(&said))
                .unwrap_or_default(),
            without_effect: without_effect(&to, &variables),
            to,
        };
        variables.finish().map(|()| Some(settings))
    }
}

fn batching(variables: &mut Variables<'_>) -> Batching {
    let size = |variables: &mut Variables<'_>, name: &str, default| {
        let said = variables.said(name);
        variables.number(said, 1..=MOST_SPANS).unwrap_or(default)
    };
    let (queue, batch) =
        (size(variables, "OTEL_BSP_MAX_QUEUE_SIZE", 2048), size(variables, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512));
    let mut after = |name: &str, default| {
        let said = variables.said(name);
        milliseconds(variables, said).unwrap_or(Duration::from_millis(default))
    };
    let (delay, timeout) = (after("OTEL_BSP_SCHEDULE_DELAY", 5_000), after("OTEL_BSP_EXPORT_TIMEOUT", 30_000));
    Batching { queue, batch: batch.min(queue), delay, timeout }
}

/// A time of at least a millisecond.
pub(super) fn milliseconds(variables: &mut Variables<'_>, said: Option<Said>) -> Option<Duration> {
    variables.number(said, 1..=LONGEST_MS).map(Duration::from_millis)
}

fn sampling(variables: &mut Variables<'_>) -> Sampling {
    let Some(said) = variables.said("OTEL_TRACES_SAMPLER") else { return Sampling::Bounded };
    let name = said.name();
    let (is_parent_based, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name.as_str()),
    };
    let root = match root {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => {
            let ratio = variables.said("OTEL_TRACES_SAMPLER_ARG");
            Sampler::TraceIdRatioBased(variables.number(ratio, 0.0..=1.0).unwrap_or(1.0))
        }
        _ => {
            variables.wrong(&said, "there are always_on, always_off, traceidratio and each after parentbased_");
            return Sampling::Bounded;
        }
    };
    Sampling::Standard(if is_parent_based { Box::new(Sampler::ParentBased(Box::new(root))) } else { Box::new(root) })
}

fn without_effect(to: &Destination, variables: &Variables<'_>) -> Vec<String> {
    let set = |name: &str| variables.said(name).is_some();
    let told = |(name, why): (&str, &str)| format!("{name} has no effect: {why}");
    let mut all: Vec<String> = WITHOUT_EFFECT.into_iter().filter(|(name, _)| set(name)).map(told).collect();
    let elsewhere = [
        ("OTEL_METRICS_EXPORTER", "prometheus", "metrics are scraped"),
        ("OTEL_LOGS_EXPORTER", "console", "logs are written, not sent"),
    ];
    for (name, here, why) in elsewhere {
        let other = variables.said(name).filter(|said| ![here, "none"].contains(&said.name().as_str()));
        all.extend(other.map(|said| format!("{name} {:?} has no effect: {why}", said.value)));
    }
    let propagators = variables.said("OTEL_PROPAGATORS").map(|said| said.name()).unwrap_or_default();
    let is_spoken = |name: &&str| ["", "tracecontext", "baggage"].contains(name);
    let others: Vec<&str> = propagators.split(',').map(str::trim).filter(|name| !is_spoken(name)).collect();
    if !others.is_empty() {
        let why = "has no effect: tracecontext is spoken, and it alone";
        all.push(format!("{} in OTEL_PROPAGATORS {why}", others.join(",")));
    }
    all.extend(to.without_effect.iter().map(|name| format!("{name} has no effect: the way there is not encrypted")));
    all
}

#[cfg(test)]
mod tests {
    use super::super::destination::Wire;
    use super::*;

    fn read(endpoint: &str, variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let config = TelemetryConfig { otlp_endpoint: endpoint.into(), ..TelemetryConfig::default() };
        Settings::read(&config, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn usable(variables: &[(&str, &str)]) -> Settings {
        read("http://a:4317", variables).expect("sound").expect("on")
    }

    fn place(endpoint: &str, variables: &[(&str, &str)]) -> Option<(String, Wire)> {
        read(endpoint, variables).expect("sound").map(|settings| (settings.to.address, settings.to.wire))
    }

    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

    #[test]
    fn nothing_is_exported_unless_somebody_says_where() {
        assert_eq!(place("", &[]), None);
        assert_eq!(place("", &[(ENDPOINT, " ")]), None);
        for off in [("OTEL_SDK_DISABLED", "True"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(place("http://a:4317", &[off]), None);
        }
        assert_eq!(place("http://a:4317", &[]), Some(("http://a:4317".into(), Wire::Grpc)));
        assert_eq!(place("http://a:4318", &[]), Some(("http://a:4318/v1/traces".into(), Wire::HttpProtobuf)));
        // Whoever asks for it by name gets what the standard has for nothing said.
        let asked = ("OTEL_TRACES_EXPORTER", "otlp");
        assert_eq!(place("", &[asked]), Some(("http://localhost:4317".into(), Wire::Grpc)));
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        assert_eq!(place("", &[asked, http]), Some(("http://localhost:4318/v1/traces".into(), Wire::HttpProtobuf)));
    }

    #[test]
    fn the_standard_variables_win() {
        let variables = [(ENDPOINT, "https://b:4318/"), (OF_TRACES, "http://c:1/here")];
        let general = Some(("https://b:4318/v1/traces".into(), Wire::HttpProtobuf));
        assert_eq!(place("http://a:4317", &variables[..1]), general);
        assert_eq!(place("http://a:4317", &variables), Some(("http://c:1/here".into(), Wire::Grpc)));
        let http = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        assert_eq!(place("http://a:1/x", &[http]), Some(("http://a:1/x/v1/traces".into(), Wire::HttpProtobuf)));
        // What is said of traces is taken as it is.
        assert_eq!(place("", &[http, variables[1]]), Some(("http://c:1/here".into(), Wire::HttpProtobuf)));
    }

    #[test]
    fn without_a_scheme_grpc_is_encrypted_unless_it_may_be_insecure() {
        assert_eq!(place("", &[(ENDPOINT, "b:4317")]), Some(("https://b:4317".into(), Wire::Grpc)));
        let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
        assert_eq!(place("", &[(ENDPOINT, "b:4317"), insecure]), Some(("http://b:4317".into(), Wire::Grpc)));
        assert_eq!(place("", &[(ENDPOINT, "https://b"), insecure]), Some(("https://b".into(), Wire::Grpc)));
        assert!(read("", &[(ENDPOINT, "b:4318"), insecure]).is_err_and(|why| why.contains("http/protobuf")));
    }

    #[test]
    fn what_is_said_is_in_force() {
        let plain = usable(&[]);
        let usual =
            Batching { queue: 2048, batch: 512, delay: Duration::from_secs(5), timeout: Duration::from_secs(30) };
        assert_eq!((plain.batching, plain.to.timeout), (usual, Duration::from_secs(10)));
        assert_eq!((plain.to.is_compressed, plain.to.headers.len(), plain.without_effect.len()), (false, 0, 0));
        let said = usable(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "30"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "40"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "GZIP"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-a=b%20c,authorization=Bearer 100%25"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b%2Cc"),
            ("OTEL_SERVICE_NAME", "shop"),
            ("OTEL_TRACES_SAMPLER", "ParentBased_TraceIdRatio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
        ]);
        let [delay, timeout, to_the_receiver] = [20, 30, 40].map(Duration::from_millis);
        assert_eq!(said.batching, Batching { queue: 7, batch: 7, delay, timeout });
        assert_eq!((said.to.timeout, said.to.is_compressed), (to_the_receiver, true));
        let headers: Vec<_> = said.to.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("x-a", &b"b c"[..]), ("authorization", b"Bearer 100%")]);
        assert_eq!(said.attributes, [("a".to_owned(), "b,c".to_owned())]);
        assert_eq!(said.service_name.as_deref(), Some("shop"));
        assert!(matches!(said.sampling, Sampling::Standard(_)));
    }

    #[test]
    fn what_cannot_be_used_is_told_by_its_name() {
        for (name, value) in [
            (ENDPOINT, "unix:///tmp/x"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_TRACES_SAMPLER", "parentbased_jaeger_remote"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", "-1"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=%f"),
        ] {
            let told = read("http://a:4317", &[(name, value)]).map(|_| ()).expect_err(name);
            assert!(told.contains(name), "{name}={value}: {told}");
        }
        let (ratio, argument) = (("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2"));
        let told = read("", &[ratio, argument, (ENDPOINT, "ftp://a:hush@b")]).map(|_| ()).expect_err("two are wrong");
        assert!(told.contains(argument.0) && told.contains(ENDPOINT), "{told}");
        assert!(!told.contains("hush"), "{told}");
    }

    #[test]
    fn what_is_set_and_changes_nothing_is_told() {
        let told = usable(&[
            ("OTEL_LOG_LEVEL", "debug"),
            ("OTEL_PROPAGATORS", "tracecontext, B3,baggage"),
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere"),
        ]);
        let names: Vec<_> = told.without_effect.iter().filter_map(|line| line.split(" has no effect").next()).collect();
        let wanted = [
            "OTEL_LOG_LEVEL",
            "OTEL_METRICS_EXPORTER \"otlp\"",
            "b3 in OTEL_PROPAGATORS",
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn a_certificate_is_nothing_without_its_key() {
        let alone = [(ENDPOINT, "https://b:4317"), ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/c.pem")];
        let told = read("", &alone).map(|_| ()).expect_err("no key");
        assert!(told.contains(alone[1].0) && told.contains("OTEL_EXPORTER_OTLP_CLIENT_KEY"), "{told}");
        let key = ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem");
        let both = read("", &[alone[0], alone[1], key]).expect("sound").expect("on");
        assert!(both.to.trust.is_some() && both.without_effect.is_empty());
        assert!(read("", &[alone[0], key]).is_err_and(|told| told.contains(key.0)));
    }
}
