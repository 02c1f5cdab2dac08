//! No card data, no secrets, no mail addresses: canaries go in through every field, and none of them may come out.
//!
//! What holds them by right: the order itself and its history, the mail, the audit trail's and the dead letters' bytes, and,
//! of what is no secret (names, SKUs, labels, reasons), the answers about the order.

mod canaries {
    pub mod provider;
}
#[path = "../services/notifications/tests/notifications/sink.rs"]
#[allow(dead_code, reason = "the mail server can do more than is needed here")]
mod sink;
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sink::{Mode, Sink};
use spillway_natsd::testing::TestServer;
use spillway_proto::pb::inventory::AdjustStockRequest;
use spillway_proto::pb::orders::{
    Contact, ExplainOrderRequest, GetOrderRequest, ListOrderEventsRequest, ListOrdersRequest, PlaceOrderRequest,
    WatchOrderRequest,
};
use support::calls::request;
use support::otlp::Receiver;
use support::{Options, PATIENCE, System, sums};
use tonic::{Request, Status};
use uuid::Uuid;

/// Never to be seen again, wherever they went in.
const MAIL: &str = "canary-mail-7f3e@example.org";
const MAIL_REPLY: &str = "550 5.1.1 <canary-reply-7f3e@example.org> is unknown here";
const TOKEN: &str = "pm_canarytoken7f3e";
const CARD: &str = "4242424242424242";
const HEADER: &str = "canary-header-7f3e";
const PROVIDER_SAYS: &str = "canary-provider-7f3e@example.org 4000056655665556";
const PROVIDER_TOKEN: &str = "canary-provider-token-7f3e";
const SMTP_PASSWORD: &str = "canary-smtp-7f3e";
const NATS_PASSWORD: &str = "canary-nats-7f3e";
const URL_PASSWORD: &str = "canary-url-7f3e";

/// What must come out nowhere.
const PRIVATE: [&str; 10] = [
    "canary-mail-7f3e",
    "canary-reply-7f3e",
    "canarytoken7f3e",
    CARD,
    HEADER,
    "canary-provider-7f3e",
    "4000056655665556",
    PROVIDER_TOKEN,
    SMTP_PASSWORD,
    NATS_PASSWORD,
];

/// What somebody chose as a name or a reason: shown to who asks for the order or the act, and logged, measured and told of
/// the process nowhere.
const CHOSEN: &str = "canary-chosen-7f3e";

/// Everything that came out, by where.
#[derive(Default)]
struct Out(BTreeMap<String, String>);

impl Out {
    fn put(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.entry(place.into()).or_default().push_str(&text.into());
    }

    /// An error as its caller gets it.
    fn refused<T>(&mut self, place: &str, answer: Result<T, Status>) {
        let Err(status) = answer else { panic!("{place} was taken") };
        let details = String::from_utf8_lossy(status.details()).into_owned();
        self.put(format!("error of {place}"), format!("{status:?} {details}"));
    }

    /// Where one of them is, with what stands around it.
    fn leaks(&self, words: &[&str], is_looked_at: impl Fn(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        for (place, text) in self.0.iter().filter(|(place, _)| is_looked_at(place)) {
            for word in words {
                if let Some(at) = text.find(word) {
                    let from = text[..at].char_indices().rev().nth(160).map_or(0, |(from, _)| from);
                    let to = text[at..].char_indices().nth(80).map_or(text.len(), |(to, _)| at + to);
                    found.push(format!("{word} in {place}: {}", &text[from..to]));
                }
            }
        }
        found
    }
}

fn with_headers<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    for name in ["authorization", "cookie", "x-api-key", "x-forwarded-for", "traceparent", "tracestate", "baggage"] {
        request.metadata_mut().insert(name, HEADER.parse().expect("a header"));
    }
    request.metadata_mut().insert_bin("token-bin", tonic::metadata::MetadataValue::from_bytes(HEADER.as_bytes()));
    request
}

/// An order with a canary in every field that holds text.
fn order(sku: &str, payment_method: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        customer_id: format!("{CHOSEN}-customer"),
        contact: Some(Contact { email: MAIL.to_owned() }),
        labels: [(CHOSEN.to_owned(), format!("{CHOSEN}-label"))].into(),
        ..request(sku, 1, payment_method)
    }
}

/// Orders with a mistake, and a canary where the mistake is.
fn bad_orders() -> Vec<(&'static str, PlaceOrderRequest)> {
    let good = || order("tea", TOKEN);
    let mut bad_sku = good();
    bad_sku.lines[0].sku = format!("{MAIL}\u{7}");
    let mut bad_currency = good();
    bad_currency.lines[0].unit_price.as_mut().expect("a price").currency_code = MAIL.to_owned();
    vec![
        ("a card number", PlaceOrderRequest { payment_method: CARD.to_owned(), ..good() }),
        ("a token with a control", PlaceOrderRequest { payment_method: format!("{TOKEN}\n"), ..good() }),
        ("a long token", PlaceOrderRequest { payment_method: TOKEN.repeat(20), ..good() }),
        ("a customer", PlaceOrderRequest { customer_id: format!("{MAIL}\u{1b}"), ..good() }),
        ("a request id", PlaceOrderRequest { request_id: MAIL.to_owned(), ..good() }),
        ("an address", PlaceOrderRequest { contact: Some(Contact { email: format!("{MAIL}@{MAIL}") }), ..good() }),
        ("a label", PlaceOrderRequest { labels: [(MAIL.to_owned(), CARD.to_owned())].into(), ..good() }),
        ("a sku", bad_sku),
        ("a currency", bad_currency),
    ]
}

/// Everything that clients can get wrong, with canaries in it.
async fn refused_calls(system: &System, out: &mut Out) {
    for (what, bad) in bad_orders() {
        out.refused(what, system.orders().place_order(with_headers(bad)).await);
    }
    let (mut orders, mut stock) = (system.orders(), system.inventory());
    let id = || MAIL.to_owned();
    out.refused("get", orders.get_order(with_headers(GetOrderRequest { order_id: id() })).await);
    out.refused("explain", orders.explain_order(with_headers(ExplainOrderRequest { order_id: id() })).await);
    out.refused("watch", orders.watch_order(with_headers(WatchOrderRequest { order_id: id(), cursor: 0 })).await);
    let events = ListOrderEventsRequest { order_id: id(), ..ListOrderEventsRequest::default() };
    out.refused("events", orders.list_order_events(with_headers(events)).await);
    let list =
        ListOrdersRequest { customer_id: MAIL.to_owned(), page_token: MAIL.to_owned(), ..ListOrdersRequest::default() };
    out.refused("list", orders.list_orders(with_headers(list)).await);
    let adjust =
        AdjustStockRequest { request_id: id(), sku: format!("{MAIL}\n"), delta: 1, reason: format!("{CARD}\n") };
    out.refused("adjust", stock.adjust_stock(with_headers(adjust)).await);
    for (what, path) in [("unknown method", "/spillway.orders.v1.OrderService/"), ("unknown service", "/")] {
        let url = format!("http://{}{path}{HEADER}?token={HEADER}", system.address("grpc"));
        let (_, body) = sums::post(&url, MAIL).await;
        out.put(format!("error of {what}"), body);
    }
    for port in ["gateway", "orders"] {
        let (_, body) = sums::get(&format!("http://{}/{HEADER}?token={HEADER}", system.admin(port))).await;
        out.put(format!("error of admin {port}"), body);
    }
}

/// What an operator does and sees.
async fn verbs(system: &System, orders: &[String], out: &mut Out) {
    let (reason, level) = (format!("{CHOSEN} reason"), format!("info,{CHOSEN}=loud"));
    for line in [
        vec!["pause", "notifications", "--reason", &reason, "--by", CHOSEN],
        vec!["flow"],
        vec!["resume", "notifications", "--reason", &reason, "--by", CHOSEN],
        vec!["flow", "set", "log.level", &level, "--reason", &reason],
        vec!["payment", "list"],
        vec!["payment", "settle", &orders[0], "--as", "captured", "--reference", MAIL, "--reason", &reason],
        vec!["dlq", "list"],
        vec!["dlq", "list", "--fingerprint", MAIL],
        vec!["check"],
        vec!["stock", "list"],
    ] {
        let (_, shown, err) = system.verb(&line).await;
        out.put(format!("verb {}", line[..line.len().min(2)].join(" ")), shown + &err);
    }
    for order in orders {
        for verb in ["explain", "trace"] {
            let (_, shown, err) = system.verb(&["order", verb, order]).await;
            out.put(format!("verb order {verb}"), shown + &err);
        }
    }
}

/// The dead letters of every kind, listed and shown. Their bytes hold what they hold.
async fn dead_letters(system: &System, out: &mut Out) {
    let mut every = tokio::time::interval(Duration::from_millis(100));
    let listed = async {
        loop {
            every.tick().await;
            let (_, groups, _) = system.verb(&["--output", "json", "dlq", "list"]).await;
            let groups: Value = serde_json::from_str(groups.lines().next().unwrap_or_default()).unwrap_or_default();
            let found = groups["groups"].as_array().cloned().unwrap_or_default();
            if !found.is_empty() {
                return found;
            }
        }
    };
    for group in tokio::time::timeout(PATIENCE, listed).await.expect("there are dead letters") {
        out.put("dlq groups", group.to_string());
        let id = group["example"]["deadLetterId"].as_str().expect("an id").to_owned();
        let (code, shown, err) = system.verb(&["dlq", "show", &id]).await;
        assert_eq!(code, 0, "{shown}{err}");
        assert!(shown.contains("\"***\"") && shown.contains("orderPlaced") || shown.contains("***"), "{shown}");
        out.put("dlq show", shown + &err);
    }
}

/// What the process shows of itself.
async fn process(system: &System, out: &mut Out) {
    for role in ["gateway", "orders", "inventory", "payments", "notifications", "audit"] {
        for path in ["health", "ready", "info", "metrics"] {
            let (_, body) = sums::get(&format!("http://{}/{path}", system.admin(role))).await;
            out.put(format!("own {path} of {role}"), body);
        }
    }
    out.put("own log", system.log());
    out.put("own place", system.place.to_string());
}

/// What is configured, and what is wrong with it.
async fn configuration(system: &System, environment: &[(String, String)], out: &mut Out) {
    let set: Vec<String> = environment.iter().map(|(name, value)| format!("{}={value}", key(name))).collect();
    for verb in [
        vec!["config", "print"],
        vec!["config", "print", "--origin"],
        vec!["config", "check"],
        vec!["--output", "json", "config", "print", "--origin"],
        vec!["doctor"],
        // One mistake more: whatever is told of it, the others are not told with it.
        vec!["--set", "payments.provider.token_file=/canary", "--set", "payments.workers=many", "config", "check"],
    ] {
        let mut line: Vec<&str> = set.iter().flat_map(|set| ["--set", set.as_str()]).collect();
        line.extend(&verb);
        let (_, shown, err) = system.verb(&line).await;
        out.put(format!("own {}", verb.join(" ")), shown + &err);
    }
}

/// The key that an environment variable sets.
fn key(variable: &str) -> String {
    variable.trim_start_matches("SPILLWAY_").to_lowercase().replace("__", ".")
}

/// The database refuses these orders, so that they become dead letters.
fn refuse_in_orders(system: &System) {
    let file = rusqlite::Connection::open(system.ledger("orders-0")).expect("opens");
    file.busy_timeout(Duration::from_secs(10)).expect("set");
    let sql = "create trigger refuse_insert before insert on orders when new.customer_id like '%dead'
               begin select raise(abort, 'customers of poison are refused'); end";
    file.execute_batch(sql).expect("done");
}

/// Everything is configured with secrets: NATS, the mail server, the provider.
fn environment(mail: &Sink) -> Vec<(String, String)> {
    [
        ("SPILLWAY_LOG__LEVEL", "debug"),
        ("SPILLWAY_NOTIFICATIONS__FROM", "orders@shop.example"),
        ("SPILLWAY_NOTIFICATIONS__SMTP__HOST", "127.0.0.1"),
        ("SPILLWAY_NOTIFICATIONS__SMTP__PORT", &mail.address.port().to_string()),
        ("SPILLWAY_NOTIFICATIONS__SMTP__TLS", "none"),
        ("SPILLWAY_NOTIFICATIONS__SMTP__USERNAME", "shop"),
        ("SPILLWAY_NOTIFICATIONS__SMTP__PASSWORD", SMTP_PASSWORD),
        ("SPILLWAY_PAYMENTS__PROVIDER__TOKEN", PROVIDER_TOKEN),
        ("SPILLWAY_PAYMENTS__RETRY__UNKNOWN__TRIES", "2"),
        ("SPILLWAY_PAYMENTS__RETRY__UNKNOWN__BASE_MS", "10"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Orders of every end, each with canaries in all its fields. Answers their ids.
async fn orders(system: &System, mail: &Sink) -> Vec<String> {
    system.add_stock("tea", 1_000).await;
    let (sku, reason) = (format!("{CHOSEN}-sku"), format!("{CHOSEN}-reason"));
    let adjusted = AdjustStockRequest { request_id: Uuid::new_v4().to_string(), sku: sku.clone(), delta: 5, reason };
    system.inventory().adjust_stock(with_headers(adjusted)).await.expect("adjusted");
    let (none, method) = (format!("{CHOSEN}-none"), |how: &str| format!("{TOKEN}{how}"));
    let mut placed = Vec::new();
    for (sku, method) in [
        ("tea", method("")),
        (&*sku, method("")),
        (&*none, method("")),
        ("tea", method("_decline")),
        ("tea", method("_reject")),
        ("tea", method("_garbage")),
    ] {
        let answer = system.orders().place_order(with_headers(order(sku, &method))).await.expect("accepted");
        placed.push(answer.into_inner().order.expect("an order").order_id);
    }
    // The last two end nowhere: the provider's answers make no sense.
    for order in &placed[..4] {
        system.ended(order).await;
    }
    mail.until(|seen| seen.mails.len() >= 4).await;
    mail.mode.send_replace(Mode::Reply(MAIL_REPLY));
    let unsent = system.run_order(order("tea", TOKEN)).await.order_id;
    system.lines_of(&unsent, 6).await;
    placed.push(unsent);
    placed
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_comes_out_nowhere() {
    let authorization = Some((CHOSEN.to_owned(), NATS_PASSWORD.to_owned()));
    let nats = TestServer::start_with(|server| server.authorization = authorization).await;
    let mail = Sink::new(Mode::Accept);
    let provider = canaries::provider::start(PROVIDER_SAYS.to_owned()).await;
    let nats_url = nats.client_url().replace("nats://", &format!("nats://{CHOSEN}:{NATS_PASSWORD}@"));
    let environment = environment(&mail);
    let spans = Receiver::start().await;
    let arguments = vec!["--provider-url".to_owned(), format!("http://{provider}")];
    let traced = [environment.clone(), spans.environment()].concat();
    let options = Options { nats_url: Some(nats_url.clone()), environment: traced, arguments, ..Options::default() };
    let mut system = System::start_with(options).await;
    let mut out = Out::default();

    let placed = orders(&system, &mail).await;
    refuse_in_orders(&system);
    let dead = PlaceOrderRequest { customer_id: "dead".to_owned(), ..order("tea", TOKEN) };
    system.orders().place_order(dead).await.expect("accepted");
    refused_calls(&system, &mut out).await;
    dead_letters(&system, &mut out).await;
    verbs(&system, &placed, &mut out).await;
    let mut configured = environment;
    configured.push(("SPILLWAY_NATS__URL".to_owned(), nats_url));
    configured.push(("SPILLWAY_PAYMENTS__PROVIDER__URL".to_owned(), format!("http://x:{URL_PASSWORD}@pay.example")));
    configuration(&system, &configured, &mut out).await;
    process(&system, &mut out).await;
    out.put("own end", system.stop().await.to_string());
    out.put("own log", system.log());
    out.put("own spans", format!("{:?}", spans.seen()));

    let leaks = out.leaks(&[&PRIVATE[..], &[URL_PASSWORD]].concat(), |_| true);
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    // An operator's reason is the doctor's to tell, who signs in the configuration's.
    let is_process = |place: &str| place.starts_with("own ") && !place.contains("config") && !place.contains("doctor");
    let leaks = out.leaks(&[CHOSEN], is_process);
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    // The places were looked at, and are not empty.
    assert!(out.0.len() > 40 && out.0["own log"].contains("\"level\":\"debug\""), "{:?}", out.0.keys());
    assert!(out.0["own spans"].contains("PlaceOrder"), "{}", out.0["own spans"]);
    assert!(out.0["own log"].contains("order_placed") && out.0["own metrics of payments"].contains("spillway_"));
}
