//! The drill, from outside: of its own installation and of one that runs, cut short, and where something is wrong.

mod support;

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use spillway_proto::pb::orders::order::State;
use support::process::Process;
use support::roles::Roles;
use support::{Options, PATIENCE, System, process, spillway, sums};

/// So that the provider is tried again soon after an outage, and a slow machine refuses nobody.
const SOON: [&str; 4] = ["--set", "payments.breaker.open_ms=1000", "--set", "gateway.admission.wait_ms=60000"];

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let asked = async {
        while !is_so().await {
            every.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Processes that have this text in their command line.
fn processes_of(text: &Path) -> Vec<String> {
    let text = text.display().to_string();
    let all = std::fs::read_dir("/proc").expect("Linux").flatten();
    let commands = all.filter_map(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let is_number = entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        (is_number && command.contains(&text)).then_some(command)
    });
    commands.collect()
}

fn deeds(report: &Value) -> Vec<String> {
    let deeds = report["deeds"].as_array().expect("deeds");
    deeds.iter().map(|deed| deed["what"].as_str().expect("words").to_owned()).collect()
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Every invariant that could be judged holds; answers how many could.
fn all_hold(report: &Value) -> usize {
    let judged = report["check"]["invariants"].as_array().expect("invariants");
    let (known, _) = judged.iter().partition::<Vec<_>, _>(|one| !one["violations"].is_null());
    for one in &known {
        assert_eq!(one["violations"], 0, "{one}");
    }
    known.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_of_its_own_installation_loses_nothing_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("drill");
    let data = own.display().to_string();
    let flags = ["drill", "--output", "json", "--duration", "8", "--rate", "25", "--seed", "3", "--data", &data];
    let arguments = [flags.as_slice(), &SOON].concat();
    let (code, out, err) = process::output(spillway(), &arguments, folder.path()).await;
    assert_eq!(code, 0, "{err}{out}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let (accepted, ends) = (count(&report["accepted"]), &report["ends"]);
    assert!(accepted >= 150, "of 200 orders {accepted} were accepted");
    assert!(count(&ends["confirmed"]) >= accepted, "{ends}");
    assert_eq!((count(&ends["open"]), count(&ends["rejected"])), (0, 0));
    let deeds = deeds(&report);
    for what in
        ["loses 10 %", "goes down", "kill -9 of", "is deleted", "is started again", "is back", "answers as it did"]
    {
        assert!(deeds.iter().any(|deed| deed.contains(what)), "{what} in {deeds:?}");
        assert!(err.contains(what), "{what} is not told while it runs: {err}");
    }
    assert!(all_hold(&report) > 20, "{report}");
    let counts = &report["check"]["counts"];
    // What was done had effects: else nothing was tried.
    assert!(count(&counts["unknown_outcomes"]) > 0, "{counts}");
    assert_eq!(counts["unknown_outcomes"], counts["unknown_outcomes_settled"]);
    assert!(count(&counts["not_in_streams"]) > 0, "{counts}");
    eprintln!("accepted {accepted}, {counts}, {}", report["counters"]);
    until("nothing is left", async || processes_of(&own).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_is_cut_short_ends_everything_that_it_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("drill");
    let data = own.display().to_string();
    let arguments = ["drill", "--duration", "600", "--rate", "5", "--data", &data].map(str::to_owned);
    let drill = Process::start(spillway(), &arguments, folder.path()).await;
    let log = folder.path().join("stderr.log");
    until("the orders come", async || {
        std::fs::read_to_string(&log).unwrap_or_default().contains("orders a second for 600 s")
    })
    .await;
    assert!(processes_of(&own).len() > 6, "{:?}", processes_of(&own));
    drill.signal(Signal::INT);
    assert_eq!(drill.ended().await.code, Some(1));
    until("nothing is left", async || processes_of(&own).is_empty()).await;
}

/// What a drill of a running system is told of it.
fn of_running(system: &System) -> Vec<String> {
    let mut all = vec!["drill".to_owned(), "--running".to_owned(), "--yes".to_owned()];
    let mut add = |flag: &str, value: String| all.extend([flag.to_owned(), value]);
    add("--address", format!("http://{}", system.address("grpc")));
    add("--ops-address", format!("http://{}", system.address("ops")));
    add("--nats-url", system.address("nats"));
    add("--provider-url", system.address("provider"));
    add("--set", format!("data={}", system.data().display()));
    for role in ["gateway", "orders", "inventory", "payments", "notifications", "audit"] {
        add("--set", format!("admin.{role}={}", system.admin(role)));
    }
    all
}

fn with(mut arguments: Vec<String>, more: &[&str]) -> Vec<String> {
    arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
    arguments
}

async fn run(system: &System, arguments: &[String]) -> (i32, String, String) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    process::output(spillway(), &arguments, system.folder()).await
}

async fn mode(system: &System) -> Value {
    let (status, body) = sums::get(&format!("{}/sandbox/mode", system.address("provider"))).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_of_a_running_system_kills_a_role_and_starts_it_again_as_it_was() {
    let mut roles = Roles::start(&SOON).await;
    // Where it listens is now in its command line, as it is where somebody runs it for others to find.
    roles.stop("payments").await;
    roles.restart("payments").await;
    let before = roles.pid("payments");
    let arguments = with(
        of_running(&roles),
        &["--output", "json", "--duration", "6", "--rate", "20", "--kill", "payments", "--settle", "100"],
    );
    let (code, out, err) = run(&roles, &arguments).await;
    // It was started by the drill: by nobody else is it ended.
    let (_, info) = sums::get(&format!("http://{}/info", roles.admin("payments"))).await;
    let info: Value = serde_json::from_str(&info).expect("JSON");
    let pid = info["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw).expect("an id");
    kill_process(pid, Signal::KILL).expect("killed");
    assert_eq!(code, 0, "{err}{out}");
    assert_ne!(pid, before);
    roles.ended_role("payments").await;
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert!(count(&report["ends"]["confirmed"]) >= count(&report["accepted"]), "{}", report["ends"]);
    assert!(deeds(&report).contains(&"payments is started again as it was started before".to_owned()), "{err}");
    assert!(all_hold(&report) > 20, "{report}");
    assert_eq!(mode(&roles).await["down"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_of_a_running_system_undoes_what_it_did_when_it_is_cut_short() {
    let system = System::start().await;
    let before = mode(&system).await;
    let drill = Process::start(
        spillway(),
        &with(of_running(&system), &["--duration", "30", "--rate", "5", "--kill", "orders"]),
        system.folder(),
    )
    .await;
    until("the provider is down", async || mode(&system).await["down"] == true).await;
    drill.signal(Signal::INT);
    assert_eq!(drill.ended().await.code, Some(1));
    assert_eq!(mode(&system).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_was_charged_twice_is_found_and_the_drill_exits_4() {
    let arguments = SOON.map(str::to_owned).to_vec();
    let system = System::start_with(Options { arguments, ..Options::default() }).await;
    let more =
        ["--output", "json", "--duration", "6", "--rate", "10", "--seed", "1", "--kill", "orders", "--settle", "100"];
    let arguments = with(of_running(&system), &more);
    let wrong = async {
        until("an order is confirmed", async || {
            system.every_order().await.iter().any(|order| order.state() == State::Confirmed)
        })
        .await;
        let orders = system.every_order().await;
        let order = orders.iter().find(|order| order.state() == State::Confirmed).expect("one is");
        charge_again(&system, &order.order_id).await;
        order.order_id.clone()
    };
    let ((code, out, err), order_id) = tokio::join!(run(&system, &arguments), wrong);
    assert_eq!(code, 4, "{err}{out}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let judged = report["check"]["invariants"].as_array().expect("invariants");
    let twice = judged.iter().find(|one| one["name"] == "charged_twice").expect("it is judged");
    assert_eq!(twice["violations"], 1, "{twice}");
    assert!(twice["rows"][0]["subject"].as_str().is_some_and(|subject| subject.contains(&order_id)), "{twice}");
    let left_alone = "orders is left alone: it shares its process with other roles";
    assert!(deeds(&report).iter().any(|deed| deed.starts_with(left_alone)), "{err}");
}

/// As a broken build would: another key for the same order. Tried until the provider is up and answers.
async fn charge_again(system: &System, order_id: &str) {
    let order = system.get(order_id).await.expect("there");
    let total = order.total.expect("a total");
    let minor = total.units * 100 + i64::from(total.nanos) / 10_000_000;
    let body = serde_json::json!({
        "reference": order_id, "amount": minor, "currency": total.currency_code, "payment_method": "pm_ok",
    });
    let url = format!("{}/v1/charges", system.address("provider"));
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Full<bytes::Bytes>>();
    until("the customer is charged again", async || {
        let request = http::Request::post(&url)
            .header("content-type", "application/json")
            .header("idempotency-key", "of-a-broken-build")
            .body(body.to_string().into())
            .expect("a request");
        client.request(request).await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_drills_a_running_system_by_mistake_or_with_real_money() {
    let system = System::start().await;
    let (code, _, err) = system.verb(&["drill", "--running"]).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("--yes"), "{err}");
    let not_sandbox = format!("http://{}", system.admin("gateway"));
    let (code, _, err) = system.verb(&["drill", "--running", "--yes", "--provider-url", &not_sandbox]).await;
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("is not the sandbox"), "{err}");
}
