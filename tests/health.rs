//! What each role tells of itself at its admin port, and what the doctor makes of it.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use spillway_natsd::testing::TestServer;
use support::calls::request;
use support::process::Process;
use support::roles::{ROLES, Roles};
use support::{PATIENCE, System, spillway, sums};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

async fn json(role: &str, system: &System, path: &str) -> (u16, Value) {
    let (status, body) = sums::get(&format!("http://{}{path}", system.admin(role))).await;
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{role} {path}: {error} in {body}")))
}

/// Names of the checks in `/ready`, with whether each is needed.
fn checks(body: &Value) -> Vec<(String, bool)> {
    let checks = body["checks"].as_array().expect("checks");
    checks.iter().map(|check| (check["name"].as_str().expect("a name").to_owned(), check["needed"] == true)).collect()
}

/// The doctor's findings and its exit code.
async fn doctor(system: &System, more: &[String]) -> (i32, Vec<Value>) {
    let mut arguments: Vec<String> = vec!["--output".into(), "json".into()];
    arguments.extend(["--set".into(), format!("data={}", system.data().display())]);
    for role in ROLES {
        arguments.extend(["--set".into(), format!("admin.{role}={}", system.admin(role))]);
    }
    arguments.extend(["--set".into(), format!("provider.admin={}", system.admin("provider")), "doctor".into()]);
    arguments.extend_from_slice(more);
    let (code, out, err) = system.verb(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

fn finding<'f>(findings: &'f [Value], what: &str) -> (&'f str, &'f str) {
    let found = findings.iter().find(|finding| finding["what"] == what);
    let found = found.unwrap_or_else(|| panic!("nothing about {what} in {findings:?}"));
    (found["verdict"].as_str().expect("a verdict"), found["found"].as_str().expect("text"))
}

/// An admin port whose role is of another version.
async fn of_another_version() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            let read = stream.read(&mut asked).await.unwrap_or_default();
            let body = match String::from_utf8_lossy(&asked[..read]).split(' ').nth(1) {
                Some("/info") => r#"{"name":"spillway","version":"9.9.9","role":"payments","config":{"partitions":2}}"#,
                Some("/ready") => r#"{"ready":true,"draining":false,"checks":[]}"#,
                _ => "alive",
            };
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            // Whoever asked may be gone.
            let _answered = stream.write_all(answer.as_bytes()).await;
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_tells_who_it_is_what_it_needs_and_whether_it_has_it() {
    let mut all = Roles::start(&["--set", "check.every_s=3600"]).await;
    for role in ROLES {
        let (status, about) = json(role, &all, "/info").await;
        assert_eq!((status, about["name"].as_str(), about["role"].as_str()), (200, Some("spillway"), Some(role)));
        assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
        about["started_at"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339");
        assert_eq!(about["addresses"]["admin"], all.admin(role));
        assert_eq!(
            (&about["config"]["partitions"], &about["config"]["log"]["max_lines_per_second"]),
            (&1.into(), &200.into())
        );
        let (status, body) = json(role, &all, "/ready").await;
        assert_eq!(status, 200, "{body}");
        let names = checks(&body);
        assert!(names.contains(&("ledger".to_owned(), true)), "{role}: {names:?}");
        assert!(names.contains(&("jetstream".to_owned(), role != "gateway")), "{role}: {names:?}");
        assert!(names.contains(&("stream".to_owned(), role != "gateway")), "{role}: {names:?}");
        let listens = names.iter().filter(|(name, needed)| name == "consumer" && *needed).count();
        let hears = role.parse::<spillway_proto::Ledger>().expect("a ledger").hears().len();
        assert_eq!(listens, hears, "{role}: {names:?}");
        assert_eq!(sums::get(&format!("http://{}/health", all.admin(role))).await.0, 200);
    }
    for (key, services) in [
        ("grpc", &["", "spillway.orders.v1.OrderService", "spillway.inventory.v1.InventoryService"][..]),
        (
            "ops",
            &["", "spillway.ops.v1.FlowService", "spillway.ops.v1.AuditService", "spillway.ops.v1.DeadLetterService"],
        ),
    ] {
        let endpoint =
            tonic::transport::Endpoint::from_shared(format!("http://{}", all.address(key))).expect("an address");
        let mut health = HealthClient::new(endpoint.connect_lazy());
        for service in services {
            let answer = health.check(HealthCheckRequest { service: (*service).to_owned() }).await.expect("known");
            assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
        }
        let unknown = health.check(HealthCheckRequest { service: "no.such.Service".to_owned() }).await;
        assert_eq!(unknown.expect_err("unknown").code(), tonic::Code::NotFound);
    }

    let (code, findings) = doctor(&all, &[]).await;
    assert_eq!(code, 0, "{findings:?}");
    for role in ROLES.into_iter().chain(["provider"]) {
        let (verdict, found) = finding(&findings, &format!("role {role}"));
        assert!(verdict == "ok" && found.starts_with("ready") && found.contains(env!("CARGO_PKG_VERSION")), "{found}");
    }
    let other = of_another_version().await;
    let (code, findings) = doctor(&all, &["--admin".to_owned(), other.to_string()]).await;
    assert_eq!(code, 3, "{findings:?}");
    let (verdict, found) = finding(&findings, "versions");
    assert!(verdict == "warning" && found.contains("9.9.9: payments"), "{found}");
    assert_eq!(finding(&findings, "partitions").0, "problem");

    // Without JetStream the workers are not ready; the gateway is, and says so all the same.
    all.nats.kill().await;
    all.until_readiness("orders", 503).await;
    let (status, body) = json("gateway", &all, "/ready").await;
    assert_eq!(status, 200, "{body}");
    let (_, findings) = doctor(&all, &[]).await;
    let (verdict, found) = finding(&findings, "role orders");
    assert!(verdict == "problem" && found.contains("jetstream: not connected to nats"), "{found}");
    assert_eq!(json("orders", &all, "/info").await.0, 200);
    assert_eq!(sums::get(&format!("http://{}/health", all.admin("orders"))).await.0, 200, "it lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_drains_is_not_ready_at_once_and_one_that_is_gone_is_told() {
    let mut all = Roles::start(&["--set", "payments.breaker.failures=1000000"]).await;
    all.add_stock("tea", 10).await;
    // A charge that takes its time keeps payments from ending.
    let (status, body) = sums::post(&format!("{}/sandbox/mode", all.address("provider")), r#"{"delay_ms":6000}"#).await;
    assert_eq!(status, 200, "{body}");
    let order = all.place(request("tea", 1, "pm_ok")).await;
    all.until_provider_is_asked().await;
    all.signal("payments", Signal::TERM);
    all.until_readiness("payments", 503).await;
    let (_, body) = all.readiness("payments").await;
    assert_eq!(body["draining"], true, "{body}");
    let (_, findings) = doctor(&all, &[]).await;
    let (verdict, found) = finding(&findings, "role payments");
    assert!(verdict == "warning" && found.contains("draining"), "{found}");
    assert_eq!(all.ended_role("payments").await.code, Some(0));
    let (code, findings) = doctor(&all, &[]).await;
    assert!(finding(&findings, "roles").1.contains("no answer from payments"), "{code} {findings:?}");
    all.restart("payments").await;
    all.ended(&order.order_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_whose_stream_finds_no_room_says_why_it_is_not_ready() {
    let nats = TestServer::start_with(|server| server.max_file_store = Some(64_000_000)).await;
    let mut system = System::without_process();
    let data = system.data().display().to_string();
    let url = nats.client_url();
    let arguments = ["run", "audit", "--output", "json", "--data", &data, "--admin", "127.0.0.1:0", "--nats-url", &url];
    let arguments = arguments.map(str::to_owned);
    let mut audit = Process::start_in(spillway(), &arguments, system.folder(), &[]).await;
    let said = audit.first_line_json().await;
    system.place = serde_json::json!({ "admin": { "audit": said["addresses"]["admin"] } });
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let told = async {
        loop {
            every.tick().await;
            let (status, body) = json("audit", &system, "/ready").await;
            assert_eq!(status, 503, "{body}");
            let checks = body["checks"].as_array().expect("checks").iter();
            let stream = checks.filter(|check| check["name"] == "stream").find_map(|check| check["problem"].as_str());
            let words = ["spillway-audit-0", "insufficient storage", "nats.stream.max_bytes (1073741824 bytes)"];
            if words.iter().all(|word| stream.is_some_and(|why| why.contains(word))) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it says why");
    audit.stop().await;
}
