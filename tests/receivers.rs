//! What traces are sent to, and how: over TLS and without, by gRPC and by HTTP, as the standard variables say. A gateway
//! alone is enough for it: nobody needs to hear of its orders.

#[path = "receivers/authority.rs"]
mod authority;
mod support;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "certificates are made by an authority here")]
mod tls;

use std::path::Path;
use std::time::Duration;

use authority::Authority;
use serde_json::json;
use support::calls::request;
use support::otlp::Receiver;
use support::process::{self, Process};
use support::{PATIENCE, System, spillway};
use tls::Https;
use tokio::net::TcpListener;

const WIRES: [&str; 2] = ["grpc", "http/protobuf"];

/// A gateway that is alone.
struct Gateway {
    system: System,
    process: Process,
}

type Variables = Vec<(String, String)>;

/// By what follows `OTEL_`.
fn variables(set: &[(&str, &str)]) -> Variables {
    set.iter().map(|(name, value)| (format!("OTEL_{name}"), (*value).to_owned())).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

impl Gateway {
    async fn start(wire: &str, endpoint: &str, more: Variables) -> Gateway {
        let mut system = System::without_process();
        let data = system.data().display().to_string();
        let any = "127.0.0.1:0";
        let arguments = ["run", "gateway", "--output", "json", "--data", &data, "--admin", any, "--listen", any];
        // Nobody listens there.
        let alone = ["--ops-listen", any, "--nats-url", "nats://127.0.0.1:1"];
        let arguments: Vec<String> = arguments.into_iter().chain(alone).map(str::to_owned).collect();
        let usual =
            [("EXPORTER_OTLP_PROTOCOL", wire), ("EXPORTER_OTLP_ENDPOINT", endpoint), ("BSP_SCHEDULE_DELAY", "50")];
        let environment = [variables(&usual), more].concat();
        let mut process = Process::start_in(spillway(), &arguments, system.folder(), &environment).await;
        let at = process.first_line_json().await["addresses"].clone();
        system.place = json!({ "grpc": at["grpc"], "admin": { "gateway": at["admin"] } });
        Gateway { system, process }
    }

    /// An order is accepted, whatever becomes of its spans.
    async fn place(&self) {
        self.system.place(request("tea", 1, "pm_ok")).await;
    }

    async fn spans(&self, outcome: &str) -> u64 {
        let label = format!("outcome=\"{outcome}\"");
        self.system.counted("gateway", "spillway_trace_spans_total", &[&label]).await
    }

    async fn until_more(&self, outcome: &str, than: u64) {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        let asked = async {
            while self.spans(outcome).await <= than {
                every.tick().await;
            }
        };
        let counted = tokio::time::timeout(PATIENCE, asked).await;
        counted.unwrap_or_else(|_| panic!("never more {outcome} than {than}:\n{}", self.system.log()));
    }

    /// The lines that say that spans are not exported.
    fn told(&self) -> Vec<String> {
        let log = self.system.log();
        log.lines().filter(|line| line.contains("spans are not exported")).map(str::to_owned).collect()
    }

    async fn stop(self) {
        self.process.stop().await;
    }
}

/// The span of an order comes.
async fn placed(receiver: &Receiver, wire: &str, endpoint: &str, more: Variables) {
    let gateway = Gateway::start(wire, endpoint, more).await;
    gateway.place().await;
    receiver.until_any(&format!("by {wire}"), |span| span.name.ends_with("/PlaceOrder")).await;
    gateway.until_more("exported", 0).await;
    assert_eq!((gateway.spans("failed").await, gateway.told().len()), (0, 0));
    gateway.stop().await;
}

/// No span comes, that is counted, and told once with this reason.
async fn refused(receiver: &Receiver, wire: &str, endpoint: &str, more: Variables, reason: &str) {
    let gateway = Gateway::start(wire, endpoint, more).await;
    let mut failed = 0;
    for _ in 0..3 {
        gateway.place().await;
        gateway.until_more("failed", failed).await;
        failed = gateway.spans("failed").await;
    }
    let told = gateway.told();
    assert_eq!((receiver.seen().len(), gateway.spans("exported").await, told.len()), (0, 0, 1), "{told:?}");
    assert!(told[0].contains(reason), "{wire}: {}", told[0]);
    gateway.stop().await;
}

/// A receiver of its own behind TLS.
async fn receiver(authority: &Authority, name: &str, lets_in: Option<&Authority>) -> (Receiver, Https) {
    let receiver = Receiver::start().await;
    let https = tls::serve(receiver.address, authority.server(name, lets_in)).await;
    (receiver, https)
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_go_over_tls_to_whom_the_system_or_a_variable_trusts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, other) = (Authority::new("own", folder.path()), Authority::new("other", folder.path()));
    let nobody = ("SSL_CERT_FILE".to_owned(), text(&other.file).to_owned());
    for wire in WIRES {
        let system = vec![("SSL_CERT_FILE".to_owned(), text(&own.file).to_owned())];
        let general = [variables(&[("EXPORTER_OTLP_CERTIFICATE", text(&own.file))]), vec![nobody.clone()]].concat();
        let of_traces = variables(&[
            ("EXPORTER_OTLP_CERTIFICATE", text(&other.file)),
            ("EXPORTER_OTLP_TRACES_CERTIFICATE", text(&own.file)),
        ]);
        for trust in [system, general, of_traces] {
            let (receiver, https) = receiver(&own, "localhost", None).await;
            placed(&receiver, wire, &https.url, trust).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_not_trusted_gets_nothing_and_orders_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, other) = (Authority::new("own", folder.path()), Authority::new("other", folder.path()));
    for wire in WIRES {
        let (stranger, https) = receiver(&other, "localhost", None).await;
        let trust = variables(&[("EXPORTER_OTLP_CERTIFICATE", text(&own.file))]);
        refused(&stranger, wire, &https.url, trust.clone(), "UnknownIssuer").await;
        // Signed by whom is trusted, for somebody else.
        let (somebody, https) = receiver(&own, "elsewhere.example", None).await;
        refused(&somebody, wire, &https.url, trust, "not valid for name").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_a_certificate_is_shown_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = Authority::new("own", folder.path());
    let trust = [("EXPORTER_OTLP_CERTIFICATE", text(&own.file))];
    let files = own.files("spillway", folder.path());
    let [certificate, key] = files.each_ref().map(|file| text(file));
    for (wire, of) in WIRES.into_iter().zip(["", "TRACES_"]) {
        let (receiver, https) = receiver(&own, "localhost", Some(&own)).await;
        // Whether its alert or its hanging up is seen first is not said.
        refused(&receiver, wire, &https.url, variables(&trust), "error").await;
        let names = ["CERTIFICATE", "KEY"].map(|what| format!("EXPORTER_OTLP_{of}CLIENT_{what}"));
        let shown = variables(&[(&names[0], certificate), (&names[1], key)]);
        placed(&receiver, wire, &https.url, [variables(&trust), shown].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_headers_and_limits_reach_the_receiver() {
    for (wire, encoding, of) in [(WIRES[0], "grpc-encoding", ""), (WIRES[1], "content-encoding", "TRACES_")] {
        let receiver = Receiver::start().await;
        let compression = format!("EXPORTER_OTLP_{of}COMPRESSION");
        let said = variables(&[
            (&compression, "gzip"),
            ("EXPORTER_OTLP_HEADERS", "x-shop=ada%2Cgrace,authorization=Bearer hush"),
            // What is empty is not set.
            ("EXPORTER_OTLP_TRACES_HEADERS", ""),
            ("SERVICE_NAME", "door"),
            ("RESOURCE_ATTRIBUTES", "shop.city=Z%C3%BCrich,service.name=other"),
            ("ATTRIBUTE_VALUE_LENGTH_LIMIT", "3"),
        ]);
        placed(&receiver, wire, &receiver.endpoint, said).await;
        for headers in receiver.headers() {
            assert_eq!(headers[encoding], "gzip", "{wire}: {headers:?}");
            assert_eq!(
                (&headers["x-shop"], &headers["authorization"]),
                ((&"ada,grace".parse().expect("a value")), (&"Bearer hush".parse().expect("a value")))
            );
        }
        let spans = receiver.seen();
        let placed = spans.iter().find(|span| span.name.ends_with("/PlaceOrder")).expect("it came");
        assert_eq!((placed.service.as_str(), placed.resource["shop.city"].as_str()), ("door", "Zürich"));
        assert_eq!(placed.of("rpc.system.name"), "grp");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_takes_no_longer_than_it_may() {
    // It takes connections, and never answers.
    let hanging = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = hanging.local_addr().expect("bound").port();
    let folder = tempfile::tempdir().expect("a folder");
    let own = Authority::new("own", folder.path());
    let silent = Receiver::start().await;
    let receivers = "EXPORTER_OTLP_TIMEOUT";
    let ways = [
        (WIRES[0], "http", receivers),
        (WIRES[0], "https", "BSP_EXPORT_TIMEOUT"),
        (WIRES[1], "http", "BSP_EXPORT_TIMEOUT"),
        (WIRES[1], "https", receivers),
    ];
    for (wire, scheme, timeout) in ways {
        let said = [(timeout, "170"), ("EXPORTER_OTLP_CERTIFICATE", text(&own.file))];
        refused(&silent, wire, &format!("{scheme}://localhost:{port}"), variables(&said), "170ms").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_keeps_a_role_from_starting_and_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = Authority::new("own", folder.path());
    let [certificate, key] = own.files("spillway", folder.path());
    let [_, other_key] = own.files("other", folder.path());
    let (no_pem, nowhere) = (folder.path().join("no.pem"), folder.path().join("nowhere.pem"));
    std::fs::write(&no_pem, "certainly").expect("written");
    let broken = folder.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n").expect("written");
    let client = |certificate: &Path, key: &Path| {
        let said = [("CLIENT_CERTIFICATE", certificate), ("CLIENT_KEY", key)];
        said.map(|(name, file)| (name, text(file).to_owned())).to_vec()
    };
    let authority = |file: &Path| vec![("CERTIFICATE", text(file).to_owned())];
    for (said, told) in [
        (authority(&nowhere), "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        (authority(&no_pem), "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        (authority(&broken), "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        (client(&nowhere, &key), "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        (client(&certificate, &certificate), "OTEL_EXPORTER_OTLP_CLIENT_KEY"),
        (client(&certificate, &other_key), "OTEL_EXPORTER_OTLP_CLIENT_KEY"),
        (vec![("TRACES_COMPRESSION", "zstd".to_owned())], "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"),
    ] {
        let mut program = vec!["OTEL_EXPORTER_OTLP_ENDPOINT=https://localhost:1".to_owned()];
        program.extend(said.iter().map(|(name, value)| format!("OTEL_EXPORTER_OTLP_{name}={value}")));
        program.push(spillway().display().to_string());
        let data = folder.path().join("data").display().to_string();
        let any = "127.0.0.1:0";
        let run = ["run", "gateway", "--data", &data, "--admin", any, "--listen", any, "--ops-listen", any];
        let arguments: Vec<&str> = program.iter().map(String::as_str).chain(run).collect();
        let (code, out, err) = process::output("/usr/bin/env".as_ref(), &arguments, folder.path()).await;
        assert_eq!(code, 2, "{out}{err}");
        let line = err.lines().find(|line| line.contains(told)).unwrap_or_else(|| panic!("{told}: {err}"));
        eprintln!("{line}");
    }
}
