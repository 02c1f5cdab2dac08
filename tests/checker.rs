//! The checker: it finds nothing wrong with what is right, live and stopped, and finds every violation that is planted.

mod support;

use serde_json::Value;
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
