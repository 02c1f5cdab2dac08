//! The checker: it finds nothing wrong with what is right, live and stopped, and finds every violation that is planted.

#[path = "checker/folder.rs"]
mod folder;
#[path = "checker/plants.rs"]
mod plants;
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use folder::Folder;
use plants::PLANTS;
use serde_json::Value;
use spillway_cli::check::{self, Looking, Place, Provider, Report};
use support::calls::{request, with_contact};
use support::{Options, System, sums};

/// A system that refuses no order, however slow the machine is: what is admitted is not the matter here.
async fn start(partitions: u16, more: &[&str]) -> System {
    let mut arguments = vec!["--set".to_owned(), "gateway.admission.wait_ms=600000".to_owned()];
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    System::start_with(Options { partitions: Some(partitions), arguments, ..Options::default() }).await
}

/// Orders of every kind: confirmed, declined, out of stock, with an unknown outcome that was resolved.
async fn orders_of_every_kind(system: &System) {
    system.add_stock("tea", 100).await;
    for n in 0..8 {
        let (sku, method) = match n % 4 {
            0 => ("tea", "pm_ok"),
            1 => ("tea", "pm_declined"),
            2 => ("rare", "pm_ok"),
            _ => ("tea", "pm_lost_answer"),
        };
        system.place(with_contact(request(sku, 1, method), "ada@example.org")).await;
    }
    system.sums_add_up(8).await;
}

/// Six more, of a load whose history is written beside the data.
async fn a_load_with_a_history(system: &System) {
    let (nats, history) = (system.address("nats"), system.data().join("history.jsonl").display().to_string());
    let arguments =
        ["load", "--in-flight", "2", "--count", "6", "--skus", "2", "--nats-url", &nats, "--history", &history];
    let (code, out, err) = system.verb(&arguments).await;
    assert_eq!(code, 0, "{out}{err}");
}

/// What a real run leaves behind when it is stopped.
async fn a_stopped_run() -> System {
    let mut system = start(1, &[]).await;
    orders_of_every_kind(&system).await;
    a_load_with_a_history(&system).await;
    system.sums_add_up(14).await;
    system.stop().await;
    system
}

#[test]
fn every_invariant_is_in_the_manual() {
    let manual =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/check.md")).expect("a manual");
    for invariant in check::ALL {
        let begins = format!("| {} | `{}` | ", invariant.id, invariant.name);
        assert!(manual.contains(&begins), "docs/check.md has no line for {} {}", invariant.id, invariant.name);
    }
}

async fn check_copy(folder: &Path, streams: Option<async_nats::Client>) -> Report {
    let looking = Looking {
        place: Place::Files { data: folder.to_owned() },
        partitions: 1,
        provider: Some(Provider::File(folder.join("provider").join("provider.db"))),
        mail: Some(folder.join("mail")),
        streams,
        history: Some(folder.join("history.jsonl")),
        stuck_after: Duration::from_secs(120),
        rows: 10,
        pause: Duration::ZERO,
    };
    check::run(looking).await.expect("checked")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_planted_violation_is_found_by_its_invariant_and_a_clean_copy_has_none() {
    let run = a_stopped_run().await;
    let clean = check_copy(Folder::copy(&run.data()).path(), None).await;
    assert_eq!(clean.broken(), [""; 0], "{:#}", serde_json::to_value(&clean).expect("JSON"));
    assert_eq!((clean.orders.submitted, clean.orders.ok, clean.orders.accepted), (6, 6, 14));
    let planted: BTreeSet<&str> = PLANTS.iter().map(|plant| plant.invariant).collect();
    let known: BTreeSet<&str> = check::ALL.iter().map(|invariant| invariant.name).collect();
    assert_eq!(planted, known, "every invariant has a violation that is planted, and no other has");
    let mut missed = Vec::new();
    for plant in PLANTS {
        let copy = Folder::copy(&run.data());
        (plant.plant)(&copy);
        let report = check_copy(copy.path(), None).await;
        eprintln!("{}: {} -> {:?}", plant.invariant, plant.what, report.broken());
        if report.violations_of(plant.invariant).unwrap_or(0) == 0 {
            missed.push(format!("{}: {}", plant.invariant, plant.what));
        }
    }
    assert!(missed.is_empty(), "not found: {missed:#?}");
}

async fn check(system: &System, more: &[&str]) -> (i32, Value) {
    check_with(system, &system.address("provider"), more).await
}

async fn check_with(system: &System, provider: &str, more: &[&str]) -> (i32, Value) {
    let nats = system.address("nats");
    let mail = system.data().join("mail").display().to_string();
    let mut arguments = vec!["check", "--output", "json", "--nats-url", &nats, "--provider-url", provider];
    arguments.extend(["--mail", &mail]);
    arguments.extend(more);
    let (code, out, err) = system.verb(&arguments).await;
    let report = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {code} {out} {err}"));
    (code, report)
}

async fn check_files(system: &System, more: &[&str]) -> (i32, Value) {
    let data = system.data().display().to_string();
    let mut arguments = vec!["check", "--output", "json", "--data", &data];
    arguments.extend(more);
    let (code, out, err) = system.verb(&arguments).await;
    let report = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {code} {out} {err}"));
    (code, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_wrong_with_a_system_that_works_running_or_stopped() {
    for partitions in [1, 2] {
        let mut system = start(partitions, &[]).await;
        orders_of_every_kind(&system).await;
        let (code, live) = check(&system, &[]).await;
        assert_eq!(code, 0, "{live:#}");
        assert_eq!(live["orders"]["accepted"], 8, "{live:#}");
        system.stop().await;
        let (code, stopped) = check_files(&system, &[]).await;
        assert_eq!(code, 0, "{stopped:#}");
        assert_eq!(live["orders"], stopped["orders"]);
        eprintln!("{live:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_seems_wrong_while_everything_moves_and_an_outage_is_a_wait_with_a_reason() {
    let system = start(1, &[]).await;
    system.add_stock("tea", 1000).await;
    let nats = system.address("nats");
    let history = system.data().join("history.jsonl").display().to_string();
    let arguments =
        ["load", "--rate", "60", "--duration", "8", "--skus", "3", "--nats-url", &nats, "--history", &history];
    let looks = async {
        let mut reports = Vec::new();
        for _ in 0..4 {
            reports.push(check(&system, &[]).await);
        }
        reports
    };
    let ((code, out, err), reports) = tokio::join!(system.verb(&arguments), looks);
    assert_eq!(code, 0, "{out}{err}");
    for (code, report) in reports {
        assert_eq!(code, 0, "{report:#}");
    }
    let (code, report) = check(&system, &["--history", &history]).await;
    assert_eq!((code, &report["orders"]["submitted"]), (0, &Value::from(480)), "{report:#}");
    assert!(report["counts"]["orders_read"].as_i64() > Some(100), "what clients read is judged: {report:#}");
    assert_eq!(report["inputs"][0]["sha256"].as_str().map(str::len), Some(64), "{report:#}");

    let mode = format!("{}/sandbox/mode", system.address("provider"));
    assert_eq!(sums::post(&mode, r#"{"down": true}"#).await.0, 200);
    let waiting = system.place(request("tea", 1, "pm_ok")).await;
    let mut every = tokio::time::interval(Duration::from_millis(200));
    let told = async {
        loop {
            every.tick().await;
            // So old that it would be stuck, were there no reason.
            let (code, report) = check(&system, &["--stuck-after", "1", "--rows", "3"]).await;
            let waiting = report["waiting"].as_object().expect("reasons");
            if code == 0 && waiting.keys().any(|why| why.starts_with("the provider")) {
                return;
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, told).await.expect("the outage is told");
    assert_eq!(sums::post(&mode, r#"{"down": false}"#).await.0, 200);
    system.ended(&waiting.order_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_named_and_the_rest_is_judged() {
    let system = start(1, &[]).await;
    orders_of_every_kind(&system).await;
    let (code, report) = check_with(&system, "http://127.0.0.1:9", &["--without", "streams"]).await;
    assert_eq!((code, &report["unreachable"][0]["what"]), (3, &Value::from("provider")), "{report:#}");
    let of = |name: &str| {
        let all = report["invariants"].as_array().expect("invariants");
        all.iter().find(|judged| judged["name"] == name).expect("one of that name")["violations"].clone()
    };
    assert_eq!((of("charged_twice"), of("lost")), (Value::Null, Value::from(0)));
    let nobody = spillway_natsd::testing::TestServer::start().await;
    let url = nobody.client_url();
    let (code, out, _) = system.verb(&["check", "--output", "json", "--nats-url", &url, "--without", "provider"]).await;
    let report: Value = serde_json::from_str(&out).expect("a report");
    assert_eq!((code, &report["unreachable"][0]["what"]), (3, &Value::from("gateway")), "{report:#}");
    let judged = report["invariants"].as_array().expect("invariants").iter();
    assert!(judged.into_iter().all(|judged| judged["violations"].is_null()), "silence is no loss: {report:#}");
    let data = system.data().display().to_string();
    let (code, _, err) = system.verb(&["check", "--data", &data]).await;
    assert!(code == 2 && err.contains("is running"), "{code} {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_said_is_found_in_its_stream() {
    let run = a_stopped_run().await;
    let copy = Folder::copy(&run.data());
    let store = copy.path().join("nats");
    let nats = spillway_natsd::testing::TestServer::start_with(|server| server.folder = store).await;
    let client = async_nats::connect(nats.client_url()).await.expect("connected");
    let clean = check_copy(copy.path(), Some(client.clone())).await;
    assert_eq!(clean.broken(), [""; 0], "{:#}", serde_json::to_value(&clean).expect("JSON"));
    assert!(clean.counts.stream_messages > 20 && clean.counts.not_in_streams == 0, "{:?}", clean.counts);
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("spillway-incarnation", "11111111-1111-4111-8111-111111111111");
    headers.insert("spillway-partition", "0");
    headers.insert("spillway-number", "7");
    let jetstream = async_nats::jetstream::new(client.clone());
    let said = jetstream.publish_with_headers("spillway.orders.0", headers, "boo".into()).await.expect("sent");
    said.await.expect("stored");
    let haunted = check_copy(copy.path(), Some(client)).await;
    assert_eq!(haunted.broken(), ["ghost"]);
    assert_eq!(haunted.violations_of("ghost"), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_stopped_before_its_end_has_its_whole_history() {
    let system = start(1, &[]).await;
    let history = system.data().join("history.jsonl");
    let mut arguments = vec!["--output".to_owned(), "json".to_owned(), "--address".to_owned()];
    arguments.push(format!("http://{}", system.address("grpc")));
    arguments.extend(["load", "--rate", "50", "--duration", "600", "--skus", "2"].map(str::to_owned));
    arguments.extend(["--nats-url".to_owned(), system.address("nats")]);
    arguments.extend(["--history".to_owned(), history.display().to_string()]);
    let load = support::process::Process::start(support::spillway(), &arguments, &system.data()).await;
    let mut every = tokio::time::interval(Duration::from_millis(50));
    while system.every_order().await.len() < 40 {
        every.tick().await;
    }
    load.stop().await;
    system.sums_add_up(40).await;
    let (code, report) = check(&system, &["--history", &history.display().to_string()]).await;
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["orders"]["ok"], report["orders"]["accepted"], "{report:#}");
}

/// A figure of `/metrics`, by how its line begins.
async fn figure(system: &System, begins: &str) -> Option<f64> {
    let (status, text) = sums::get(&format!("http://{}/metrics", system.admin("audit"))).await;
    assert_eq!(status, 200, "{text}");
    text.lines().find(|line| line.starts_with(begins)).and_then(|line| line.rsplit(' ').next()?.parse().ok())
}

async fn until_figure(system: &System, begins: &str, is_right: impl Fn(f64) -> bool) {
    let mut every = tokio::time::interval(Duration::from_millis(100));
    let asked = async {
        loop {
            every.tick().await;
            if figure(system, begins).await.is_some_and(&is_right) {
                return;
            }
        }
    };
    if tokio::time::timeout(support::PATIENCE, asked).await.is_err() {
        let (_, text) = sums::get(&format!("http://{}/metrics", system.admin("audit"))).await;
        let told: Vec<&str> = text.lines().filter(|line| line.starts_with("spillway_check")).collect();
        let (_, report) = check(system, &["--stuck-after", "1"]).await;
        let log = system.log();
        let said: Vec<&str> = log.lines().filter(|line| line.contains("what must always hold does not")).collect();
        let last = &said[said.len().saturating_sub(20)..];
        panic!("{begins} does not come: {told:#?}; of {} lines the last: {last:#?}; by hand: {report:#}", said.len());
    }
}

/// The names and nice values of all threads of a process.
fn threads(pid: u32) -> Vec<(String, i32)> {
    let nice_of = |thread: PathBuf| {
        let stat = std::fs::read_to_string(thread.join("stat")).ok()?;
        let (name, rest) = stat.split_once(") ")?;
        // The 19th field of proc(5), the third being the first after the name.
        let nice = rest.split(' ').nth(16)?.parse().ok()?;
        Some((name.split_once('(')?.1.to_owned(), nice))
    };
    let all = std::fs::read_dir(format!("/proc/{pid}/task")).expect("Linux");
    all.filter_map(|thread| nice_of(thread.ok()?.path())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_takes_a_core_from_nobody() {
    let system = start(1, &["--set", "check.every_s=1"]).await;
    system.run_order(request("tea", 1, "pm_ok")).await;
    until_figure(&system, CLEAN, |checks| checks >= 1.0).await;
    let threads = threads(system.pid());
    let checks: Vec<i32> = threads.iter().filter(|(name, _)| name == "check").map(|(_, nice)| *nice).collect();
    assert_eq!(checks, [19], "{threads:?}");
}

const CLEAN: &str = r#"spillway_checks_total{role="audit",outcome="clean"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_live_system_checks_itself_puts_away_what_is_settled_and_raises_a_metric() {
    let system = start(1, &["--set", "check.every_s=1", "--set", "check.stuck_after_s=1"]).await;
    for _ in 0..3 {
        orders_of_every_kind(&system).await;
        let so_far = figure(&system, CLEAN).await.unwrap_or(0.0);
        until_figure(&system, CLEAN, |checks| checks >= so_far + 2.0).await;
    }
    until_figure(&system, r#"spillway_check_orders_kept{role="audit"}"#, |kept| kept == 0.0).await;
    for outcome in ["violated", "failed"] {
        let line = format!(r#"spillway_checks_total{{role="audit",outcome="{outcome}"}}"#);
        assert_eq!(figure(&system, &line).await, Some(0.0), "{outcome}");
    }
    assert!(figure(&system, "spillway_check_last_success_timestamp_seconds").await.is_some());

    // An order that stays open is older than others that end: what is put away of them is not read again.
    let mode = format!("{}/sandbox/mode", system.address("provider"));
    assert_eq!(sums::post(&mode, r#"{"down": true}"#).await.0, 200);
    let open = system.place(request("tea", 1, "pm_ok")).await;
    for _ in 0..3 {
        system.run_order(request("rare", 1, "pm_ok")).await;
    }
    until_figure(&system, r#"spillway_check_orders_kept{role="audit"}"#, |kept| kept == 1.0).await;
    let so_far = figure(&system, CLEAN).await.unwrap_or(0.0);
    until_figure(&system, CLEAN, |checks| checks >= so_far + 3.0).await;
    assert_eq!(sums::post(&mode, r#"{"down": false}"#).await.0, 200);
    system.ended(&open.order_id).await;

    // An order that was put away long ago is charged again.
    let provider = rusqlite::Connection::open(system.data().join("provider").join("provider.db")).expect("opened");
    let again =
        "insert into attempts (time_ms, attempt, kind, reference, idempotency_key, asked_amount, amount, currency,
                     source, status, http, effect, answered)
                 select time_ms, 1, kind, reference, idempotency_key || '/again', asked_amount, amount, currency,
                     source, status, http, effect, answered
                 from attempts where effect = 1 order by id limit 1";
    assert_eq!(provider.execute(again, []).expect("written"), 1);
    let line = r#"spillway_check_violations{role="audit",invariant="charged_twice"}"#;
    until_figure(&system, line, |count| count == 1.0).await;

    let inventory = rusqlite::Connection::open(system.ledger("inventory")).expect("opened");
    inventory.busy_timeout(Duration::from_secs(10)).expect("set");
    let sold = "update stock set available = available - 1, sold = sold + 1 where sku = 'tea'";
    assert_eq!(inventory.execute(sold, []).expect("written"), 1);
    let line = r#"spillway_check_violations{role="audit",invariant="stock_unlike_moves"}"#;
    until_figure(&system, line, |count| count == 1.0).await;
}
