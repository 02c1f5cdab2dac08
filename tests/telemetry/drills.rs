//! The cause of every alert, provoked; each is seen at Prometheus' `/api/v1/alerts`, and goes when its cause does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use spillway_natsd::testing::TestServer;
use spillway_proto::pb::orders::order::State;
use spillway_proto::{Ledger, Partition, ledgers};

use super::prometheus::{Prometheus, processes_of};
use super::support::calls::{request, with_contact};
use super::support::process::{self, Process};
use super::support::roles::{ROLES, Roles};
use super::support::{System, spillway, sums};
use super::{boards, rules, tls, until};

/// All times of the rules are so many times as short as shipped.
const FASTER: u32 = 30;

/// There is no TLS here, which has a drill of its own; and what is wrong is listed only while it is.
const EMPTY_BY_DESIGN: [&str; 3] = [
    "spillway_certificate_expiry_timestamp_seconds",
    "min by (role, certificate) (spillway_certificate_expiry_timestamp_seconds) - time()",
    "sum by (invariant) (spillway_check_violations) > 0",
];

struct Drill {
    all: Roles,
    prometheus: Prometheus,
    /// Who asks, what; and whether there was data once.
    asked: BTreeMap<(String, String), bool>,
}

impl Drill {
    async fn start() -> Drill {
        let more = [
            "--set",
            "payments.breaker.open_ms=1000",
            "--set",
            "payments.provider.timeout_ms=2000",
            "--set",
            "payments.retry.unknown.max_ms=2000",
            "--set",
            "gateway.admission.wait_ms=600000",
        ];
        let all = Roles::start_under(&more, |system, role| match role {
            // It compares with the provider's own ledger.
            "audit" => vec![
                ("SPILLWAY_PAYMENTS__PROVIDER__URL".to_owned(), system.address("provider")),
                ("SPILLWAY_CHECK__EVERY_S".to_owned(), "3".to_owned()),
            ],
            _ => vec![],
        })
        .await;
        all.add_stock("tea", 100_000).await;
        let targets = ROLES.map(|role| all.admin(role));
        let prometheus = Prometheus::start(&targets, FASTER).await;
        Drill { all, prometheus, asked: BTreeMap::new() }
    }

    /// Answers the ids.
    async fn orders(&self, count: usize, method: &str) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let order = with_contact(request("tea", 1, method), "ada@example.com");
            ids.push(self.all.place_retrying(order).await.expect("accepted").order_id);
        }
        ids
    }

    async fn all_end(&self, ids: &[String]) {
        for id in ids {
            self.all.ended(id).await;
        }
    }

    async fn provider(&self, mode: &str) {
        let (status, body) = sums::post(&format!("{}/sandbox/mode", self.all.address("provider")), mode).await;
        assert_eq!(status, 200, "{body}");
    }

    async fn verb(&self, line: &[&str]) -> String {
        let (code, out, err) = self.all.verb(line).await;
        assert_eq!(code, 0, "{line:?}: {out}{err}");
        out
    }

    /// Orders of all kinds.
    async fn load(&self) {
        let mut placed = Vec::new();
        for method in ["pm_ok", "pm_ok", "pm_declined", "pm_lost_answer", "pm_error_before", "pm_throttled"] {
            placed.extend(self.orders(10, method).await);
        }
        self.all_end(&placed).await;
        self.prometheus.until_data("spillway_check_last_success_timestamp_seconds").await;
    }

    /// A row of a ledger is changed behind its back.
    async fn an_invariant_is_broken(&mut self) {
        let declined = self.orders(1, "pm_declined").await.remove(0);
        assert_eq!(self.all.ended(&declined).await.state(), State::Rejected);
        assert!(!self.prometheus.fires("SpillwayInvariantBroken", &[]).await);
        let path = self.all.ledger("orders-0");
        let change = |state: &str| {
            let ledger = Connection::open(&path).expect("opens");
            ledger.busy_timeout(Duration::from_secs(30)).expect("set");
            let sql = format!("update orders set state = ?1 where order_id = x'{}'", declined.replace('-', ""));
            assert_eq!(ledger.execute(&sql, [state]).expect("changed"), 1);
        };
        change("CONFIRMED");
        // The first check after a start reads everything.
        self.all.stop("audit").await;
        self.all.restart("audit").await;
        self.prometheus.until_fires("SpillwayInvariantBroken", &[("invariant", "state_unlike_history")]).await;
        change("REJECTED");
        self.prometheus.until_silent("SpillwayInvariantBroken", &[]).await;
    }

    /// Audit runs, and checks nothing. What comes of it takes as long as two hours do here.
    async fn the_checker_falls_silent(&mut self) {
        self.all.stop("audit").await;
        self.all.begin_with("audit", &[("SPILLWAY_CHECK__EVERY_S", "0".to_owned())]).await;
        self.all.until_ready("audit").await;
    }

    /// Its order is open from now on, and old.
    async fn a_payment_is_parked(&self) {
        self.orders(1, "pm_wrong_amount").await;
        self.prometheus.until_fires("SpillwayPaymentParked", &[("severity", "ticket")]).await;
    }

    async fn a_message_is_poison(&self) {
        let client = async_nats::connect(self.all.nats.client_url()).await.expect("connects");
        let jetstream = async_nats::jetstream::new(client);
        let subject = ledgers::subject(Ledger::Gateway, Partition(0));
        let sent = jetstream.publish(subject, "nobody said so".into()).await;
        sent.expect("sent").await.expect("stored");
        self.prometheus.until_fires("SpillwayDeadLetters", &[("role", "orders")]).await;
        let list = self.verb(&["dlq", "list", "--output", "json"]).await;
        let groups = list.split("\"fingerprint\":").skip(1).filter_map(|rest| rest.split('"').nth(1));
        for fingerprint in groups.collect::<BTreeSet<&str>>() {
            self.verb(&["dlq", "discard", "--fingerprint", fingerprint, "--reason", "a drill"]).await;
        }
        self.prometheus.until_silent("SpillwayDeadLetters", &[]).await;
    }

    /// Who asks is not answered: whether it charged is not known, and the breaker opens.
    async fn the_provider_answers_nothing(&self) {
        self.provider(r#"{"black_hole": true}"#).await;
        let held_up = self.orders(10, "pm_ok").await;
        self.prometheus.until_fires("SpillwayBreakerOpen", &[("severity", "page")]).await;
        self.prometheus.until_fires("SpillwayPaymentUnknown", &[("severity", "page")]).await;
        // They are old by now, and it is known why.
        self.prometheus.until_data("spillway_orders_oldest_age_seconds > 5").await;
        assert!(!self.prometheus.fires("SpillwayOldestPendingOrder", &[]).await);
        self.provider(r#"{"black_hole": null}"#).await;
        self.all_end(&held_up).await;
        self.prometheus.until_silent("SpillwayBreakerOpen", &[]).await;
        self.prometheus.until_silent("SpillwayPaymentUnknown", &[]).await;
    }

    async fn a_role_is_gone_and_orders_are_late(&mut self) {
        assert!(!self.prometheus.fires("SpillwayTargetAbsent", &[]).await);
        self.all.stop("inventory").await;
        let late = self.orders(40, "pm_ok").await;
        self.prometheus.until_fires("SpillwayTargetAbsent", &[("role", "inventory")]).await;
        let instance = self.all.admin("inventory");
        self.prometheus.until_fires("SpillwayTargetAbsent", &[("instance", &instance)]).await;
        self.prometheus.until_fires("SpillwayOldestPendingOrder", &[("partition", "0")]).await;
        self.prometheus.until_data("spillway_orders_oldest_age_seconds > 8").await;
        self.all.restart("inventory").await;
        self.all_end(&late).await;
        for window in ["1h", "6h", "3d"] {
            self.prometheus.until_fires("SpillwayEndBudgetBurn", &[("window", window)]).await;
        }
        self.prometheus.until_silent("SpillwayTargetAbsent", &[]).await;
        self.prometheus.until_silent("SpillwayOldestPendingOrder", &[]).await;
    }

    async fn nobody_can_order(&self) {
        assert!(!self.prometheus.fires("SpillwayAcceptBudgetBurn", &[("severity", "page")]).await);
        self.verb(&["pause", "intake", "--reason", "a drill"]).await;
        let refused = async {
            let mut every = tokio::time::interval(Duration::from_millis(100));
            loop {
                every.tick().await;
                self.all.orders().place_order(request("tea", 1, "pm_ok")).await.expect_err("it is paused");
            }
        };
        let told = async {
            for window in ["1h", "6h", "3d"] {
                self.prometheus.until_fires("SpillwayAcceptBudgetBurn", &[("window", window)]).await;
            }
        };
        tokio::select! {
            () = told => {}
            () = refused => {}
        }
        self.verb(&["resume", "intake", "--reason", "it is over"]).await;
        self.prometheus.until_silent("SpillwayAcceptBudgetBurn", &[("window", "1h")]).await;
    }

    async fn jetstream_is_gone(&mut self) {
        assert!(!self.prometheus.fires("SpillwayJetStreamDisconnected", &[]).await);
        self.all.nats.kill().await;
        let waiting = self.orders(5, "pm_ok").await;
        for role in ROLES {
            self.prometheus.until_fires("SpillwayJetStreamDisconnected", &[("role", role)]).await;
        }
        self.prometheus.until_fires("SpillwayOutboxOldest", &[("role", "gateway")]).await;
        self.all.nats.restart().await.expect("it starts again");
        self.all_end(&waiting).await;
        self.prometheus.until_silent("SpillwayJetStreamDisconnected", &[]).await;
        self.prometheus.until_silent("SpillwayOutboxOldest", &[]).await;
    }

    async fn a_stream_is_deleted(&self) {
        let client = async_nats::connect(self.all.nats.client_url()).await.expect("connects");
        let stream = ledgers::stream(Ledger::Payments, Partition(0));
        let jetstream = async_nats::jetstream::new(client);
        jetstream.delete_stream(&stream).await.expect("deleted");
        let healed = [("role", "payments"), ("kind", "stream_recreated"), ("severity", "ticket")];
        self.prometheus.until_fires("SpillwayJetStreamHealed", &healed).await;
    }

    /// Asks what every panel asks, for every recorded series, and for everything that an alert looks at.
    async fn ask_everything(&mut self) {
        let mut all: Vec<(String, String)> = boards::queries();
        let looked_at = rules::alerts().into_iter().flat_map(|it| rules::series(&it.expression));
        all.extend(looked_at.chain(rules::recorded()).map(|name| ("the rules".to_owned(), name)));
        for (whence, query) in all {
            let has_data = !self.prometheus.query(&query).await.is_empty();
            *self.asked.entry((whence, query)).or_default() |= has_data;
        }
    }

    /// Every query had data when it was asked, or one of the times.
    fn everything_had_data(&self) {
        let empty = self.asked.iter().filter(|((_, query), had)| !**had && !EMPTY_BY_DESIGN.contains(&query.as_str()));
        let empty: Vec<String> = empty.map(|((whence, query), _)| format!("{whence}: {query}")).collect();
        assert!(empty.is_empty(), "without data:\n{}", empty.join("\n"));
        eprintln!("{} queries of dashboards and series of rules had data", self.asked.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus: tests/telemetry/run"]
async fn the_cause_of_every_alert_makes_it_fire_and_every_query_has_data() {
    let mut drill = Drill::start().await;
    drill.load().await;
    drill.an_invariant_is_broken().await;
    drill.ask_everything().await;
    drill.the_checker_falls_silent().await;
    drill.the_provider_answers_nothing().await;
    drill.a_role_is_gone_and_orders_are_late().await;
    drill.jetstream_is_gone().await;
    drill.nobody_can_order().await;
    drill.a_stream_is_deleted().await;
    drill.a_payment_is_parked().await;
    drill.ask_everything().await;
    drill.everything_had_data();
    drill.a_message_is_poison().await;
    drill.prometheus.until_fires("SpillwayCheckerSilent", &[("case", "never")]).await;
}

/// In a mount namespace of its own a system lives on a file system of 64 MB that is nearly full.
const ON_A_SMALL_DISK: &str =
    r#"mount -t tmpfs -o size=64m none "$0" && head -c 54m /dev/zero > "$0/ballast" && exec "$@""#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus: tests/telemetry/run"]
async fn a_disk_that_fills_and_a_certificate_that_ends_are_told() {
    if process::output("unshare".as_ref(), &["-rm", "true"], "/".as_ref()).await.0 != 0 {
        eprintln!(
            "NOT RUN: disk and certificate (this user may not make a mount namespace); promtool tests both rules"
        );
        return;
    }
    let provider = System::start().await;
    let here = tempfile::tempdir().expect("a folder");
    let trusted = here.path().join("trusted.pem");
    let target = provider.address("provider").trim_start_matches("http://").parse().expect("an address");
    // 14 days are eleven hours here.
    let https = tls::before(target, SystemTime::now() + Duration::from_secs(6 * 3600), &trusted).await;
    let disk = here.path().join("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let mut line: Vec<String> = ["-rm", "sh", "-c", ON_A_SMALL_DISK].map(str::to_owned).to_vec();
    line.extend([disk.display().to_string(), spillway().display().to_string()]);
    line.extend(["up", "--output", "json", "--data"].map(str::to_owned));
    line.extend([disk.join("data").display().to_string(), "--provider-url".to_owned(), https.url.clone()]);
    // JetStream would set aside more than there is.
    let nats = TestServer::start().await;
    line.extend(["--nats-url".to_owned(), nats.client_url()]);
    for port in ["grpc", "ops", "admin"] {
        line.extend([format!("--{port}-port"), "0".to_owned()]);
    }
    let trust = [("SSL_CERT_FILE".to_owned(), trusted.display().to_string())];
    let mut up = Process::start_in("unshare".as_ref(), &line, here.path(), &trust).await;
    let mut system = System::without_process();
    system.place = up.first_line_json().await;
    let prometheus = Prometheus::start(&ROLES.map(|role| system.admin(role)), FASTER).await;
    assert!(!prometheus.fires("SpillwayCertificateExpires", &[]).await);
    let order = system.place(request("tea-100g", 1, "pm_ok")).await;
    assert_eq!(system.ended(&order.order_id).await.state(), State::Confirmed);
    prometheus.until_fires("SpillwayCertificateExpires", &[("role", "payments")]).await;
    for role in ROLES {
        prometheus.until_fires("SpillwayDiskFilling", &[("role", role)]).await;
    }
    assert!(!prometheus.query(EMPTY_BY_DESIGN[1]).await.is_empty());
    up.stop().await;
    let disk = disk.display().to_string();
    until("nothing is left", async || processes_of(&disk).is_empty().then_some(())).await;
}
