//! A real nats-server: started, stopped, killed, started again.

mod common;

use std::net::TcpListener;
use std::time::Duration;

use async_nats::jetstream;
use common::{deaf_program, is_alive, processes_in, until};
use spillway_natsd::testing::{TestServer, nats_server};
use spillway_natsd::{Exit, NatsServer, StartError, SyncInterval};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn server_in(folder: &std::path::Path) -> NatsServer {
    let binary = nats_server().await.unwrap_or_else(|error| panic!("{error}"));
    NatsServer::new(binary, folder)
}

async fn store_messages(url: &str, count: usize) {
    let client = async_nats::connect(url).await.expect("it takes clients");
    let jetstream = jetstream::new(client);
    let config =
        jetstream::stream::Config { name: "KEPT".to_owned(), subjects: vec!["kept".to_owned()], ..Default::default() };
    jetstream.create_stream(config).await.expect("JetStream is up");
    for _ in 0..count {
        let sent = jetstream.publish("kept", "x".into()).await.expect("it is sent");
        sent.await.expect("it is stored");
    }
}

fn port_of(url: &str) -> u16 {
    let (_, port) = url.rsplit_once(':').expect("a port");
    port.parse().expect("a number")
}

async fn stored_messages(monitor_url: &str) -> u64 {
    let body = get(&format!("{monitor_url}/jsz")).await;
    let found: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    found["messages"].as_u64().expect("a count of messages")
}

/// The body of an HTTP GET, by hand.
async fn get(url: &str) -> String {
    let (authority, path) =
        url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL with a path");
    let mut stream = TcpStream::connect(authority).await.expect("it listens");
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(" 200 "), "{url}: {head}");
    body.to_owned()
}

#[tokio::test]
async fn a_started_server_has_jetstream_and_its_settings() {
    let server = TestServer::start_with(|server| {
        server.server_name = "a-\"name\"\\with-a-ü".to_owned();
        server.sync_interval = Some(SyncInterval::Every(Duration::from_millis(1500)));
        server.max_file_store = Some(64_000_000);
        server.max_payload = 2_000_000;
    })
    .await;
    let varz = get(&format!("{}/varz", server.monitor_url())).await;
    let varz: serde_json::Value = serde_json::from_str(&varz).expect("JSON");
    assert_eq!(varz["server_name"], "a-\"name\"\\with-a-ü");
    assert_eq!(varz["host"], "127.0.0.1");
    assert_eq!(varz["max_payload"], 2_000_000);
    assert_eq!(varz["jetstream"]["config"]["max_storage"], 64_000_000);
    assert_eq!(varz["jetstream"]["config"]["sync_interval"], 1_500_000_000);
    assert!(is_alive(server.pid()));
    store_messages(&server.client_url(), 1).await;
    let log = std::fs::read_to_string(server.log_file()).expect("it keeps a log");
    assert!(log.contains("Server is ready"), "{log}");
}

#[tokio::test]
async fn every_message_is_synced_when_asked_for() {
    let server = TestServer::start_with(|server| {
        server.sync_interval = Some(SyncInterval::Always);
    })
    .await;
    let varz = get(&format!("{}/varz", server.monitor_url())).await;
    let varz: serde_json::Value = serde_json::from_str(&varz).expect("JSON");
    assert_eq!(varz["jetstream"]["config"]["sync_always"], true, "{varz}");
}

#[tokio::test]
async fn a_restart_keeps_the_ports_and_what_jetstream_holds() {
    let mut server = TestServer::start().await;
    let before = (server.client_url(), server.monitor_url(), server.pid());
    store_messages(&server.client_url(), 7).await;
    server.restart().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((server.client_url(), server.monitor_url()), (before.0.clone(), before.1));
    assert_ne!(server.pid(), before.2);
    assert!(!is_alive(before.2));
    assert_eq!(stored_messages(&server.monitor_url()).await, 7);

    server.kill().await;
    server.restart().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(server.client_url(), before.0);
    assert_eq!(stored_messages(&server.monitor_url()).await, 7);
}

#[tokio::test]
async fn how_a_server_ended_is_told_to_all_who_wait() {
    let mut server = TestServer::start().await;
    let (first, second) = (server.exited(), server.exited());
    let pid = server.pid();
    assert_eq!(server.kill().await, Exit::Signal(9));
    assert_eq!((first.await, second.await), (Exit::Signal(9), Exit::Signal(9)));
    assert_eq!(server.exited().await, Exit::Signal(9));
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_stopped_server_has_shut_down_by_itself_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = server_in(folder.path()).await.start().await;
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    let (pid, log) = (server.pid(), server.log_file());
    // 0 or 1 by the release; what matters is that no signal cut it short.
    assert!(matches!(server.stop().await, Exit::Code(_)));
    assert!(!is_alive(pid));
    let log = std::fs::read_to_string(log).expect("it kept a log");
    assert!(log.contains("Server Exiting"), "{log}");
    until("the supervisor is gone", || processes_in(folder.path()).is_empty()).await;
}

#[tokio::test]
async fn a_dropped_server_is_gone_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = server_in(folder.path()).await.start().await;
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    let (pid, port) = (server.pid(), port_of(&server.client_url()));
    drop(server);
    // A port is free once the last thread is gone; before that the process looks dead already.
    TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
    assert!(!is_alive(pid));
    until("the supervisor is gone", || processes_in(folder.path()).is_empty()).await;
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_leaves_no_server() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Never ready: the start is surely still under way when it is given up.
    let server = NatsServer::new(deaf_program(folder.path()), folder.path());
    let start = tokio::spawn(server.start());
    until("the server is there", || processes_in(folder.path()).len() > 1).await;
    start.abort();
    until("all are gone", || processes_in(folder.path()).is_empty()).await;
}

#[tokio::test]
async fn a_taken_port_is_refused_with_the_name_of_its_holder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let holder = TestServer::start().await;
    let port = port_of(&holder.client_url());
    let mut server = server_in(folder.path()).await;
    server.monitor_port = port;
    let error = server.start().await.expect_err("the port is taken");
    assert!(matches!(error, StartError::PortTaken { .. }), "{error}");
    let text = error.to_string();
    let wanted = format!("port {port} on 127.0.0.1 is taken by nats-server");
    assert!(text.contains(&wanted), "{text}");
    assert!(text.contains(&format!("(pid {})", holder.pid())), "{text}");
}

#[tokio::test]
async fn a_port_that_is_given_is_the_port() {
    let free = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, ports) = loop {
        let (one, other) = (free(), free());
        let ports = (one.local_addr().expect("it is bound").port(), other.local_addr().expect("it is bound").port());
        drop((one, other));
        let mut server = server_in(folder.path()).await;
        (server.client_port, server.monitor_port) = ports;
        match server.start().await {
            Ok(server) => break (server, ports),
            // A test beside this one was faster.
            Err(StartError::PortTaken { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(server.client_url(), format!("nats://127.0.0.1:{}", ports.0));
    assert_eq!(server.monitor_url(), format!("http://127.0.0.1:{}", ports.1));
}

#[tokio::test]
async fn a_server_that_ends_while_starting_is_quoted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = server_in(folder.path()).await;
    // Where JetStream wants its folder lies a file.
    std::fs::write(folder.path().join("jetstream"), "").expect("the folder is ours");
    server.ready_within = common::DEADLINE;
    let error = server.start().await.expect_err("it cannot store anything");
    assert!(matches!(error, StartError::Ended { exit: Exit::Code(1), .. }), "{error}");
    assert!(error.to_string().contains("storage directory is not a directory"), "{error}");
}

#[tokio::test]
async fn a_binary_that_cannot_be_run_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = NatsServer::new("/nowhere/nats-server", folder.path());
    let error = server.start().await.expect_err("there is none");
    assert!(error.to_string().contains("/nowhere/nats-server"), "{error}");
}

#[tokio::test]
async fn a_server_that_never_listens_is_given_up_and_ended() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = NatsServer::new(deaf_program(folder.path()), folder.path());
    server.ready_within = Duration::from_millis(300);
    let error = server.start().await.expect_err("it does not listen");
    assert!(matches!(error, StartError::NotReady { .. }), "{error}");
    until("it is gone", || processes_in(folder.path()).is_empty()).await;
}

#[tokio::test]
async fn a_folder_whose_name_has_every_odd_character_serves_as_well() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = parent.path().join("a 'b' \"c\" \\x41 $HOME {ü} #\n;");
    let server = server_in(&folder).await.start().await;
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    store_messages(&server.client_url(), 1).await;
    assert!(folder.join("jetstream").is_dir());
    server.stop().await;
}
