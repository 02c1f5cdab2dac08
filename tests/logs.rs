//! What is logged: one line for each fact about an order, whoever says it; bounded under load; and nobody waits for who
//! reads it.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{PipeReader, PipeWriter, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use support::calls::{request, with_contact};
use support::ports::free_ports;
use support::{Options, PATIENCE, System, spillway, sums};
use tokio::io::{AsyncBufReadExt, BufReader};
use tonic::Request;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SERVICES: [&str; 6] = ["gateway", "inventory", "payments", "orders", "notifications", "audit"];

/// What is said of an order that goes well, by whom.
const STORY: [(&str, &str); 6] = [
    ("gateway", "order_placed"),
    ("inventory", "stock_held"),
    ("payments", "payment_captured"),
    ("orders", "order_confirmed"),
    ("inventory", "stock_committed"),
    ("notifications", "notification_sent"),
];

fn text<'v>(line: &'v Value, key: &str) -> &'v str {
    line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_told_line_by_line_by_every_service_with_its_trace() {
    let mut system = System::start().await;
    system.add_stock("tea", 10).await;
    let mut order = Request::new(with_contact(request("tea", 2, "pm_ok"), "ada@example.org"));
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    order.metadata_mut().insert("traceparent", parent.parse().expect("a header"));
    let placed = system.orders().place_order(order).await.expect("accepted").into_inner().order.expect("an order");
    let lines = system.lines_of(&placed.order_id, STORY.len()).await;
    let told: BTreeSet<_> = lines.iter().map(|line| (text(line, "service"), text(line, "event"))).collect();
    assert_eq!(told, BTreeSet::from(STORY), "{lines:?}");
    for line in &lines {
        assert_eq!((text(line, "level"), text(line, "shop"), text(line, "trace_id")), ("info", "default", TRACE));
        assert!(text(line, "span_id").len() == 16 && text(line, "event_id").len() == 36, "{line}");
        assert_eq!(text(line, "msg"), text(line, "event").replace('_', " "), "one word for one thing");
        text(line, "time").parse::<jiff::Timestamp>().expect("RFC 3339");
    }
    let captured = lines.iter().find(|line| line["event"] == "payment_captured").expect("it is there");
    let figures = (captured["amount_minor"].as_i64(), text(captured, "currency"), captured["attempt"].as_i64());
    assert_eq!(figures, (Some(2500), "EUR", Some(1)));

    let refused = system.run_order(request("rare", 1, "pm_ok")).await;
    let lines = system.lines_of(&refused.order_id, 3).await;
    let ended = lines.iter().find(|line| line["event"] == "order_rejected").expect("it is there");
    assert_eq!(text(ended, "reason"), "REASON_OUT_OF_STOCK");

    what_a_call_says_is_said_in_its_trace(&system).await;
    // Each with its own name, although one process plays them all.
    system.stop().await;
    let drained = system.lines().into_iter().filter(|line| line["msg"] == "drained");
    let mut drained: Vec<String> = drained.map(|line| text(&line, "service").to_owned()).collect();
    drained.sort();
    let mut all = SERVICES.map(str::to_owned).to_vec();
    all.push("provider".to_owned());
    all.sort();
    assert_eq!(drained, all);
    for line in system.lines() {
        let service = text(&line, "service");
        assert!(SERVICES.contains(&service) || ["provider", "up"].contains(&service), "{line}");
    }
}

/// The gateway cannot write: it says so in the trace of each order that it does not accept.
async fn what_a_call_says_is_said_in_its_trace(system: &System) {
    let file = rusqlite::Connection::open(system.ledger("gateway")).expect("opens");
    file.execute_batch("begin immediate").expect("locked");
    let trace = TRACE.replace('4', "5");
    let mut order = Request::new(request("tea", 1, "pm_ok"));
    order.metadata_mut().insert("traceparent", format!("00-{trace}-00f067aa0ba902b7-00").parse().expect("a header"));
    order.set_timeout(PATIENCE);
    let refused = system.orders().place_order(order).await.expect_err("the file is locked");
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    let said = &system.lines_that(|line| line["msg"] == "an order was not accepted", 1).await[0];
    assert_eq!((text(said, "level"), text(said, "service"), text(said, "trace_id")), ("warn", "gateway", &trace[..]));
    assert!(text(said, "span_id").len() == 16 && text(said, "span_id") != "00f067aa0ba902b7", "{said}");
    file.execute_batch("rollback").expect("free again");
}

/// Lines a second, in the test of load.
const LIMIT: usize = 20;
const ORDERS: usize = 1500;

/// What the ledgers of these roles have said, by their own outbox.
const ROLES: [(&str, &str); 4] =
    [("gateway", "gateway"), ("inventory", "inventory"), ("payments", "payments-0"), ("orders", "orders-0")];

fn said(system: &System, ledger: &str) -> usize {
    let file = rusqlite::Connection::open(system.ledger(ledger)).expect("opens");
    file.busy_timeout(Duration::from_secs(10)).expect("set");
    let sum = file.query_row("select sum(events) from outbox", [], |row| row.get::<_, i64>(0)).expect("read");
    usize::try_from(sum).expect("a count")
}

/// Waits until every event of every order was said, and is told or counted.
async fn until_all_is_told(system: &System) {
    let mut every = tokio::time::interval(Duration::from_millis(100));
    let told = async {
        loop {
            every.tick().await;
            let facts = facts(system);
            let mut is_all = said(system, "inventory") >= 2 * ORDERS && said(system, "orders-0") >= ORDERS;
            for (role, ledger) in ROLES {
                is_all &= facts.get(role).map_or(0, Vec::len) + left_out(system, role).await == said(system, ledger);
            }
            if is_all {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("every event is told or counted, once");
}

async fn left_out(system: &System, role: &str) -> usize {
    let counted = system.counted(role, "spillway_log_lines_dropped_total", &["reason=\"rate\""]).await;
    usize::try_from(counted).expect("a count")
}

/// Lines about events, by service.
fn facts(system: &System) -> BTreeMap<String, Vec<Value>> {
    let mut facts: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in system.lines().into_iter().filter(|line| line["event"].is_string()) {
        facts.entry(text(&line, "service").to_owned()).or_default().push(line);
    }
    facts
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_whole_orders_are_left_out_counted_and_told_in_one_warning() {
    // On a machine that is busy with other things nobody is refused either.
    let (limit, patience) = (format!("log.max_lines_per_second={LIMIT}"), "gateway.admission.wait_ms=60000".to_owned());
    let arguments = vec!["--set".to_owned(), limit, "--set".to_owned(), patience];
    let mut system = System::start_with(Options { arguments, ..Options::default() }).await;
    let began = Instant::now();
    let (count, nats) = (ORDERS.to_string(), system.address("nats"));
    let load = ["load", "--output", "json", "--count", &count, "--in-flight", "32", "--nats-url", &nats];
    let (code, out, err) = system.verb(&load).await;
    assert_eq!(code, 0, "{out}{err}");
    until_all_is_told(&system).await;
    let seconds = began.elapsed().as_secs() as usize + 2;
    let told = facts(&system);
    for (role, lines) in ROLES.map(|(role, _)| (role, told[role].len())) {
        assert!(lines <= 2 * LIMIT * seconds && lines >= LIMIT / 4, "{role}: {lines} lines in {seconds} s");
        assert!(lines < ORDERS / 2, "{role}: {lines} lines, as if there were no limit");
    }
    // Of the orders that inventory, the busiest, tells of, the others tell as well: far more than chance would have it.
    let of = |role: &str, event: &str| -> BTreeSet<String> {
        let lines = told[role].iter().filter(|line| line["event"] == event);
        lines.map(|line| text(line, "order_id").to_owned()).collect()
    };
    let held = of("inventory", "stock_held");
    for (role, event) in
        [("inventory", "stock_committed"), ("payments", "payment_captured"), ("orders", "order_confirmed")]
    {
        let both = held.intersection(&of(role, event)).count();
        eprintln!(
            "of {} orders held {both} are told of by {role}, which tells of {}",
            held.len(),
            of(role, event).len()
        );
        assert!(both * 2 >= held.len(), "{role} tells of {both} of {} orders", held.len());
    }
    system.stop().await;
    let warnings = system.lines().into_iter().filter(|line| {
        line["level"] == "warn" && line["msg"] == "lines about orders left out of the log, whole orders at a time"
    });
    let mut by_service: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for line in warnings {
        let told = by_service.entry(text(&line, "service").to_owned()).or_default();
        *told = (told.0 + 1, told.1 + line["lines"].as_u64().expect("a count"));
    }
    for (role, ledger) in ROLES {
        let (warnings, lines) = by_service[role];
        assert!(warnings <= seconds / 60 + 2, "{role} warns {warnings} times in {seconds} s");
        let (lines, told) = (usize::try_from(lines).expect("a count"), facts(&system)[role].len());
        assert_eq!(lines + told, said(&system, ledger), "{role}: what is left out is told in the end");
    }
}

/// The end of a pipe that takes nothing more, and its other end, which nobody reads.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reads, mut writes) = std::io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writes, true).expect("told");
    while writes.write(b".").is_ok() {}
    rustix::io::ioctl_fionbio(&writes, false).expect("told");
    (reads, writes)
}

/// Ended in any case.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_pipes_on_standard_output_and_error_change_nothing_but_a_counter() {
    for stream in ["stdout", "stderr"] {
        full_pipes_change_nothing_but_a_counter(stream).await;
    }
}

async fn full_pipes_change_nothing_but_a_counter(stream: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = ["grpc", "ops", "admin", "provider", "provider-admin", "nats", "nats-monitoring"];
    let others = ["orders", "inventory", "payments", "notifications", "audit"];
    let ports: [u16; 12] = free_ports();
    let admins = &ports[flags.len()..];
    let (_out, stdout) = full_pipe();
    let (_err, stderr) = full_pipe();
    let mut command = Command::new(spillway());
    command.arg("up").arg("--data").arg(folder.path().join("data")).current_dir(folder.path());
    for (flag, port) in flags.iter().zip(ports) {
        command.arg(format!("--{flag}-port")).arg(port.to_string());
    }
    for (role, port) in others.iter().zip(admins) {
        command.arg("--set").arg(format!("admin.{role}=127.0.0.1:{port}"));
    }
    command.env("SPILLWAY_LOG__STREAM", stream);
    command.env("SPILLWAY_LOG__LEVEL", "trace").stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let mut up = Started(command.spawn().expect("it starts"));
    drop(command);

    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{}", ports[0])).expect("an address");
    let mut shop = OrderServiceClient::new(channel.timeout(PATIENCE).connect_lazy());
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let accepted = async {
        let mut accepted = 0;
        while accepted < 300 {
            // Before it is ready nobody answers.
            if shop.place_order(request("tea-100g", 1, "pm_ok")).await.is_ok() {
                accepted += 1;
            } else {
                assert_eq!(up.0.try_wait().expect("asked"), None, "it could not start");
                every.tick().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, accepted).await.expect("orders are accepted");
    let counted = async {
        loop {
            every.tick().await;
            let (_, figures) = sums::get(&format!("http://127.0.0.1:{}/metrics", ports[2])).await;
            let mut unread = figures.lines().filter(|line| {
                line.starts_with("spillway_log_lines_dropped_total{") && line.contains("reason=\"unread\"")
            });
            if unread.any(|line| !line.ends_with(" 0")) {
                return;
            }
            shop.place_order(request("tea-100g", 1, "pm_ok")).await.expect("accepted");
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("lines are dropped, and counted");

    let pid = Pid::from_raw(i32::try_from(up.0.id()).expect("an id")).expect("an id");
    kill_process(pid, Signal::TERM).expect("signalled");
    let ended = async {
        loop {
            every.tick().await;
            if let Some(status) = up.0.try_wait().expect("waited") {
                return status;
            }
        }
    };
    let status = tokio::time::timeout(PATIENCE, ended).await.expect("it drains and ends");
    assert!(status.success(), "{status}");
}

/// Starts a verb that goes on, waits for this line on its standard output, and ends it. Answers its standard output and error.
async fn said_until(arguments: &[&str], is_last: impl Fn(&str) -> bool) -> (Vec<String>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let (err, stderr) = (folder.path().join("err"), std::fs::File::create(folder.path().join("err")).expect("a file"));
    let mut command = tokio::process::Command::new(spillway());
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    let mut child = command.kill_on_drop(true).spawn().expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut said: Vec<String> = Vec::new();
    let read = async {
        let mut is_signalled = false;
        while let Some(line) = out.next_line().await.expect("readable") {
            if !is_signalled && is_last(&line) {
                let pid = Pid::from_raw(i32::try_from(child.id().expect("it runs")).expect("an id")).expect("an id");
                kill_process(pid, Signal::TERM).expect("signalled");
                is_signalled = true;
            }
            said.push(line);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it says so, and ends");
    assert!(child.wait().await.expect("waited").success());
    (said, std::fs::read_to_string(err).expect("readable"))
}

fn is_log(line: &str) -> bool {
    let read = serde_json::from_str::<Value>(line);
    read.is_ok_and(|line| line["level"].is_string() && line["service"].is_string() && line["msg"].is_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn run_and_up_log_to_standard_output_unless_that_is_for_json() {
    let run = ["run", "provider", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let is_started = |line: &str| line.contains(r#""msg":"started""#);
    let (out, err) = said_until(&[&run[..], &["--data", "data"]].concat(), is_started).await;
    assert!(out.iter().all(|line| is_log(line)), "nothing but the log: {out:#?}");
    assert_eq!(err, "");
    let json = ["--data", "data", "--output", "json"];
    let (out, err) = said_until(&[&run[..], &json].concat(), |line| line.contains("addresses")).await;
    assert_eq!(out.len(), 1, "nothing but what the verb prints: {out:#?}");
    assert!(err.lines().all(is_log) && err.lines().any(is_started), "{err}");

    let mut up = vec!["up", "--ephemeral"];
    let ports = ["grpc", "ops", "admin", "provider", "provider-admin", "nats", "nats-monitoring"];
    let ports = ports.map(|port| format!("--{port}-port"));
    up.extend(ports.iter().flat_map(|port| [port.as_str(), "0"]));
    let (out, err) = said_until(&up, |line| line == "Ctrl-C drains and stops.").await;
    let banner = (
        out.iter().position(|line| line.starts_with("ready after")),
        out.iter().position(|line| line == "Ctrl-C drains and stops."),
    );
    let (Some(from), Some(to)) = banner else { panic!("{out:#?}") };
    assert!(!out[from..=to].iter().any(|line| is_log(line)), "no line of the log within it: {out:#?}");
    for line in out[..from].iter().chain(&out[to + 1..]) {
        assert!(is_log(line), "{line}");
    }
    assert!(!err.lines().any(is_log), "{err}");
}
