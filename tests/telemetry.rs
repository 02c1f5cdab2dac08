//! Rules, dashboards and traces against their real consumers: Prometheus, promtool, Jaeger. `tests/telemetry/run` runs what
//! is ignored here; `cargo test` alone needs none of them.

#[path = "telemetry/boards.rs"]
mod boards;
#[path = "telemetry/drills.rs"]
mod drills;
#[path = "telemetry/prometheus.rs"]
mod prometheus;
#[path = "telemetry/rules.rs"]
mod rules;
mod support;
#[path = "support/tls.rs"]
mod tls;

use std::collections::BTreeSet;
use std::time::Duration;

use prometheus::Prometheus;
use serde_json::Value;
use spillway_proto::pb::orders::order::State;
use support::calls::{request, with_contact};
use support::{Options, PATIENCE, System, process, spillway, sums};
use tonic::Request;

/// Silence is looked for with times a tenth as long as shipped: what fires within minutes fires within seconds.
const HEALTHY: u32 = 10;

/// Checks that follow each other soon, and no refusals: how much a slow machine takes in is not the matter here.
const SOON: [&str; 4] = ["--set", "check.every_s=10", "--set", "gateway.admission.wait_ms=600000"];

/// Polls until something is there.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut every = tokio::time::interval(Duration::from_millis(200));
    let looked = async {
        loop {
            every.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// A little before the alert says so.
fn is_nearly_full(folder: &std::path::Path) -> bool {
    let disk = rustix::fs::statvfs(folder).expect("a disk");
    disk.f_bavail as f64 / (disk.f_blocks as f64) < 0.22
}

fn up(more: &[&str]) -> Options {
    let arguments = SOON.iter().chain(more).map(|argument| (*argument).to_owned()).collect();
    Options { arguments, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus: tests/telemetry/run"]
async fn in_a_healthy_run_with_load_no_alert_fires() {
    let system = System::start_with(up(&[])).await;
    let roles = support::roles::ROLES.map(|role| system.admin(role));
    let prometheus = Prometheus::start(&roles, HEALTHY).await;
    let (grpc, nats) = (format!("http://{}", system.address("grpc")), system.address("nats"));
    let load = ["load", "--address", &grpc, "--nats-url", &nats, "--rate", "8", "--duration", "60", "--output", "json"];
    let (code, out, err) = process::output(spillway(), &load, system.folder()).await;
    assert_eq!(code, 0, "{out}{err}");
    let confirmed = system.every_order().await.iter().filter(|order| order.state() == State::Confirmed).count();
    assert!(confirmed > 300, "{confirmed} orders are confirmed");
    prometheus.until_data("spillway_check_last_success_timestamp_seconds").await;
    prometheus.until_data("spillway:order_ends_late:ratio_rate3d < 0.01").await;
    prometheus.until_data("spillway:accepts_failed:ratio_rate3d < 0.001").await;
    let mut fired = prometheus.query(r#"max_over_time(ALERTS{alertstate="firing"}[10m])"#).await;
    if is_nearly_full(&system.data()) {
        eprintln!("the disk of this machine is nearly full: SpillwayDiskFilling is right");
        fired.retain(|alert| alert["metric"]["alertname"] != "SpillwayDiskFilling");
    }
    assert!(fired.is_empty(), "{fired:#?}\n{}", system.log());
    // The rules were evaluated: whoever breaks them is seen.
    let rules = prometheus.get("/api/v1/rules").await;
    let groups = rules["data"]["groups"].as_array().expect("groups");
    let alerts = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
    let bad: Vec<&Value> = alerts.filter(|rule| rule["health"] != "ok").collect();
    assert!(bad.is_empty() && groups.len() >= 7, "{bad:#?}");
    eprintln!("{confirmed} orders confirmed, nothing fired");
}

/// The ids of a trace that Jaeger has of a client's order, by service.
async fn spans(jaeger: &str, trace: &str) -> Vec<(String, String)> {
    let (status, body) = sums::get(&format!("{jaeger}/api/traces/{trace}")).await;
    if status != 200 {
        return Vec::new();
    }
    let found: Value = serde_json::from_str(&body).expect("JSON");
    let trace = &found["data"][0];
    let spans = trace["spans"].as_array().cloned().unwrap_or_default();
    let of = |span: &Value| {
        let process = span["processID"].as_str().expect("a process");
        let service = trace["processes"][process]["serviceName"].as_str().expect("a name");
        (service.to_owned(), span["operationName"].as_str().expect("a name").to_owned())
    };
    spans.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus and jaeger: tests/telemetry/run"]
async fn up_starts_prometheus_and_jaeger_wired_and_takes_them_along_when_it_is_killed() {
    let ports = ["--telemetry", "--prometheus-port", "0", "--jaeger-port", "0", "--otlp-port", "0"];
    let mut system = System::start_with(up(&ports)).await;
    let (prometheus, jaeger) = (system.address("prometheus"), system.address("jaeger"));
    until("all targets are up", async || {
        let (_, body) = sums::get(&format!("{prometheus}/api/v1/targets")).await;
        let targets: Value = serde_json::from_str(&body).ok()?;
        let targets = targets["data"]["activeTargets"].as_array()?.clone();
        (targets.len() == 6 && targets.iter().all(|target| target["health"] == "up")).then_some(())
    })
    .await;
    let (_, body) = sums::get(&format!("{prometheus}/api/v1/rules")).await;
    for alert in rules::alerts() {
        assert!(body.contains(&alert.name), "{} is not loaded", alert.name);
    }

    system.add_stock("tea", 10).await;
    let trace = uuid::Uuid::new_v4().simple().to_string();
    let mut order = Request::new(with_contact(request("tea", 1, "pm_ok"), "ada@example.com"));
    let parent = format!("00-{trace}-{}-01", &trace[..16]);
    order.metadata_mut().insert("traceparent", parent.parse().expect("a header"));
    let placed = system.orders().place_order(order).await.expect("accepted").into_inner().order.expect("an order");
    system.ended(&placed.order_id).await;
    let roles = support::roles::ROLES.map(|role| format!("spillway-{role}"));
    let all = until("one trace has spans of every role", async || {
        let spans = spans(&jaeger, &trace).await;
        let services: BTreeSet<&String> = spans.iter().map(|(service, _)| service).collect();
        roles.iter().all(|role| services.contains(role)).then_some(spans)
    })
    .await;
    eprintln!("{} spans of one order in Jaeger: {all:?}", all.len());

    let data = system.data().display().to_string();
    let beside = || prometheus::processes_of(&data).into_iter().filter(|it| it.contains("/telemetry/")).count();
    assert!(beside() >= 2, "{:?}", prometheus::processes_of(&data));
    system.kill().await;
    until("they are gone", async || (beside() == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn up_with_telemetry_and_neither_on_path_says_how_to_install_them_and_exits_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = [format!("PATH={}", folder.path().display()), spillway().display().to_string()];
    let arguments: Vec<&str> = program.iter().map(String::as_str).chain(["up", "--ephemeral", "--telemetry"]).collect();
    let (code, out, err) = process::output("/usr/bin/env".as_ref(), &arguments, folder.path()).await;
    assert_eq!(code, 3, "{out}{err}");
    assert!(err.contains("apt-get install prometheus") && err.contains("jaegertracing.io"), "{err}");
}
