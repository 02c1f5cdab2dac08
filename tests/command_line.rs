//! The verbs, as a person types them: what they print, and how they end.

mod support;

use serde_json::Value;
use support::System;
use support::sums;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_stock_and_audit_by_hand() {
    let system = System::start().await;
    let place = ["order", "place", "--customer", "ada", "--currency", "EUR", "--payment-method", "pm_ok"];
    let line = ["--line", "tea-100g=2@12.50", "--wait", "--output", "json"];
    let (code, out, err) = system.verb(&[&place[..], &line[..]].concat()).await;
    assert_eq!(code, 0, "{out}{err}");
    let id = out.lines().map(json).find_map(|answer| Some(answer["order"]["orderId"].as_str()?.to_owned()));
    let id = id.unwrap_or_else(|| panic!("no order in {out}"));

    let (code, out, _) = system.verb(&["order", "get", &id]).await;
    assert!(code == 0 && out.contains("CONFIRMED") && out.contains("25.00 EUR"), "{out}");
    let (code, out, _) = system.verb(&["order", "events", &id, "--output", "json"]).await;
    assert!(code == 0 && out.contains("spillway.payment.captured.v1"), "{out}");
    let (code, out, _) = system.verb(&["order", "watch", &id]).await;
    assert!(code == 0 && out.contains("spillway.order.confirmed.v1"), "{out}");
    let (code, out, _) = system.verb(&["order", "list", "--customer", "ada"]).await;
    assert!(code == 0 && out.contains(&id), "{out}");
    let (code, out, _) = system.verb(&["stock", "adjust", "new-sku", "5", "--reason", "a test"]).await;
    assert!(code == 0 && out.contains('5'), "{out}");
    let (code, out, _) = system.verb(&["stock", "list", "--output", "json"]).await;
    assert!(code == 0 && out.contains("new-sku") && out.contains("tea-100g"), "{out}");

    let export = system.data().join("audit.jsonl");
    let path = export.display().to_string();
    let (code, out, err) = system.verb(&["audit", "export", "--file", &path]).await;
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = system.verb(&["audit", "verify", &path]).await;
    assert_eq!(code, 0, "{out}{err}");
    let text = std::fs::read_to_string(&export).expect("exported");
    let second = text.lines().nth(1).expect("two entries");
    let hash = json(second)["hash"].as_str().expect("a hash").to_owned();
    let turned: String = hash.chars().rev().collect();
    std::fs::write(&export, text.replace(&hash, &turned)).expect("written");
    let (code, ..) = system.verb(&["audit", "verify", &path]).await;
    assert_eq!(code, 4, "a broken chain is a broken invariant");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_say_what_went_wrong() {
    let system = System::start().await;
    let nobody = uuid::Uuid::new_v4().to_string();
    let (code, _, err) = system.verb(&["order", "get", &nobody, "--output", "json"]).await;
    assert_eq!((code, json(&err)["error"]["code"].as_str()), (1, Some("NOT_FOUND")), "{err}");
    let (code, _, err) = system.verb(&["order", "get", "no-uuid"]).await;
    assert_eq!(code, 2, "{err}");
    let (code, _, _) = system.verb(&["order", "fetch"]).await;
    assert_eq!(code, 2);
    let rare = ["order", "place", "--customer", "ada", "--currency", "EUR", "--payment-method", "pm_ok"];
    let (code, _, err) = system.verb(&[&rare[..], &["--line", "no-such-sku=1@1.00", "--wait"]].concat()).await;
    assert_eq!(code, 1, "a rejected order is no success: {err}");
    let closed = ["--address", "http://127.0.0.1:1", "order", "list"];
    let (code, _, err) = support::process::output(support::spillway(), &closed, &std::env::temp_dir()).await;
    assert!(code == 3 && err.contains("spillway up"), "{code} {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_checked_printed_and_described() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: Vec<&'static str>| {
        let folder = folder.path().to_owned();
        async move { support::process::output(support::spillway(), &arguments, &folder).await }
    };
    let (code, out, err) = run(vec!["config", "print"]).await;
    assert!(code == 0 && out.contains("127.0.0.1:50051"), "{out}{err}");
    let wrong = vec![
        "--set",
        "partitions=0",
        "--set",
        "gatewy.grpc.listen=x",
        "--set",
        "drain_timeout_s=soon",
        "config",
        "check",
    ];
    let (code, out, err) = run(wrong).await;
    assert_eq!(code, 2, "{out}{err}");
    for key in ["partitions", "gatewy", "drain_timeout_s"] {
        assert!(err.contains(key), "{key} is not named in {err}");
    }
    assert!(err.contains("gateway"), "no suggestion in {err}");
    let (code, out, _) = run(vec!["config", "schema"]).await;
    assert!(code == 0 && json(&out)["properties"]["gateway"].is_object(), "{out}");
    let (code, out, _) = run(vec!["completions", "bash"]).await;
    assert!(code == 0 && out.contains("spillway"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn load_counts_what_became_of_its_orders_and_doctor_looks_at_what_runs() {
    let system = System::start().await;
    let nats = system.address("nats");
    let load = ["load", "--in-flight", "20", "--count", "200", "--nats-url", &nats, "--output", "json"];
    let (code, out, err) = system.verb(&load).await;
    assert_eq!(code, 0, "{out}{err}");
    let report = json(&out);
    assert_eq!((report["sent"].as_u64(), report["still_open"].as_u64()), (Some(200), Some(0)), "{report}");
    assert_eq!(report["confirmed"], 200);
    let open = [
        "load",
        "--rate",
        "100",
        "--count",
        "100",
        "--follow",
        "watch",
        "--payment-method",
        "pm_declined",
        "--output",
        "json",
    ];
    let (code, out, err) = system.verb(&open).await;
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!((json(&out)["rejected"].as_u64(), json(&out)["confirmed"].as_u64()), (Some(100), Some(0)));

    let roles = ["gateway", "orders", "inventory", "payments", "notifications", "audit"];
    let mut flags: Vec<String> = Vec::new();
    for role in roles {
        flags.extend(["--set".to_owned(), format!("admin.{role}={}", system.admin(role))]);
    }
    flags.extend(["--set".to_owned(), format!("provider.admin={}", system.admin("provider"))]);
    flags.extend(["doctor", "--output", "json"].map(str::to_owned));
    let (code, out, err) = system.verb(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(code, 0, "{out}{err}");
    for role in roles {
        let ready = json(&out)
            .as_array()
            .expect("findings")
            .iter()
            .any(|finding| finding["what"] == format!("role {role}") && finding["verdict"] == "ok");
        assert!(ready, "{role} in {out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_answers_whether_it_is_alive_and_ready() {
    let system = System::start().await;
    for role in ["gateway", "orders", "inventory", "payments", "notifications", "audit", "provider"] {
        for path in ["health", "ready"] {
            let (status, body) = sums::get(&format!("http://{}/{path}", system.admin(role))).await;
            assert_eq!(status, 200, "{role} {path}: {body}");
        }
    }
    let (_, body) = sums::get(&format!("http://{}/ready", system.admin("gateway"))).await;
    let names: Vec<Value> = json(&body)["checks"].as_array().expect("checks").clone();
    assert!(names.iter().any(|check| check["name"] == "jetstream" && check["needed"] == false), "{body}");
}
