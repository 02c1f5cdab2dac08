//! Traces: one order is one trace through every role, waits are seen, what is worth it is raised and told from the
//! record, and nothing depends on who takes the spans.

mod support;
mod traces {
    pub mod tree;
}

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{Order, PlaceOrderRequest};
use support::calls::{request, with_contact};
use support::otlp::{self, Receiver, Seen};
use support::roles::Roles;
use support::{Options, PATIENCE, System, sums};
use tokio::net::TcpListener;
use tonic::Request;
use traces::tree::{find, has, tree};

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// A trace of a client's own, the nth of this test; its span is no span of ours.
fn client(n: u64, is_sampled: bool) -> (String, String, String) {
    let (trace, span) = (format!("{:016x}{n:016x}", 0xabcd_u64), format!("{:016x}", 0x77_u64));
    let header = format!("00-{trace}-{span}-0{}", u8::from(is_sampled));
    (trace, span, header)
}

async fn place(system: &System, request: PlaceOrderRequest, traceparent: &str) -> Order {
    let mut request = Request::new(request);
    request.metadata_mut().insert("traceparent", traceparent.parse().expect("a header"));
    let answer = system.orders().place_order(request).await.expect("accepted");
    answer.into_inner().order.expect("an order")
}

/// Inventory alone cannot take what holds these words, and payments the answer to its second charge.
fn what_fails_in(role: &str) -> Option<&'static str> {
    match role {
        "inventory" => Some("ledger.decide=return(panic poison-panic)"),
        "payments" => Some("payments.before_result_commit=1*off->1*return(panic)->off"),
        _ => None,
    }
}

fn failing(what: &str) -> (String, String) {
    ("FAILPOINTS".to_owned(), what.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_is_one_trace_through_every_role() {
    let receiver = Receiver::start().await;
    let environment = receiver.environment();
    let of_role =
        move |_: &System, role: &str| environment.iter().cloned().chain(what_fails_in(role).map(failing)).collect();
    let mut roles = Roles::start_under(&[], of_role).await;
    roles.add_stock("tea", 1_000).await;
    let (trace, root, header) = client(1, true);
    let order = place(&roles, with_contact(request("tea", 1, "pm_ok"), "ada@example.com"), &header).await;
    assert_eq!(roles.ended(&order.order_id).await.state(), State::Confirmed);

    let wanted = [
        ("spillway-gateway", "spillway.orders.v1.OrderService/PlaceOrder"),
        ("spillway-gateway", "commit"),
        ("spillway-gateway", "publish spillway-gateway-0"),
        ("spillway-inventory", "queue spillway-gateway-0"),
        ("spillway-inventory", "process spillway-gateway-0"),
        ("spillway-inventory", "publish spillway-inventory"),
        ("spillway-payments", "process spillway-inventory"),
        ("spillway-payments", "wait charge"),
        ("spillway-payments", "POST /v1/charges"),
        ("spillway-payments", "publish spillway-payments-0"),
        ("spillway-orders", "process spillway-gateway-0"),
        ("spillway-orders", "process spillway-inventory"),
        ("spillway-orders", "process spillway-payments-0"),
        ("spillway-orders", "commit"),
        ("spillway-orders", "publish spillway-orders-0"),
        ("spillway-inventory", "process spillway-orders-0"),
        ("spillway-notifications", "process spillway-orders-0"),
        ("spillway-notifications", "wait email"),
        ("spillway-notifications", "send mail"),
        ("spillway-notifications", "publish spillway-notifications-0"),
        ("spillway-audit", "process spillway-gateway-0"),
        ("spillway-audit", "process spillway-notifications-0"),
    ];
    let is_whole = |spans: &[Seen]| wanted.iter().all(|(service, name)| has(spans, service, name));
    let spans = tree(&receiver, (&trace, &root), "the whole trace", is_whole).await;

    let placed = find(&spans, "spillway-gateway", wanted[0].1);
    assert_eq!((placed.kind, placed.parent.as_str()), (SERVER, root.as_str()));
    assert_eq!((placed.of("rpc.system.name"), placed.of("rpc.response.status_code")), ("grpc", "OK"));
    let held = find(&spans, "spillway-inventory", "process spillway-gateway-0");
    assert_eq!((held.kind, held.parent.as_str()), (CONSUMER, placed.id.as_str()));
    assert_eq!(held.of("messaging.system"), "nats");
    assert_eq!(held.of("messaging.message.conversation_id"), order.order_id);
    let charged = find(&spans, "spillway-payments", "process spillway-inventory");
    assert_eq!(charged.parent, held.id);
    let called = find(&spans, "spillway-payments", "POST /v1/charges");
    assert_eq!((called.kind, called.parent.as_str()), (CLIENT, charged.id.as_str()));
    assert_eq!(called.of("spillway.provider.class"), "approved");
    assert_eq!(called.of("http.response.status_code").len(), 3, "{called:?}");
    let confirmed = find(&spans, "spillway-orders", "process spillway-payments-0");
    assert_eq!(confirmed.parent, charged.id);
    assert_eq!(find(&spans, "spillway-orders", "publish spillway-orders-0").kind, PRODUCER);
    assert_eq!(find(&spans, "spillway-notifications", "process spillway-orders-0").parent, confirmed.id);
    for span in &spans {
        assert_eq!(span.resource["service.namespace"], "spillway");
        assert!(!span.resource["service.version"].is_empty() && !span.resource["service.instance.id"].is_empty());
        assert!(!format!("{span:?}").contains("ada@example.com"), "{span:?}");
    }
    a_dead_letter_raises_the_trace_of_its_order(&receiver, &roles).await;
    so_does_a_charge_that_is_set_aside(&receiver, &roles).await;
    what_waits_in_the_queue_is_exported_at_the_end(&receiver, &mut roles).await;
}

/// Of an order that its client does not want to be traced, and that nothing else happens to.
async fn a_dead_letter_raises_the_trace_of_its_order(receiver: &Receiver, roles: &Roles) {
    let (trace, root, header) = client(3, false);
    let order = place(roles, request("poison-panic", 1, "pm_ok"), &header).await;
    let dead = ("spillway-inventory", "process spillway-gateway-0");
    let placed = ("spillway-gateway", "spillway.orders.v1.OrderService/PlaceOrder");
    let is_told = |spans: &[Seen]| [dead, placed].iter().all(|(service, name)| has(spans, service, name));
    let spans = tree(receiver, (&trace, &root), "the step that failed, and what was before it", is_told).await;
    let (dead, placed) = (find(&spans, dead.0, dead.1), find(&spans, placed.0, placed.1));
    assert!(dead.is_error && dead.of("error.type") == "PANIC", "{dead:?}");
    assert_eq!(dead.parent, placed.id);
    assert_eq!(dead.of("messaging.message.conversation_id"), order.order_id);
    assert_eq!((dead.of("spillway.from_record"), placed.of("spillway.from_record")), ("", "true"));
}

async fn so_does_a_charge_that_is_set_aside(receiver: &Receiver, roles: &Roles) {
    let (trace, _, header) = client(4, false);
    let order = place(roles, request("tea", 1, "pm_ok"), &header).await;
    let is_told = |spans: &[Seen]| has(spans, "spillway-payments", "set charge aside");
    let spans = receiver.until(&trace, "the charge that was set aside", is_told).await;
    let set_aside = find(&spans, "spillway-payments", "set charge aside");
    assert!(set_aside.is_error && set_aside.of("error.type") == "PANIC", "{set_aside:?}");
    assert_eq!(roles.get(&order.order_id).await.expect("there").state(), State::Pending);
}

/// SIGTERM comes before the timer of the export: what waits is told all the same.
async fn what_waits_in_the_queue_is_exported_at_the_end(receiver: &Receiver, roles: &mut Roles) {
    assert_eq!(roles.stop("gateway").await.code, Some(0));
    roles.begin_with("gateway", &[("OTEL_BSP_SCHEDULE_DELAY", "3600000".to_owned())]).await;
    roles.until_ready("gateway").await;
    let (trace, _, header) = client(2, true);
    let order = place(roles, request("tea", 1, "pm_ok"), &header).await;
    roles.ended(&order.order_id).await;
    assert!(receiver.of_trace(&trace).iter().all(|span| span.service != "spillway-gateway"), "it waits for an hour");
    assert_eq!(roles.stop("gateway").await.code, Some(0));
    let is_told = |spans: &[Seen]| has(spans, "spillway-gateway", "spillway.orders.v1.OrderService/PlaceOrder");
    receiver.until(&trace, "the gateway's last span", is_told).await;
    assert!(roles.log().contains("all spans are exported"), "{}", roles.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_or_fails_is_raised_and_told_from_the_record_once() {
    let receiver = Receiver::start().await;
    let arguments = ["--set", "payments.breaker.failures=3", "--set", "payments.breaker.open_ms=300"];
    let arguments = arguments.map(str::to_owned).to_vec();
    let options = Options { arguments, environment: receiver.environment(), ..Options::default() };
    let system = System::start_with(options).await;
    system.add_stock("tea", 1_000).await;

    // A decline, of an order that its client does not want to be traced.
    let (declined, root, header) = client(10, false);
    let order = place(&system, request("tea", 1, "pm_declined"), &header).await;
    assert_eq!(system.ended(&order.order_id).await.state(), State::Rejected);
    let steps = [
        ("spillway-gateway", "spillway.orders.v1.OrderService/PlaceOrder"),
        ("spillway-inventory", "process spillway-gateway-0"),
        ("spillway-payments", "process spillway-inventory"),
        ("spillway-orders", "process spillway-payments-0"),
        ("spillway-inventory", "process spillway-orders-0"),
    ];
    let is_whole = |spans: &[Seen]| steps.iter().all(|(service, name)| has(spans, service, name));
    let spans = tree(&receiver, (&declined, &root), "the earlier steps of a decline", is_whole).await;
    for (service, name) in &steps[..3] {
        let step = find(&spans, service, name);
        assert_eq!(step.of("spillway.from_record"), "true", "{service} {name}");
        assert_eq!(step.resource["service.instance.id"], "record");
    }
    let confirmed = find(&spans, "spillway-orders", "process spillway-payments-0");
    assert_eq!(confirmed.of("spillway.from_record"), "", "it is told by who did it: its cause was raised");

    // An outage: what waits is raised when it goes on, and its waits are seen.
    let provider = system.address("provider");
    sums::post(&format!("{provider}/sandbox/mode"), r#"{"down": true}"#).await;
    let mut waiting = Vec::new();
    for n in 20..26 {
        let (trace, root, header) = client(n, false);
        waiting.push((trace, root, place(&system, request("tea", 1, "pm_ok"), &header).await));
    }
    let (trace, root, first) = waiting.first().expect("some").clone();
    let is_told = |spans: &[Seen]| spans.iter().any(|span| span.of("spillway.from_record") == "true");
    receiver.until(&trace, "what was done before the outage", is_told).await;
    receiver.until_any("a wait for the breaker", |span| span.of("spillway.wait.held_by") == "breaker").await;
    until_trace_says(&system, &first, "waits for the provider (breaker)").await;
    sums::post(&format!("{provider}/sandbox/mode"), r#"{"down": false}"#).await;
    assert_eq!(system.ended(&first.order_id).await.state(), State::Confirmed);
    let is_charged = |spans: &[Seen]| {
        let calls = spans.iter().filter(|span| span.name == "POST /v1/charges");
        calls.map(|call| call.is_error).collect::<BTreeSet<bool>>().len() == 2
            && has(spans, "spillway-orders", "process spillway-payments-0")
            && has(spans, "spillway-payments", "retry charge")
            && has(spans, "spillway-payments", "wait charge")
    };
    tree(&receiver, (&trace, &root), "calls that failed, waits, and a call that did not fail", is_charged).await;

    the_record_alone_tells_it_as_a_tree(&system, &first, &trace, &receiver).await;
}

/// Waits until `order trace` has these words.
async fn until_trace_says(system: &System, order: &Order, words: &str) {
    let mut every = tokio::time::interval(Duration::from_millis(200));
    let said = async {
        loop {
            every.tick().await;
            let (_, out, _) = system.verb(&["order", "trace", &order.order_id]).await;
            if out.contains(words) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("{words:?} is never told"));
}

/// `order trace` has the same spans under the same ids, from the ledgers.
async fn the_record_alone_tells_it_as_a_tree(system: &System, order: &Order, trace: &str, receiver: &Receiver) {
    let (code, out, err) = system.verb(&["--output", "json", "order", "trace", &order.order_id]).await;
    assert_eq!(code, 0, "{err}");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["traceId"], *trace);
    let spans = told["spans"].as_array().expect("spans");
    let steps = spans.iter().filter(|span| span["kind"] == "KIND_STEP");
    let steps: Vec<&str> = steps.map(|span| span["spanId"].as_str().expect("an id")).collect();
    assert!(steps.len() >= 4, "{told:#}");
    let is_exported = |spans: &[Seen]| steps.iter().take(4).all(|id| spans.iter().any(|span| span.id == *id));
    receiver.until(trace, "what the record tells, under the same ids", is_exported).await;
    let (code, out, err) = system.verb(&["order", "trace", &order.order_id]).await;
    assert_eq!(code, 0, "{err}");
    for word in ["order.placed", "stock.held -> payment.", "provider: charge", "waits for the provider (breaker)"] {
        assert!(out.contains(word), "{word} in\n{out}");
    }
    let (code, _, err) = system.verb(&["order", "trace", "0190b5a1-0000-7000-8000-000000000000"]).await;
    assert_eq!((code, err.contains("there is no order")), (1, true), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_so_many_traces_a_second_are_kept_and_batches_link_what_they_carry() {
    let receiver = Receiver::start().await;
    let bounded = ["--set", "telemetry.max_traces_per_second=5"].map(str::to_owned).to_vec();
    let options = Options { arguments: bounded, environment: receiver.environment(), ..Options::default() };
    let mut system = System::start_with(options).await;
    system.add_stock("tea", 100_000).await;
    let began = Instant::now();
    let placed = place_many(&system, 400).await;
    let traces = |receiver: &Receiver| -> BTreeSet<String> {
        let begun = receiver.seen().into_iter().filter(|span| span.name.ends_with("/PlaceOrder"));
        begun.filter(|span| span.of("spillway.from_record").is_empty()).map(|span| span.trace).collect()
    };
    let bound = 5 + 5 * usize::try_from(began.elapsed().as_secs() + 1).expect("a while");
    for order in &placed {
        system.ended(&order.order_id).await;
    }
    system.stop().await;
    let kept = traces(&receiver).len();
    assert!((1..=bound).contains(&kept), "{kept} of 400, at most {bound}");

    // Every one of them, as the environment wants it: a batch has several.
    let mut environment = receiver.environment();
    environment.push(("OTEL_TRACES_SAMPLER".to_owned(), "always_on".to_owned()));
    environment.push(("OTEL_BSP_MAX_QUEUE_SIZE".to_owned(), "100000".to_owned()));
    system.restart_with(environment).await;
    let placed = place_many(&system, 400).await;
    for order in &placed {
        system.ended(&order.order_id).await;
    }
    system.stop().await;
    assert!(traces(&receiver).len() >= 400, "{}", traces(&receiver).len());
    let seen = receiver.seen();
    let ids: BTreeSet<(&str, &str)> = seen.iter().map(|span| (span.trace.as_str(), span.id.as_str())).collect();
    let batches: Vec<&Seen> =
        seen.iter().filter(|span| span.name.starts_with("publish") && span.links.len() > 1).collect();
    assert!(!batches.is_empty(), "no batch carried two");
    for (trace, span) in batches.iter().flat_map(|batch| &batch.links) {
        assert!(ids.contains(&(trace.as_str(), span.as_str())), "a link leads to a span: {trace} {span}");
    }
}

/// So many at once, each in a trace of its own.
async fn place_many(system: &System, count: usize) -> Vec<Order> {
    let one = |_| async {
        let answer = system.place_retrying(request("tea", 1, "pm_ok")).await;
        answer.expect("accepted")
    };
    futures::future::join_all((0..count).map(one)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_or_is_not_there_changes_nothing() {
    // It takes connections, and never answers.
    let hanging = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", hanging.local_addr().expect("an address"));
    let held = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = hanging.accept().await {
            open.push(connection);
        }
    });
    let gone = {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        format!("http://{}", free.local_addr().expect("an address"))
    };
    let mut took = BTreeMap::new();
    for (what, endpoint) in [("hangs", endpoint), ("is gone", gone)] {
        let mut environment = otlp::environment(&endpoint);
        environment.push(("OTEL_BSP_MAX_QUEUE_SIZE".to_owned(), "20".to_owned()));
        let mut system = System::start_with(Options { environment, ..Options::default() }).await;
        system.add_stock("tea", 1_000).await;
        for order in place_many(&system, 50).await {
            assert_eq!(system.ended(&order.order_id).await.state(), State::Confirmed, "{what}");
        }
        let lost = lost_spans(&system).await;
        let began = Instant::now();
        system.stop().await;
        took.insert(what, (began.elapsed(), lost));
        assert!(system.log().contains("spans are not exported") || what == "hangs", "{}", system.log());
    }
    held.abort();
    eprintln!("stopping and spans lost: {took:?}");
    assert!(took.values().all(|(stopped, lost)| *stopped < Duration::from_secs(20) && *lost > 0), "{took:?}");
}

/// Spans that were dropped or failed, over all roles.
async fn lost_spans(system: &System) -> u64 {
    let mut every = tokio::time::interval(Duration::from_millis(100));
    let counted = async {
        loop {
            every.tick().await;
            let mut lost = 0;
            for role in support::roles::ROLES {
                let (_, text) = sums::get(&format!("http://{}/metrics", system.admin(role))).await;
                let lines = text.lines().filter(|line| line.starts_with("spillway_trace_spans_total"));
                let of_lost = lines.filter(|line| !line.contains("exported") && line.contains(&format!("\"{role}\"")));
                let values = of_lost.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
                lost += values.sum::<u64>();
            }
            if lost > 0 {
                return lost;
            }
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("spans are lost and counted")
}
