//! The admin server over real HTTP.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use spillway_shared::admin::{About, AdminServer, Check, Metrics, Readiness};
use spillway_shared::listen;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn start(readiness: Readiness) -> SocketAddr {
    let listener = listen::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let about = About {
        name: "spillway",
        version: "0.1.0",
        role: "gateway".to_owned(),
        addresses: BTreeMap::from([("grpc".to_owned(), "127.0.0.1:50051".to_owned())]),
        pid: 17,
        started_at: "2026-11-21T14:00:00Z".to_owned(),
        config: json!({"partitions": 1}),
        boot_id: String::new(),
    };
    let server = AdminServer::new(listener, about, readiness, figures());
    let addr = server.local_addr().expect("bound");
    tokio::spawn(server.run(pending(), Duration::ZERO));
    addr
}

fn figures() -> Metrics {
    Arc::new(|| "spillway_things_total 7\n".to_owned())
}

async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, body.to_owned())
}

async fn ready(addr: SocketAddr) -> (u16, Value) {
    let (status, body) = get(addr, "/ready").await;
    (status, serde_json::from_str(&body).expect("JSON"))
}

#[tokio::test]
async fn ready_names_every_check_and_only_the_needed_ones_count() {
    let (ledger, latest) = watch::channel(Err("opening".to_owned()));
    let jetstream = Check::asked("jetstream", || async { Err("not connected".to_owned()) }).only_told();
    let readiness = Readiness::new([Check::watched("ledger", latest), jetstream]);
    let addr = start(readiness.clone());
    let (status, body) = ready(addr).await;
    assert_eq!(status, 503);
    assert_eq!(
        body,
        json!({"ready": false, "draining": false, "checks": [
            {"name": "ledger", "ok": false, "needed": true, "problem": "opening"},
            {"name": "jetstream", "ok": false, "needed": false, "problem": "not connected"},
        ]})
    );
    ledger.send(Ok(())).expect("watched");
    let (status, body) = ready(addr).await;
    assert_eq!((status, &body["ready"]), (200, &json!(true)));
    readiness.drain();
    let (status, body) = ready(addr).await;
    assert_eq!((status, &body["ready"], &body["draining"]), (503, &json!(false), &json!(true)));
}

#[tokio::test]
async fn a_check_that_hangs_is_a_check_that_fails() {
    let addr = start(Readiness::new([Check::asked("ledger", pending)]));
    let (status, body) = ready(addr).await;
    assert_eq!(status, 503);
    assert_eq!(body["checks"][0]["problem"], "no answer within 800 ms");
}

#[tokio::test]
async fn health_depends_on_no_check_and_info_tells_what_runs() {
    let addr = start(Readiness::new([Check::asked("ledger", pending)]));
    assert_eq!(get(addr, "/health").await, (200, "alive\n".to_owned()));
    let (status, body) = get(addr, "/info").await;
    assert_eq!(status, 200);
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let expected = json!({
        "name": "spillway", "version": "0.1.0", "role": "gateway", "addresses": {"grpc": "127.0.0.1:50051"},
        "pid": 17, "boot_id": "",
        "started_at": "2026-11-21T14:00:00Z", "config": {"partitions": 1},
    });
    assert_eq!(body, expected);
    assert_eq!(get(addr, "/metrics").await, (200, "spillway_things_total 7\n".to_owned()));
    assert_eq!(get(addr, "/nothing").await.0, 404);
}

#[tokio::test]
async fn it_stops_when_told_although_a_connection_rests() {
    let listener = listen::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let about = About {
        name: "spillway",
        version: "0.1.0",
        role: "audit".to_owned(),
        addresses: BTreeMap::new(),
        pid: 17,
        started_at: "2026-11-21T14:00:00Z".to_owned(),
        config: json!({"partitions": 1}),
        boot_id: String::new(),
    };
    let server = AdminServer::new(listener, about, Readiness::new([]), figures());
    let addr = server.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        stopped.await.unwrap_or_default();
    };
    let running = tokio::spawn(server.run(shutdown, PATIENCE));
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("open");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    stop.send(()).expect("it runs");
    let drained = timeout(PATIENCE / 2, running).await.expect("at once").expect("no panic");
    assert_eq!((drained.open, drained.cut), (1, 0));
}
