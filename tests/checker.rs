//! The checker: it finds nothing wrong with what is right, live and stopped, and finds every violation that is planted.

#[path = "checker/folder.rs"]
mod folder;
#[path = "checker/plants.rs"]
mod plants;
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use folder::Folder;
use plants::PLANTS;
use serde_json::Value;
use spillway_cli::check::{self, Looking, Place, Provider, Report};
use support::calls::{request, with_contact};
use support::{Options, System};

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
    let mut system = System::start().await;
    orders_of_every_kind(&system).await;
    a_load_with_a_history(&system).await;
    system.sums_add_up(14).await;
    system.stop().await;
    system
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
    let (nats, provider) = (system.address("nats"), system.address("provider"));
    let mail = system.data().join("mail").display().to_string();
    let mut arguments = vec!["check", "--output", "json", "--nats-url", &nats, "--provider-url", &provider];
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
        let options = Options { partitions: Some(partitions), ..Options::default() };
        let mut system = System::start_with(options).await;
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
