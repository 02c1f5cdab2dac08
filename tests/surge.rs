//! More comes than can be carried out: it is refused soon and told when to come back, what is taken is carried out in
//! time, and when it is over all is as before. Small, on a noisy machine: `spillway bench surge` has the figures.

mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use support::calls::request;
use support::sums::get;
use support::{PATIENCE, System};
use tokio::io::{AsyncBufReadExt, BufReader};
use tonic::{Code, Request};

/// Each test measures its machine first, so they take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs a load against the system; its report.
async fn load(system: &System, arguments: &[&str]) -> Value {
    let nats = system.address("nats");
    let mut all = vec!["--output", "json", "load", "--nats-url", &nats];
    all.extend(arguments);
    let (code, out, err) = system.verb(&all).await;
    assert_eq!(code, 0, "{out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{out}: {e}"))
}

fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {report}"))
}

/// Orders a second that the system carries out here and now.
async fn peak(system: &System) -> f64 {
    load(system, &["--in-flight", "100", "--count", "200"]).await;
    number(&load(system, &["--in-flight", "200", "--count", "1500"]).await, "/confirmed_per_second")
}

/// The sum of a counter over all its labels.
async fn counter(system: &System, name: &str) -> f64 {
    let (status, text) = get(&format!("http://{}/metrics", system.admin("gateway"))).await;
    assert_eq!(status, 200, "{text}");
    let lines = text.lines().filter(|line| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn per_second(times: f64, peak: f64) -> String {
    format!("{:.0}", (times * peak).max(1.0))
}

/// The seconds of a run from this one on.
fn seconds_from(report: &Value, from: usize) -> Vec<Value> {
    report["by_second"].as_array().expect("seconds").iter().skip(from).cloned().collect()
}

/// After the surge there is a second without a refusal, in which everything was confirmed soon, and after it no other.
fn is_normal_again(report: &Value, surge: usize) {
    let rest = seconds_from(report, surge);
    let is_bad = |second: &Value| number(second, "/refused") > 0.0 || number(second, "/slowest_ms") > 5_000.0;
    let bad = rest.iter().rposition(is_bad).map_or(0, |bad| bad + 1);
    println!("back to normal {bad} s after the surge");
    assert!(bad < rest.len(), "not back to normal: {rest:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_surge_is_refused_soon_carried_out_in_part_and_over_when_it_is_over() {
    let _turn = TURN.lock().await;
    let system = System::start().await;
    let peak = peak(&system).await;
    let (surge, rest) = (per_second(6.0, peak), per_second(0.2, peak));
    let report = load(
        &system,
        &[
            "--rate",
            &surge,
            "--duration",
            "8",
            "--then-rate",
            &rest,
            "--then-duration",
            "30",
            "--connections",
            "4",
            "--deadline",
            "20",
            "--within",
            "10",
            "--customers",
            "50",
        ],
    )
    .await;
    let in_time: f64 =
        seconds_from(&report, 0).iter().take(8).map(|second| number(second, "/in_time")).sum::<f64>() / 8.0;
    let refused = number(&report, "/refused/ResourceExhausted");
    // What the machine does now counts, where that is less.
    let peak = peak.min(self::peak(&system).await);
    println!("peak {peak:.0}/s, surge {surge}/s: goodput {in_time:.0}/s, {refused} refused");
    assert!(refused > 0.0, "nothing was refused: {report}");
    // A call that the machine did not get to in time is no refusal, and cannot say so.
    assert!(number(&report, "/without_retry_info") <= 0.01 * refused, "refusals say when to come back: {report}");
    assert_eq!(number(&report, "/still_open"), 0.0, "what was taken is carried out");
    assert!(in_time > 0.3 * peak, "goodput {in_time} of {peak}");
    is_normal_again(&report, 8);
    let counted = counter(&system, "spillway_admission_refusals_total").await;
    assert!(counted >= refused, "{counted} refusals counted, {refused} heard");
    let (slow, all) = refusals_slower_than(&system, "0.05").await;
    println!("refusals at the server: {slow} of {all} took more than 50 ms");
    assert!(all > 0.0 && slow <= 0.05 * all, "{slow} of {all} refusals took more than 50 ms, headers to trailers");
    let (code, out, err) = system.verb(&["audit", "verify"]).await;
    assert_eq!(code, 0, "{out}{err}");
}

async fn refusals_slower_than(system: &System, bound: &str) -> (f64, f64) {
    let (_, text) = get(&format!("http://{}/metrics", system.admin("gateway"))).await;
    let of = |bound: &str| -> f64 {
        let is_meant = |line: &&str| {
            line.starts_with("spillway_refusal_seconds_bucket") && line.contains(&format!("le=\"{bound}\"}}"))
        };
        text.lines().filter(is_meant).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    (of("+Inf") - of(bound), of("+Inf"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_customer_at_ten_times_leaves_the_others_theirs() {
    let _turn = TURN.lock().await;
    let system = System::start().await;
    let peak = peak(&system).await;
    // Nine ask for half of what can be done, and one for as much as twenty of them.
    let rate = per_second(0.5 * 29.0 / 9.0, peak);
    let arguments = ["--rate", &rate, "--duration", "15", "--deadline", "20", "--within", "20", "--connections", "4"];
    let report = load(&system, &[&arguments[..], &["--customers", "10", "--hot-customer", "20"]].concat()).await;
    let kept = |who: &str| number(&report, &format!("/{who}/accepted")) / number(&report, &format!("/{who}/sent"));
    let (others, hot) = (kept("other_customers"), kept("hot_customer"));
    // Of a machine that has become slower the others ask for more than their half.
    let slower = (self::peak(&system).await / peak).min(1.0);
    println!("the others keep {:.1} %, the hot one {:.1} %", 100.0 * others, 100.0 * hot);
    assert!(number(&report, "/refused/ResourceExhausted") > 0.0, "{report}");
    assert!(others > 0.85 * slower, "the others keep {others} of a machine that does {slower} of its peak");
    assert!(hot < others, "it is the hot one that is refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_back_at_once_and_again_leave_no_lasting_jam() {
    let _turn = TURN.lock().await;
    let system = System::start().await;
    let peak = peak(&system).await;
    // No less than what is refused at all.
    let (storm, rest) = (per_second(2.5, peak.max(200.0)), per_second(0.2, peak));
    let report = load(
        &system,
        &[
            "--rate",
            &storm,
            "--duration",
            "5",
            "--then-rate",
            &rest,
            "--then-duration",
            "30",
            "--retry",
            "naive",
            "--deadline",
            "20",
            "--within",
            "20",
            "--connections",
            "4",
            "--customers",
            "50",
        ],
    )
    .await;
    let refused = number(&report, "/refused/ResourceExhausted");
    println!("{refused} refusals of {} orders", number(&report, "/sent"));
    assert!(refused > 0.0, "{report}");
    assert_eq!(number(&report, "/still_open"), 0.0);
    is_normal_again(&report, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_cut_off_at_any_moment_is_stored_whole_or_not_at_all() {
    let _turn = TURN.lock().await;
    const CALLS: usize = 300;
    let system = System::start().await;
    system.add_stock("tea", 100_000).await;
    let requests: Vec<_> = (0..CALLS).map(|_| request("tea", 1, "pm_ok")).collect();
    let mut cut = 0;
    for (n, order) in requests.iter().enumerate() {
        let mut call = Request::new(order.clone());
        let patience = Duration::from_micros(u64::from(rand::random_range(500..50_000_u32)));
        if n % 2 == 0 {
            // The client says how long it waits, and the server stops then.
            call.set_timeout(patience);
            match system.orders().place_order(call).await {
                Ok(_) => {}
                Err(status) if [Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()) => cut += 1,
                Err(status) => panic!("{status}"),
            }
        } else if tokio::time::timeout(patience, system.orders().place_order(call)).await.is_err() {
            // The future is dropped: the stream is reset.
            cut += 1;
        }
    }
    println!("{cut} of {CALLS} calls were cut off");
    assert!(cut > 0, "no call was cut off");
    let mut ids = Vec::new();
    for order in &requests {
        let first = system.place_retrying(order.clone()).await.expect("a retry is answered");
        let again = system.place_retrying(order.clone()).await.expect("and again");
        assert_eq!(first.order_id, again.order_id, "one order for {}", order.request_id);
        ids.push(first.order_id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), CALLS);
    let sums = system.sums_add_up(CALLS).await;
    assert_eq!((sums.orders, sums.confirmed), (CALLS, CALLS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_nobody() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments = vec!["up".to_owned(), "--output".to_owned(), "json".to_owned(), "--ephemeral".to_owned()];
    for flag in ["grpc", "ops", "admin", "provider", "provider-admin", "nats", "nats-monitoring"] {
        arguments.extend([format!("--{flag}-port"), "0".to_owned()]);
    }
    let mut child = tokio::process::Command::new(support::spillway())
        .args(&arguments)
        .current_dir(folder.path())
        .env("SPILLWAY_LOG__LEVEL", "trace")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Never read: the pipe is full after 64 KiB.
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it is ready").expect("readable");
    let place: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
    let text = |value: &Value| value.as_str().expect("an address").to_owned();
    let endpoint = format!("http://{}", text(&place["grpc"]));
    let channel = tonic::transport::Endpoint::from_shared(endpoint).expect("an address").connect_lazy();
    let mut shop = OrderServiceClient::new(channel);
    let mut slowest = Duration::ZERO;
    for _ in 0..300 {
        let began = Instant::now();
        let placed = shop.place_order(request("tea", 1, "pm_ok"));
        tokio::time::timeout(PATIENCE, placed).await.expect("in time").expect("accepted");
        slowest = slowest.max(began.elapsed());
    }
    let admin = text(&place["admin"]["gateway"]);
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let dropped = async {
        loop {
            every.tick().await;
            let (_, figures) = get(&format!("http://{admin}/metrics")).await;
            let mut counted = figures.lines().filter(|line| line.starts_with("spillway_log_lines_dropped_total{"));
            let dropped = counted.find(|line| !line.ends_with(" 0"));
            if let Some(line) = dropped {
                return line.to_owned();
            }
            shop.place_order(request("tea", 1, "pm_ok")).await.expect("accepted");
        }
    };
    let dropped = tokio::time::timeout(PATIENCE, dropped).await.expect("lines are dropped, and counted");
    println!("slowest of 300 orders {slowest:?}; {dropped}");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    child.kill().await.expect("ended");
}
