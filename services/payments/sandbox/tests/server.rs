//! The server itself: addresses, access, errors, its end.

mod support;

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::json;
use spillway_sandbox::{Sandbox, SandboxConfig, StartError};
use support::{config, start, start_in, start_with, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_address() {
    let (sandbox, folder) = start().await;
    let taken = sandbox.addresses.api;
    for (key, wrong) in
        [("listen", SandboxConfig { listen: taken, ..config() }), ("admin", SandboxConfig { admin: taken, ..config() })]
    {
        let error = Sandbox::bind(wrong, folder.path()).await.err().expect("the port is taken");
        assert!(matches!(error, StartError::Listen { address, .. } if address == taken));
        assert!(error.to_string().contains(&format!("{taken} ({key})")), "{error}");
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn a_file_of_another_version_is_not_touched() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    start_in(folder.path(), config()).await.stop().await;
    let file = folder.path().join("provider.db");
    let newer = rusqlite::Connection::open(&file).expect("the ledger's file");
    newer.pragma_update(None, "user_version", 2).expect("writable");
    drop(newer);
    let error = Sandbox::bind(config(), folder.path()).await.err().expect("an unknown version");
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[tokio::test]
async fn the_admin_listener_is_alive_ready_and_says_who_it_is() {
    let (sandbox, _folder) = start().await;
    assert_eq!(sandbox.admin("/health").await.status, StatusCode::OK);
    assert_eq!(sandbox.admin("/ready").await.status, StatusCode::OK);
    let info = sandbox.admin("/info").await.json();
    assert_eq!((&info["name"], &info["version"]), (&"spillway-provider".into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!(sandbox.admin("/v1/charges").await.status, StatusCode::NOT_FOUND);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_locked_ledger_is_not_ready_but_alive() {
    let (sandbox, folder) = start().await;
    let other = rusqlite::Connection::open(folder.path().join("provider.db")).expect("the file");
    other.execute_batch("BEGIN IMMEDIATE").expect("the write lock is free");
    assert_eq!(sandbox.admin("/ready").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(sandbox.admin("/health").await.status, StatusCode::OK);
    other.execute_batch("ROLLBACK").expect("it holds the lock");
    until("it is ready again", || async { sandbox.admin("/ready").await.status == StatusCode::OK }).await;
    sandbox.stop().await;
}

#[tokio::test]
async fn a_token_is_asked_for_at_the_api_and_leaves_no_attempt() {
    let token = Some("sesame".to_owned());
    let (sandbox, _folder) = start_with(SandboxConfig { token, ..config() }).await;
    let with = |authorization: &'static str| {
        let mut request = sandbox.charge_request("k", "pm_ok");
        request.headers_mut().insert("authorization", http::HeaderValue::from_static(authorization));
        request
    };
    let refused = sandbox.charge("k", "pm_ok").await;
    assert_eq!((refused.status, refused.error_code().as_str()), (StatusCode::UNAUTHORIZED, "unauthorized"));
    for wrong in ["Bearer sesam", "sesame", "Bearer sesame2"] {
        let refused = sandbox.send(with(wrong)).await.expect("an answer");
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    assert!(sandbox.ledger().await.is_empty());
    let told = sandbox.send(with("Bearer sesame")).await.expect("an answer");
    assert_eq!(told.status, StatusCode::CREATED);
    sandbox.stop().await;
}

#[tokio::test]
async fn every_wrong_parameter_is_told_at_once() {
    let (sandbox, _folder) = start().await;
    let body = r#"{"reference": "", "amount": 1.5, "currency": "EURO"}"#;
    let request = sandbox.request(Method::POST, "/v1/charges", None, body);
    let told = sandbox.send(request).await.expect("an answer");
    assert_eq!(told.status, StatusCode::BAD_REQUEST);
    let error = told.json()["error"].clone();
    assert_eq!((&error["type"], &error["code"]), (&"invalid_request".into(), &"invalid_params".into()));
    assert_eq!(error["param"], "Idempotency-Key");
    let message = error["message"].as_str().expect("a message");
    for param in ["Idempotency-Key", "payment_method", "reference", "amount", "currency"] {
        assert!(message.contains(param), "{message}");
    }
    assert_eq!(error["params"].as_array().map(Vec::len), Some(5));
    assert!(sandbox.ledger().await.is_empty());
    sandbox.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_told_so() {
    let (sandbox, _folder) = start().await;
    let large = format!(r#"{{"reference": "{}"}}"#, "x".repeat(20_000));
    for (method, path, body, http) in [
        (Method::GET, "/v1/nothing", "", 404),
        (Method::GET, "/v1/charges/ch_1", "", 404),
        (Method::GET, "/sandbox/nothing", "", 404),
        (Method::DELETE, "/v1/charges", "", 405),
        (Method::POST, "/v1/charges/ch_1", "", 405),
        (Method::GET, "/v1/charges", "", 400),
        (Method::GET, "/v1/refunds?ref=1", "", 400),
        (Method::POST, "/v1/charges", large.as_str(), 400),
    ] {
        let told = sandbox.send(sandbox.request(method, path, Some("k"), body)).await;
        let told = told.unwrap_or_else(|| panic!("no answer to {path}"));
        assert_eq!(told.status.as_u16(), http, "{path}");
        assert!(!told.error_code().is_empty(), "{path}");
    }
    let percent = sandbox.charge("k ü", "pm_ok").await;
    assert_eq!(percent.error_code(), "invalid_params", "a key is plain ASCII");
    sandbox.stop().await;
}

#[tokio::test]
async fn it_stops_in_time_with_hanging_and_slow_requests_in_hand() {
    let slow = SandboxConfig { slow_ms: 600_000, hold_ms: 600_000, drain_ms: 500, ..config() };
    let (sandbox, _folder) = start_with(slow).await;
    let mut hanging = Vec::new();
    for (n, method) in ["pm_slow", "pm_timeout_before"].into_iter().enumerate() {
        hanging.push(raw_charge(&sandbox, &format!("h{n}"), method).await);
    }
    until("both are in hand", || async {
        sandbox.requests_counted().await == 2 && sandbox.attempts("h1").await.len() == 1
    })
    .await;
    sandbox.set_mode(json!({"black_hole": true})).await;
    hanging.push(raw_charge(&sandbox, "h2", "pm_ok").await);
    until("it hangs", || async { sandbox.attempts("h2").await.len() == 1 }).await;
    // One that never even finishes its request can only be cut.
    let mut half = TcpStream::connect(sandbox.addresses.api).await.expect("it listens");
    half.write_all(b"POST /v1/charges HTTP/1.1\r\nHost: x\r\nContent-Le").await.expect("it reads");
    hanging.push(half);

    let began = Instant::now();
    sandbox.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for mut connection in hanging {
        let mut rest = Vec::new();
        let is_cut = connection.read_to_end(&mut rest).await.is_err() || rest.is_empty();
        assert!(is_cut, "answered: {}", String::from_utf8_lossy(&rest));
    }
}

async fn raw_charge(sandbox: &support::Running, key: &str, method: &str) -> TcpStream {
    let body = support::charge_of(key, method).to_string();
    let request = format!(
        "POST /v1/charges HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TcpStream::connect(sandbox.addresses.api).await.expect("it listens");
    connection.write_all(request.as_bytes()).await.expect("it reads");
    connection
}

#[tokio::test]
async fn a_connection_beyond_the_bound_waits_for_a_free_one() {
    let one = std::num::NonZeroUsize::MIN;
    let (sandbox, _folder) = start_with(SandboxConfig { max_connections: one, ..config() }).await;
    let first = TcpStream::connect(sandbox.addresses.api).await.expect("it listens");
    // The second is in the queue of the listener, and is served when the first goes.
    let mut second = raw_charge(&sandbox, "k", "pm_ok").await;
    let mut begin = [0_u8; 12];
    tokio::select! {
        biased;
        read = second.read_exact(&mut begin) => panic!("served beyond the bound: {read:?}"),
        status = sandbox.admin("/ready") => assert_eq!(status.status, StatusCode::OK),
    }
    drop(first);
    second.read_exact(&mut begin).await.expect("served now");
    assert_eq!(&begin, b"HTTP/1.1 201");
    drop(second);
    sandbox.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (sandbox, _folder) = start_with(SandboxConfig { idle_timeout_ms: 100, ..config() }).await;
    let mut idle = TcpStream::connect(sandbox.addresses.api).await.expect("it listens");
    let mut rest = Vec::new();
    tokio::time::timeout(support::DEADLINE, idle.read_to_end(&mut rest))
        .await
        .expect("it is closed")
        .expect("with a plain end");
    sandbox.stop().await;
}
