//! What operators hold up stands still, survives everything, and goes on without loss; what they set is in force.

mod support;

use std::future::Future;
use std::time::Duration;

use serde_json::Value;
use spillway_proto::pb::events::{FlowPaused, FlowResumed, FlowSettingChanged};
use spillway_proto::pb::ops::{ExportAuditRequest, GetFlowRequest, GetFlowResponse, LedgerFlow};
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{Order, PlaceOrderRequest};
use spillway_proto::{Event, batch};
use support::calls::{request, with_contact};
use support::roles::{ROLES, Roles};
use support::{PATIENCE, System};
use tonic::Code;
use tonic_types::StatusExt;

/// Polls until something is there.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let looked = async {
        loop {
            every.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("{what}"))
}

async fn flow(system: &System) -> GetFlowResponse {
    system.flow().get_flow(GetFlowRequest {}).await.expect("answers").into_inner()
}

fn ledger<'a>(flow: &'a GetFlowResponse, name: &str) -> &'a LedgerFlow {
    flow.ledgers.iter().find(|ledger| ledger.ledger == name).unwrap_or_else(|| panic!("{name} in {flow:?}"))
}

fn due(ledger: &LedgerFlow, kind: &str) -> (i64, i64) {
    ledger.due.iter().find(|due| due.kind == kind).map_or((0, 0), |due| (due.rows, due.overdue))
}

/// Waits until so many rows of a kind wait in a ledger, all of which could be done now.
async fn until_held(system: &System, role: &str, kind: &str, rows: i64) -> GetFlowResponse {
    until(&format!("{rows} of {kind} wait in {role}"), || async {
        let flow = flow(system).await;
        (due(ledger(&flow, role), kind) == (rows, rows)).then_some(flow)
    })
    .await
}

/// Places with a client's ordinary retry: a busy machine refuses now and then.
async fn order(system: &System, request: PlaceOrderRequest) -> Order {
    system.place_retrying(request).await.expect("accepted")
}

async fn run(system: &System, request: PlaceOrderRequest) -> Order {
    let placed = order(system, request).await;
    system.ended(&placed.order_id).await
}

async fn verb(system: &System, line: &[&str]) -> String {
    let (code, out, err) = system.verb(line).await;
    assert_eq!(code, 0, "{line:?}: {out}{err}");
    out
}

/// Exit code and text of the doctor, who is told where the system is.
async fn doctor(system: &System) -> (i32, String) {
    let mut arguments = vec!["doctor".to_owned(), "--set".to_owned(), format!("data={}", system.data().display())];
    for role in ROLES {
        arguments.extend(["--set".to_owned(), format!("admin.{role}={}", system.admin(role))]);
    }
    arguments.extend(["--set".to_owned(), format!("provider.admin={}", system.admin("provider"))]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, out, err) = system.verb(&arguments).await;
    (code, out + &err)
}

/// The operators' acts in the audit trail, in its order.
async fn acts(system: &System) -> Vec<String> {
    let request = ExportAuditRequest { partition: None, after: 0 };
    let mut entries = system.audit().export_audit(request).await.expect("exported").into_inner();
    let mut acts = Vec::new();
    while let Some(exported) = entries.message().await.expect("whole") {
        let entry = exported.entry.expect("an entry");
        for event in batch::read(entry.body).expect("a batch") {
            let event = event.expect("an event");
            let said = match Event::decode(event.kind().expect("known"), event.payload).expect("its payload") {
                Event::FlowPaused(FlowPaused { flow, reason, .. }) => {
                    format!("{} paused {flow}: {reason}", entry.source)
                }
                Event::FlowResumed(FlowResumed { flow, reason, .. }) => {
                    format!("{} resumed {flow}: {reason}", entry.source)
                }
                Event::FlowSettingChanged(FlowSettingChanged { setting, value, reason, .. }) => {
                    format!("{} set {setting} {value:?}: {reason}", entry.source)
                }
                _ => continue,
            };
            acts.push(said);
        }
    }
    acts
}

/// Waits until the audit trail has exactly these acts, in any order of the ledgers.
async fn until_audited(system: &System, expected: &[&str]) {
    let mut expected: Vec<String> = expected.iter().map(|act| (*act).to_owned()).collect();
    expected.sort();
    until(&format!("{expected:?} in the audit trail"), || async {
        let mut acts = acts(system).await;
        acts.sort();
        (acts == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_payments_stand_still_through_kill_9_of_everything_and_drain_when_resumed() {
    let mut system = System::start().await;
    system.add_stock("tea", 100).await;
    let out = verb(&system, &["pause", "payments", "--reason", "bank holiday", "--by", "ada"]).await;
    assert!(out.contains("paused"), "{out}");
    for _ in 0..5 {
        order(&system, request("tea", 1, "pm_ok")).await;
    }
    let held = until_held(&system, "payments", "charge", 5).await;
    let pause = &ledger(&held, "payments").pauses[0];
    assert_eq!((pause.flow.as_str(), pause.reason.as_str(), pause.by.as_str()), ("payments", "bank holiday", "ada"));
    assert!(held.oldest_waiting.is_some() && system.charges().await.is_empty());

    system.kill().await;
    system.restart().await;
    order(&system, request("tea", 1, "pm_ok")).await;
    let held = until_held(&system, "payments", "charge", 6).await;
    assert_eq!(ledger(&held, "payments").pauses[0].reason, "bank holiday");
    assert!(system.charges().await.is_empty(), "nothing is charged in a pause");
    let out = verb(&system, &["pause", "payments", "--reason", "again"]).await;
    assert!(out.contains("paused before") && out.contains("bank holiday"), "{out}");
    let out = verb(&system, &["flow"]).await;
    assert!(out.contains("payments paused by ada since") && out.contains("waits longest"), "{out}");

    let (code, out) = doctor(&system).await;
    assert!(code == 1 && out.contains("bank holiday") && out.contains("spillway resume payments"), "{code} {out}");

    verb(&system, &["resume", "payments", "--reason", "bank is open"]).await;
    let sums = system.sums_add_up(6).await;
    assert_eq!(sums.confirmed, 6);
    let out = verb(&system, &["resume", "payments", "--reason", "sure?"]).await;
    assert!(out.contains("not paused: payments"), "{out}");
    until_audited(&system, &["payments paused payments: bank holiday", "payments resumed payments: bank is open"])
        .await;
    assert_eq!(due(ledger(&flow(&system).await, "payments"), "charge"), (0, 0));
    let (code, out) = doctor(&system).await;
    assert_eq!(code, 0, "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_notifications_hold_mails_while_orders_go_on() {
    let system = System::start().await;
    system.add_stock("tea", 100).await;
    verb(&system, &["pause", "notifications", "--reason", "mail server moves"]).await;
    let order = run(&system, with_contact(request("tea", 1, "pm_ok"), "ada@example.org")).await;
    assert_eq!(order.state(), State::Confirmed, "orders do not wait for mails");
    until_held(&system, "notifications", "email", 1).await;
    let mails = || std::fs::read_dir(system.data().join("mail")).map_or(0, Iterator::count);
    assert_eq!(mails(), 0);
    verb(&system, &["resume", "notifications", "--reason", "moved"]).await;
    until("the mail", || async { (mails() == 1).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_intake_refuses_with_the_operator_s_reason_and_knows_what_it_has_accepted() {
    let system = System::start().await;
    system.add_stock("tea", 100).await;
    let accepted = request("tea", 1, "pm_ok");
    let known = run(&system, accepted.clone()).await;
    let act = ["pause", "intake", "--reason", "stock-taking", "--request-id", "7d444840-9dc0-4f3a-9c55-1f3c4d2f7e10"];
    verb(&system, &act).await;

    let refused = until("a refusal that is not of the load", || async {
        let refused = system.orders().place_order(request("tea", 1, "pm_ok")).await.expect_err("paused");
        (refused.code() != Code::ResourceExhausted).then_some(refused)
    })
    .await;
    let info = refused.get_details_error_info().expect("every error has it");
    assert_eq!((refused.code(), info.reason.as_str()), (Code::Unavailable, "INTAKE_PAUSED"));
    assert_eq!(info.metadata["paused_because"], "stock-taking");
    assert!(refused.message().contains("stock-taking"), "{refused}");
    assert!(refused.get_details_retry_info().is_some() && refused.metadata().contains_key("grpc-retry-pushback-ms"));

    let again = order(&system, accepted).await;
    assert_eq!((again.order_id.as_str(), again.state()), (known.order_id.as_str(), State::Confirmed));
    let mut check = request("tea", 1, "pm_ok");
    check.validate_only = true;
    order(&system, check).await;
    assert_eq!(system.get(&known.order_id).await.expect("read").order_id, known.order_id);

    verb(&system, &["resume", "intake", "--reason", "counted"]).await;
    run(&system, request("tea", 1, "pm_ok")).await;
    // A late retry of the pause pauses nothing again, and its id stands for nothing else.
    let out = verb(&system, &act).await;
    assert!(out.contains("nothing was done"), "{out}");
    order(&system, request("tea", 1, "pm_ok")).await;
    let (code, _, err) =
        system.verb(&["--output", "json", "resume", "intake", "--reason", "x", "--request-id", act[5]]).await;
    assert!(code != 0 && err.contains("REQUEST_ID_REUSED"), "{code} {err}");
    until_audited(&system, &["gateway paused intake: stock-taking", "gateway resumed intake: counted"]).await;
}

fn debug_lines(log: &str, role: &str) -> usize {
    let of_role = |line: &&str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["level"] == "debug" && line["service"] == role
    };
    log.lines().filter(of_role).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_level_changes_in_every_process_and_survives_its_restart() {
    let mut all = Roles::start(&[]).await;
    all.add_stock("tea", 100).await;
    assert!(ROLES.iter().all(|role| debug_lines(&all.log(), role) == 0), "{}", all.log());
    verb(&all, &["flow", "set", "log.level", "debug", "--reason", "to see"]).await;
    for role in ROLES {
        until(&format!("{role} logs debug lines"), || async {
            system_is_used(&all).await;
            (debug_lines(&all.log(), role) > 0).then_some(())
        })
        .await;
    }
    all.kill("orders").await;
    let before = debug_lines(&all.log(), "orders");
    all.restart("orders").await;
    until("orders logs debug lines after its restart", || async {
        (debug_lines(&all.log(), "orders") > before).then_some(())
    })
    .await;

    verb(&all, &["flow", "set", "log.level", "", "--reason", "seen"]).await;
    let changed = |log: &str| log.matches("\"msg\":\"log level changed\"").count();
    // Twice in each process, and once more by the start of orders.
    until("all are back", || async { (changed(&all.log()) == 2 * ROLES.len() + 1).then_some(()) }).await;
    let quiet = all.log().len();
    system_is_used(&all).await;
    let log = all.log()[quiet..].to_owned();
    assert!(ROLES.iter().all(|role| debug_lines(&log, role) == 0), "{log}");
    let (code, _, err) = all.verb(&["flow", "set", "log.levle", "debug", "--reason", "x"]).await;
    assert!(code == 2 && err.contains("payments.drain_rate, log.level"), "{code} {err}");
    let (code, _, err) = all.verb(&["flow", "set", "payments.drain_rate", "fast", "--reason", "x"]).await;
    assert!(code == 2 && err.contains("charges a second"), "{code} {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_deleted_is_healed_and_told() {
    let system = System::start().await;
    system.add_stock("tea", 100).await;
    system_is_used(&system).await;
    let client = async_nats::connect(system.address("nats")).await.expect("connects");
    async_nats::jetstream::new(client).delete_stream("spillway-orders-0").await.expect("deleted");
    system_is_used(&system).await;
    let incidents = until("the incident", || async {
        let flow = flow(&system).await;
        let incidents = ledger(&flow, "orders").incidents.clone();
        incidents.iter().any(|incident| incident.kind == "stream_recreated").then_some(incidents)
    })
    .await;
    let told = incidents.iter().find(|incident| incident.kind == "stream_recreated").expect("found");
    assert_eq!((told.source.as_str(), told.count), ("orders", 1), "{incidents:?}");
    until("all that hear orders hear them again", || async {
        let flow = flow(&system).await;
        let orders = ledger(&flow, "orders");
        (orders.listeners.len() == 4 && orders.listeners.iter().all(|listener| listener.lag == 0)).then_some(())
    })
    .await;
    let (code, out) = doctor(&system).await;
    assert!(code == 1 && out.contains("the stream of orders was deleted and made again"), "{code} {out}");
    let (_, figures) = support::sums::get(&format!("http://{}/metrics", system.admin("orders"))).await;
    let counted = "spillway_incidents_total{role=\"orders\",kind=\"stream_recreated\"} 1";
    assert!(figures.contains(counted), "{figures}");
}

async fn system_is_used(system: &System) {
    run(system, request("tea", 1, "pm_ok")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_answer_is_named_and_the_same_request_does_it_there_later() {
    let mut all = Roles::start(&[]).await;
    all.kill("payments").await;
    let act = ["pause", "payments", "--reason", "x", "--request-id", "7d444840-9dc0-4f3a-9c55-1f3c4d2f7e11"];
    let (code, _, err) = all.verb(&[&["--output", "json"][..], &act].concat()).await;
    assert!(code == 3 && err.contains("payments-0"), "{code} {err}");
    let (code, out, _) = all.verb(&["flow"]).await;
    assert!(code == 3 && out.contains("payments-0") && out.contains("does not answer"), "{code} {out}");
    all.restart("payments").await;
    verb(&all, &act).await;
    assert_eq!(ledger(&flow(&all).await, "payments").pauses.len(), 1);
    let (status, figures) = support::sums::get(&format!("http://{}/metrics", all.admin("payments"))).await;
    assert_eq!(status, 200);
    assert!(figures.contains("spillway_jetstream_connected{role=\"payments\"} 1"), "{figures}");
    assert!(figures.lines().any(|line| line.starts_with("spillway_due_rows{")), "{figures}");
}
