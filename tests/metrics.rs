//! The metrics: what is scraped is what the catalogue says, the page is made of it, and a scrape waits for nobody.

mod metrics {
    pub mod exposition;
    pub mod provider;
    pub mod sources;
}
mod support;
#[path = "support/tls.rs"]
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use metrics::exposition::{Family, Labels, parse};
use metrics::provider::{ENDS, Provider};
use metrics::sources;
use spillway_cli::metrics::catalogue;
use spillway_proto::pb::orders::WatchOrderRequest;
use spillway_shared::figure::{Figure, Kind, Roles, Values};
use support::calls::{adjustment, request, with_contact};
use support::roles::ROLES;
use support::{Options, PATIENCE, System, sums};
use tonic::Code;

/// Not there without TLS: it has a test of its own.
const WITH_TLS: &str = "spillway_certificate_expiry_timestamp_seconds";

/// Labels that whoever scrapes sets.
const FORBIDDEN: [&str; 6] = ["service", "job", "instance", "pod", "namespace", "container"];

fn figure(name: &str) -> Option<&'static Figure> {
    catalogue::figures().find(|figure| figure.name == name)
}

/// By role, then by name.
async fn scrape(system: &System) -> BTreeMap<&'static str, BTreeMap<String, Family>> {
    let mut all = BTreeMap::new();
    for role in ROLES {
        let (status, text) = sums::get(&format!("http://{}/metrics", system.admin(role))).await;
        assert_eq!(status, 200, "{text}");
        all.insert(role, parse(&text));
    }
    all
}

async fn steer(system: &System, change: &str) {
    let (status, body) = sums::post(&format!("{}/sandbox/mode", system.address("provider")), change).await;
    assert_eq!(status, 200, "{body}");
}

/// Orders of every end, calls of every kind, and an outage of the provider.
async fn load_with_failures(system: &System) {
    system.add_stock("tea", 1000).await;
    for method in ["pm_ok", "pm_ok", "pm_declined", "pm_action_required", "pm_lost_answer", "pm_throttled"] {
        system.run_order(with_contact(request("tea", 1, method), "ada@example.org")).await;
    }
    let ended = system.run_order(request("nothing_of_it", 1, "pm_ok")).await;
    system.watch(&ended.order_id, 0).await;
    let strange = system.get("no-order").await.expect_err("it is no id");
    assert_eq!(strange.code(), Code::InvalidArgument);
    system.inventory().adjust_stock(adjustment("", 1)).await.expect_err("no SKU");
    let mut grpc = tonic::client::Grpc::new(system.channel());
    grpc.ready().await.expect("connected");
    let path = http::uri::PathAndQuery::from_static("/spillway.orders.v1.OrderService/Guess");
    let codec = tonic_prost::ProstCodec::<WatchOrderRequest, WatchOrderRequest>::default();
    let guessed = grpc.unary(tonic::Request::new(WatchOrderRequest::default()), path, codec).await;
    assert_eq!(guessed.expect_err("nobody serves it").code(), Code::Unimplemented);

    steer(system, r#"{"down": true}"#).await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(system.place_retrying(request("tea", 1, "pm_ok")).await.expect("accepted").order_id);
    }
    until_deferred(system, 1.0).await;
    // A watch that its client leaves.
    let follow = WatchOrderRequest { order_id: waiting[7].clone(), cursor: 0 };
    let mut watched = system.orders().watch_order(follow).await.expect("watched").into_inner();
    watched.message().await.expect("no break");
    drop(watched);
    steer(system, r#"{"down": false}"#).await;
    for order in &waiting {
        system.ended(order).await;
    }
}

async fn until_deferred(system: &System, orders: f64) {
    let mut every = tokio::time::interval(Duration::from_millis(100));
    let told = async {
        while scrape(system).await["payments"]["spillway_payments_deferred_total"].sum("", &[]) < orders {
            every.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("orders are told that they wait");
}

/// Gauges are read every few seconds, and more seldom on a slow disk.
async fn until_all_seen(system: &System) -> BTreeMap<&'static str, BTreeMap<String, Family>> {
    let mut every = tokio::time::interval(Duration::from_millis(500));
    let mut missing = Vec::new();
    let seen = async {
        loop {
            every.tick().await;
            let all = scrape(system).await;
            missing =
                catalogue::figures().filter(|figure| figure.name != WITH_TLS).filter_map(|f| absent(f, &all)).collect();
            if missing.is_empty() {
                return all;
            }
        }
    };
    let seen = tokio::time::timeout(PATIENCE, seen).await;
    seen.unwrap_or_else(|_| panic!("in the catalogue and never seen: {missing:#?}"))
}

/// What must show it and does not.
fn absent(figure: &Figure, all: &BTreeMap<&'static str, BTreeMap<String, Family>>) -> Option<String> {
    let shows = |role: &str| all[role].contains_key(figure.name);
    let is_there = match figure.roles {
        Roles::Only(role) => shows(role),
        Roles::Process => shows("gateway"),
        // Who hears nobody, or has no due work, has nothing of that to show.
        Roles::Ledgers | Roles::Everywhere
            if figure.labels.iter().any(|l| !matches!(l.values, Values::Of(_) | Values::Partition)) =>
        {
            ROLES.iter().any(|role| shows(role))
        }
        Roles::Ledgers | Roles::Everywhere => ROLES.iter().all(|role| shows(role)),
    };
    (!is_there).then(|| figure.name.to_owned())
}

/// Everything that is wrong with one series of a role's port.
fn problems(port: &str, name: &str, family: &Family, series: &Labels) -> Vec<String> {
    let Some(figure) = figure(name) else { return vec![format!("{name} is in no catalogue")] };
    let mut problems = Vec::new();
    let mut complain = |what: String| problems.push(format!("{name} {series:?} at the port of {port}: {what}"));
    if family.kind != figure.kind.name() || family.help != figure.meaning.replace("\\", "\\\\") {
        complain(format!("it is a {}: {}", figure.kind.name(), figure.meaning));
    }
    let role = series.get("role").map(String::as_str).unwrap_or_default();
    let is_own = match figure.roles {
        Roles::Process => port == "gateway" && role == "up",
        Roles::Ledgers | Roles::Only(_) => role == port && figure.roles.has(role),
        Roles::Everywhere => role == port || (port == "gateway" && role == "up"),
    };
    if !is_own {
        complain("it does not belong there".to_owned());
    }
    let names: BTreeSet<&str> = series.keys().map(String::as_str).collect();
    let wanted: BTreeSet<&str> = figure.labels.iter().map(|label| label.name).chain(["role"]).collect();
    if names != wanted {
        complain(format!("its labels are {wanted:?}"));
    }
    if names.iter().any(|label| FORBIDDEN.contains(label)) {
        complain("the scraper sets such a label".to_owned());
    }
    for label in figure.labels {
        let value = series.get(label.name).map(String::as_str).unwrap_or_default();
        let is_known = match label.values {
            Values::Of(_) | Values::Heard | Values::Hearer => label.values.of(role).contains(&value),
            Values::Partition => value.parse::<u16>().is_ok(),
            Values::Bounded(_) => !value.is_empty() && value.len() < 100 && !is_id(value),
        };
        if !is_known {
            complain(format!("{} is never {value:?}", label.name));
        }
    }
    problems
}

/// Whether it holds an id of an order, of a request or of an incarnation.
fn is_id(value: &str) -> bool {
    value.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).any(|word| uuid::Uuid::try_parse(word).is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scraped_is_what_the_catalogue_says() {
    // JetStream sets the bytes of every stream aside: on a disk that is nearly full there is no room for twice as many.
    let small = "nats.stream.max_bytes=67108864";
    let sets = ["check.every_s=1", "payments.breaker.open_ms=1000", "payments.breaker.failures=3", small];
    let arguments = sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]).collect();
    let system = System::start_with(Options { arguments, partitions: Some(2), ..Options::default() }).await;
    let at_rest = scrape(&system).await;
    load_with_failures(&system).await;
    let all = until_all_seen(&system).await;

    let mut wrong = Vec::new();
    let mut seen: BTreeMap<(String, Labels), &str> = BTreeMap::new();
    for (port, families) in at_rest.iter().chain(&all) {
        for (name, family) in families {
            wrong.extend(family.series().iter().flat_map(|series| problems(port, name, family, series)));
        }
    }
    for (port, families) in &all {
        for (name, family) in families {
            for series in family.series() {
                if let Some(other) = seen.insert((name.clone(), series.clone()), port) {
                    wrong.push(format!("{name} {series:?} is at {other} and at {port}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    it_measures(&all);

    // From the first scrape on, so that an alarm has something to go by.
    for (role, name) in [
        ("gateway", "spillway_admission_refusals_total"),
        ("payments", "spillway_provider_calls_total"),
        ("payments", "spillway_payments_parked_total"),
        ("orders", "spillway_incidents_total"),
        ("audit", "spillway_dead_letters_written_total"),
        ("gateway", "spillway_nats_server_restarts_total"),
        ("payments", "payment_process_duration_seconds"),
    ] {
        assert!(at_rest[role].contains_key(name), "{name} is there before anything happened");
    }
}

/// The load is in the figures.
fn it_measures(all: &BTreeMap<&'static str, BTreeMap<String, Family>>) {
    let sum = |role: &str, name: &str, part: &str, labels: &[(&str, &str)]| all[role][name].sum(part, labels);
    let calls = |method: &str, code: &str| {
        let labels = [("method", method), ("code", code)];
        sum("gateway", "spillway_grpc_server_duration_seconds", "_count", &labels)
    };
    let order_service = |method: &str| format!("spillway.orders.v1.OrderService/{method}");
    assert_eq!(calls(&order_service("PlaceOrder"), "OK"), 15.0);
    assert_eq!(calls(&order_service("GetOrder"), "INVALID_ARGUMENT"), 1.0);
    assert_eq!(calls("spillway.inventory.v1.InventoryService/AdjustStock", "INVALID_ARGUMENT"), 1.0);
    assert_eq!(calls("unknown", "UNIMPLEMENTED"), 1.0, "a method that nobody serves has no series of its own");
    assert_eq!(
        (calls(&order_service("WatchOrder"), "OK"), calls(&order_service("WatchOrder"), "CANCELLED")),
        (1.0, 1.0)
    );
    let ends = |state: &str, deferred: &str| {
        sum("orders", "spillway_order_end_seconds", "_count", &[("state", state), ("deferred", deferred)])
    };
    assert_eq!(ends("confirmed", "true") + ends("confirmed", "false"), 12.0);
    assert!(ends("confirmed", "true") >= 1.0, "the outage is told apart");
    assert_eq!(ends("rejected", "false"), 3.0);
    let processed = |status: &str| sum("payments", "payment_process_duration_seconds", "_count", &[("status", status)]);
    assert_eq!((processed("captured"), processed("declined")), (12.0, 2.0));
    assert!(processed("unknown") >= 1.0 && processed("throttled") >= 1.0);
    // The throttled order was called again after a second, and is measured from its first call.
    let slow = processed("captured")
        - sum("payments", "payment_process_duration_seconds", "_bucket", &[("status", "captured"), ("le", "0.3")]);
    assert!(slow >= 1.0, "{slow}");
    assert!(sum("orders", "spillway_commit_inputs", "_count", &[]) > 10.0);
    assert!(sum("orders", "spillway_commit_duration_seconds", "_sum", &[]) > 0.0);
    for name in ["spillway_disk_size_bytes", "spillway_disk_free_bytes"] {
        assert!(sum("audit", name, "", &[]) > 0.0, "{name}");
    }
    assert!(sum("gateway", "spillway_process_resident_memory_bytes", "", &[("role", "up")]) > 1e6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_is_answered_while_the_ledgers_are_locked() {
    let system = System::start().await;
    system.add_stock("tea", 10).await;
    system.run_order(request("tea", 1, "pm_ok")).await;
    let names = ["gateway", "inventory", "payments-0", "orders-0", "notifications-0", "audit-0"];
    let locks: Vec<rusqlite::Connection> = names.map(|name| lock(&system, name)).into();
    let began = Instant::now();
    for _ in 0..3 {
        let all = scrape(&system).await;
        assert!(ROLES.iter().all(|role| all[role].len() > 20));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // They were locked: nothing can be accepted meanwhile.
    let refused = system.orders().place_order(request("tea", 1, "pm_ok")).await.expect_err("it is locked");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    drop(locks);
}

/// Nobody else writes it until it is dropped.
fn lock(system: &System, ledger: &str) -> rusqlite::Connection {
    let file = rusqlite::Connection::open(system.ledger(ledger)).expect("opened");
    file.busy_timeout(PATIENCE).expect("set");
    file.execute_batch("begin immediate").expect("locked");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_providers_certificate_is_told() {
    let provider = Provider::start().await;
    let options = Options {
        arguments: vec!["--provider-url".to_owned(), provider.https.url.clone()],
        environment: vec![("SSL_CERT_FILE".to_owned(), provider.trusted().display().to_string())],
        ..Options::default()
    };
    let system = System::start_with(options).await;
    system.add_stock("tea", 10).await;
    assert!(!scrape(&system).await["payments"].contains_key(WITH_TLS), "nothing was connected to yet");
    system.run_order(request("tea", 1, "pm_ok")).await;
    let all = scrape(&system).await;
    let family = &all["payments"][WITH_TLS];
    let series = family.series();
    let wrong: Vec<String> = series.iter().flat_map(|series| problems("payments", WITH_TLS, family, series)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(family.sum("", &[("certificate", "provider")]), ENDS as f64);
    provider.stop().await;
}

#[test]
fn the_page_is_made_of_the_catalogue() {
    let path = sources::root().join("docs/metrics.md");
    let page = catalogue::page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/metrics.md is old: UPDATE_DOCS=1 cargo test -p spillway --test metrics page");
}

#[test]
fn every_metric_that_the_code_names_is_in_the_catalogue_with_these_labels() {
    let mut wrong = Vec::new();
    let named = sources::named();
    assert!(named.len() > 40, "only {} found", named.len());
    for named in &named {
        let Some(figure) = figure(&named.name) else {
            wrong.push(format!("{}: {} is in no catalogue", named.at, named.name));
            continue;
        };
        if figure.kind.name() != named.kind {
            wrong.push(format!("{}: {} is a {}", named.at, named.name, figure.kind.name()));
        }
        let role = (figure.roles != Roles::Process).then_some("role");
        let wanted: BTreeSet<String> = figure.labels.iter().map(|l| l.name).chain(role).map(str::to_owned).collect();
        let is_right = |labels: &BTreeSet<String>| {
            *labels == wanted || (figure.roles == Roles::Process && labels.iter().filter(|l| *l != "role").eq(&wanted))
        };
        if named.labels.as_ref().is_some_and(|labels| !is_right(labels)) {
            wrong.push(format!("{}: {} has the labels {:?}, not {wanted:?}", named.at, named.name, named.labels));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_metric_of_the_catalogue_is_somewhere_in_the_code() {
    let code: Vec<(String, String)> = sources::sources();
    // Made by the crate that reads /proc.
    let made = |figure: &&Figure| !figure.name.starts_with("spillway_process_");
    let missing: Vec<&str> = catalogue::figures()
        .filter(made)
        .filter(|figure| !code.iter().any(|(_, text)| text.contains(&format!("\"{}\"", figure.name))))
        .map(|figure| figure.name)
        .collect();
    assert!(missing.is_empty(), "nothing sets {missing:?}");
}

#[test]
fn dashboards_and_rules_ask_for_metrics_that_there_are() {
    let mut wrong = Vec::new();
    for (file, text) in sources::shown() {
        for name in sources::names_in(&text).into_iter().filter(|name| !name.contains(':')) {
            let parts = ["_bucket", "_sum", "_count"];
            let is_histogram = |name: &str| figure(name).is_some_and(|f| matches!(f.kind, Kind::Histogram(_)));
            let is_part = parts.iter().any(|part| name.strip_suffix(part).is_some_and(is_histogram));
            if !is_part && figure(&name).is_none_or(|figure| matches!(figure.kind, Kind::Histogram(_))) {
                wrong.push(format!("{file}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
