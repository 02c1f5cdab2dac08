//! Messages that are poison: each is found once wherever it cannot be taken, harms nobody else, and can be settled.

mod poison {
    pub mod doomed;
    pub mod messages;
    pub mod operator;
}
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use poison::doomed::until_set_aside;
use poison::messages::{Kind, Poison, inject};
use poison::operator::{Letter, acts_in_the_audit_trail, letters, until_letters};
use serde_json::Value;
use spillway_proto::pb::orders::order::State;
use support::calls::request;
use support::roles::Roles;
use support::shop::Shops;
use support::{Options, System, sums};

/// Orders of a load; one message in a hundred is poison.
const ORDERS: usize = 1200;
const EACH_KIND: usize = 2;

/// p50, p90 and p99 of the time to the end of an order in milliseconds, of a load whose orders are all confirmed.
async fn load(system: &System, count: usize) -> [f64; 3] {
    let (count, nats) = (count.to_string(), system.address("nats"));
    let arguments = ["load", "--output", "json", "--count", &count, "--in-flight", "32", "--nats-url", &nats];
    let (code, out, err) = system.verb(&arguments).await;
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(out.lines().last().expect("a report")).expect("JSON");
    assert_eq!(report["confirmed"], report["accepted"], "every healthy order ends: {report}");
    assert_eq!((report["confirmed"].to_string(), report["still_open"].to_string()), (count, "0".to_owned()));
    let of = |percentile: &str| report["confirm_latency_ms"][percentile].as_f64().expect("a figure");
    ["p50", "p90", "p99"].map(of)
}

/// The database refuses these orders, as long as it is told to.
fn refuse_in_orders(system: &System, refuse: bool) {
    let file = rusqlite::Connection::open(system.ledger("orders-0")).expect("opens");
    file.busy_timeout(Duration::from_secs(10)).expect("set");
    let sql = if refuse {
        // Whether it is the first event of its order or comes after inventory's answer.
        "create trigger refuse_insert before insert on orders when new.customer_id = 'poison-constraint'
         begin select raise(abort, 'customers of poison are refused'); end;
         create trigger refuse_update before update on orders when new.customer_id = 'poison-constraint'
         begin select raise(abort, 'customers of poison are refused'); end"
    } else {
        "drop trigger refuse_insert; drop trigger refuse_update"
    };
    file.execute_batch(sql).expect("done");
}

/// Every poison in every ledger that cannot take it, once.
fn expected(poisons: &[Poison]) -> BTreeMap<(String, String, String), usize> {
    let mut expected = BTreeMap::new();
    for poison in poisons {
        for ledger in poison.kind.refused_by() {
            let key = (ledger.to_string(), poison.kind.cause().to_owned(), poison.incarnation());
            *expected.entry(key).or_default() += 1;
        }
    }
    expected
}

fn found(letters: &[Letter]) -> BTreeMap<(String, String, String), usize> {
    let mut found = BTreeMap::new();
    for letter in letters {
        *found.entry((letter.ledger.clone(), letter.cause.clone(), letter.incarnation.clone())).or_default() += 1;
    }
    found
}

async fn redrive(system: &System, cause: &str) -> (i32, Value) {
    let arguments = ["--output", "json", "dlq", "redrive", "--all-of-cause", cause, "--reason", "it is mended"];
    let (code, out, err) = system.verb(&arguments).await;
    let last = out.lines().last().unwrap_or_else(|| panic!("nothing said: {err}"));
    (code, serde_json::from_str(last).expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_percent_of_poison_in_a_load_is_found_once_each_and_harms_no_other_order() {
    let mut system = System::start_with(Options {
        // On a machine that is busy with other things nobody is refused either.
        arguments: ["--set", "gateway.admission.wait_ms=60000"].map(str::to_owned).to_vec(),
        environment: vec![("FAILPOINTS".to_owned(), "ledger.decide=return(panic poison-panic)".to_owned())],
        ..Options::default()
    })
    .await;
    refuse_in_orders(&system, true);
    load(&system, 200).await;
    let clean = load(&system, ORDERS).await;
    let poisons: Vec<Poison> = (0..EACH_KIND).flat_map(|_| Kind::ALL).map(Poison::new).collect();
    let (poisoned, ()) = tokio::join!(load(&system, ORDERS), inject(&system, &poisons));
    let expected = expected(&poisons);
    let letters = until_letters(&system, expected.values().sum()).await;
    assert_eq!(found(&letters), expected, "each poison once in each ledger that cannot take it");
    let unnumbered: BTreeSet<&str> = letters.iter().map(|letter| letter.id.as_str()).collect();
    assert_eq!(unnumbered.len(), letters.len());
    for mate in poisons.iter().filter_map(|poison| poison.mate) {
        assert_eq!(system.ended(&mate.to_string()).await.state(), State::Rejected, "batch-mates pass");
    }
    let (count, found) = (poisons.len(), letters.len());
    let times = format!("p50, p90, p99 {poisoned:.0?} ms; without poison {clean:.0?} ms");
    eprintln!(
        "{count} poisons among {ORDERS} orders, {found} dead letters; {times}; p99 x {:.2}",
        poisoned[2] / clean[2]
    );
    // Poison that held up others would hold up all that are in flight, each time; a pause of the machine is in the p99 alone.
    assert!(poisoned[1] <= clean[1] * 3.0 + 250.0 && poisoned[2] <= clean[2] * 3.0 + 2_000.0, "{times}");
    settle(&mut system, &letters).await;
}

/// The figures are a few seconds old.
async fn until_told_by_metrics(system: &System) {
    let wanted = format!("spillway_dead_letters{{role=\"orders\",partition=\"0\",cause=\"NEWER\"}} {EACH_KIND}");
    let mut every = tokio::time::interval(std::time::Duration::from_millis(200));
    let told = async {
        loop {
            every.tick().await;
            let (_, metrics) = sums::get(&format!("http://{}/metrics", system.admin("orders"))).await;
            if metrics.lines().any(|line| line == wanted) {
                return;
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, told).await.unwrap_or_else(|_| panic!("not told: {wanted}"));
}

/// Repairs what can be repaired, hands it in again, and puts away the rest.
async fn settle(system: &mut System, letters: &[Letter]) {
    let of = |cause: &str| letters.iter().filter(|letter| letter.cause == cause).count();
    let (code, told) = redrive(system, "constraint").await;
    assert_eq!((code, told["stillDead"].as_str()), (1, Some(of("CONSTRAINT").to_string().as_str())), "{told}");
    refuse_in_orders(system, false);
    system.stop().await;
    system.restart_with(Vec::new()).await;
    let dry = ["--output", "json", "dlq", "redrive", "--all-of-cause", "panic", "--dry-run"];
    let (code, out, _) = system.verb(&dry).await;
    let told: Value = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
    assert_eq!((code, told["matched"].as_str()), (0, Some(of("PANIC").to_string().as_str())));
    let mut redriven = of("CONSTRAINT");
    for cause in ["constraint", "panic"] {
        let (code, told) = redrive(system, cause).await;
        let count = of(&cause.to_uppercase());
        assert_eq!((code, told["taken"].as_str()), (0, Some(count.to_string().as_str())), "{told}");
        redriven += count;
    }
    // The events of messages without a number can be decided; audit, which goes by numbers, cannot keep them.
    let (code, told) = redrive(system, "unnumbered").await;
    let (count, of_audit) = (of("UNNUMBERED"), EACH_KIND);
    assert_eq!(code, 1, "{told}");
    assert_eq!((told["taken"].as_str(), told["stillDead"].as_str()).0, Some((count - of_audit).to_string().as_str()));
    redriven += count;
    let left = self::letters(system).await;
    let fingerprints: BTreeSet<&str> =
        left.iter().filter(|letter| letter.cause != "NEWER").map(|letter| letter.fingerprint.as_str()).collect();
    let mut discarded = 0;
    for fingerprint in fingerprints {
        let arguments = ["--output", "json", "dlq", "discard", "--fingerprint", fingerprint, "--reason", "a test's"];
        let (code, out, err) = system.verb(&arguments).await;
        assert_eq!(code, 0, "{out}{err}");
        let told: Value = serde_json::from_str(&out).expect("JSON");
        discarded += told["discarded"].as_str().and_then(|n| n.parse::<usize>().ok()).expect("a number");
    }
    let left = self::letters(system).await;
    assert!(left.iter().all(|letter| letter.cause == "NEWER"), "{left:?}");
    assert_eq!(left.len(), of("NEWER"));
    let acts = acts_in_the_audit_trail(system, redriven + discarded).await;
    eprintln!(
        "redriven {redriven}, discarded {discarded}, left for a newer build {}; in the audit trail {acts:?}",
        left.len()
    );
    assert!(redriven > 0 && discarded > 0);
    assert_eq!((acts["redriven"], acts["discarded"]), (redriven, discarded));
    let audit_acts = acts.get("said by audit").copied().unwrap_or(0);
    assert!(audit_acts > 0, "audit's own dead letters are acted on in the trail: {acts:?}");
    until_told_by_metrics(system).await;
    let (code, out, err) = system.verb(&["audit", "verify"]).await;
    assert_eq!(code, 0, "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_the_process_is_one_dead_letter_and_every_other_order_ends() {
    let mut roles = Roles::start(&[]).await;
    roles.add_stock("tea", 100_000).await;
    roles.add_stock("poison-sku", 5).await;
    roles.stop("inventory").await;
    let fails = "ledger.decide=return(abort poison-sku)";
    roles.begin_with("inventory", &[("FAILPOINTS", fails.to_owned())]).await;
    let mut shops = Shops::open(&roles.system, 4);
    shops.until_more(20).await;
    let poison = roles.place_retrying(request("poison-sku", 1, "pm_ok")).await.expect("accepted");
    shops.until_more(20).await;
    let (crashes, letter) = until_set_aside(&mut roles, "inventory", fails).await;
    assert_eq!((letter.ledger.as_str(), letter.cause.as_str()), ("inventory", "CRASH"));
    assert_eq!(letter.subject, format!("order/{}", poison.order_id));
    let tally = shops.close().await;
    assert!(tally.failed.is_empty(), "{:?}", tally.failed);
    for id in &tally.accepted {
        assert_ne!(roles.ended(id).await.state(), State::Pending);
    }
    eprintln!("{crashes} crashes until the poison was set aside, {} other orders ended", tally.accepted.len());
    assert!(crashes >= 2, "it was in hand twice");
    assert_eq!(roles.get(&poison.order_id).await.expect("there").state(), State::Pending);

    // Repaired, and handed in again.
    roles.stop("inventory").await;
    roles.restart("inventory").await;
    let arguments = ["dlq", "redrive", &letter.id, "--reason", "a build that bears it"];
    let (code, out, err) = roles.verb(&arguments).await;
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(roles.ended(&poison.order_id).await.state(), State::Confirmed);
    roles.sums_add_up(tally.accepted.len() + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_ends_the_process_is_one_dead_letter_charged_once_and_every_other_order_ends() {
    let mut roles = Roles::start(&[]).await;
    roles.add_stock("tea", 100_000).await;
    let mut shops = Shops::open(&roles.system, 4);
    shops.until_more(20).await;
    roles.stop("payments").await;
    let poison = roles.place_retrying(request("tea", 1, "pm_ok")).await.expect("accepted");
    // The provider has answered, and nobody knows: it is asked again under the same key at every start.
    let fails = format!("payments.http_response=return(abort {})", poison.order_id);
    roles.begin_doomed("payments", fails.clone()).await;
    let (crashes, letter) = until_set_aside(&mut roles, "payments", &fails).await;
    eprintln!("{crashes} crashes until the charge was set aside");
    assert_eq!((letter.ledger.as_str(), letter.cause.as_str()), ("payments", "CRASH"));
    assert_eq!(letter.subject, format!("order/{}", poison.order_id));
    shops.until_more(20).await;
    let tally = shops.close().await;
    assert!(tally.failed.is_empty(), "{:?}", tally.failed);
    for id in &tally.accepted {
        assert_ne!(roles.ended(id).await.state(), State::Pending);
    }
    let (code, explained, err) = roles.verb(&["order", "explain", &poison.order_id]).await;
    assert_eq!(code, 0, "{explained}{err}");
    let words = explained.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("Payments had to set its work for this order aside: the process ended"), "{explained}");
    let (code, shown, err) = roles.verb(&["dlq", "show", &letter.id]).await;
    assert_eq!(code, 0, "{shown}{err}");
    assert!(shown.contains("due work charge") && shown.contains("send it"), "{shown}");

    // Repaired, and handed in again.
    roles.stop("payments").await;
    roles.restart("payments").await;
    assert_eq!(roles.get(&poison.order_id).await.expect("there").state(), State::Pending, "it waits for a person");
    let arguments = ["dlq", "redrive", &letter.id, "--reason", "a build that bears it"];
    let (code, out, err) = roles.verb(&arguments).await;
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(roles.ended(&poison.order_id).await.state(), State::Confirmed);
    roles.sums_add_up(tally.accepted.len() + 1).await;
}
