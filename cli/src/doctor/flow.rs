//! What the ledgers of a running system tell, and what to do about it.

use prost_types::Timestamp as Wire;
use spillway_proto::pb::ops::{Breaker, GetFlowResponse, Incident, LedgerFlow, breaker};
use spillway_proto::time::{self, Timestamp};

use super::Finding;
use crate::flow::shown::{ago, at, breaker_words, incident, lag, name, pause};

/// What waits this long is worth a look, in seconds: to be published or heard; to be done; to end as an order.
const UNHEARD_S: i64 = 10;
const OVERDUE_S: i64 = 60;
const UNFINISHED_S: i64 = 600;

/// What befell a stream or a consumer within this time is worth a look, in seconds.
const RECENT_S: i64 = 3600;

/// Less is low, in bytes.
const LOW_DISK: i64 = 1 << 30;

/// What the ledgers tell: first those that cannot be reached, then what there is to know of the others.
pub struct Told {
    pub unreachable: Vec<Finding>,
    pub findings: Vec<Finding>,
}

/// Judges what the ledgers told.
pub fn judge(flow: &GetFlowResponse) -> Told {
    let now = flow.read_time.as_ref().and_then(time::from_wire).unwrap_or_else(Timestamp::now);
    let mut told = Told { unreachable: Vec::new(), findings: Vec::new() };
    for ledger in &flow.ledgers {
        let what = format!("ledger {}", name(ledger));
        if ledger.silent.is_empty() {
            told.findings.extend(work(&what, ledger, now));
            told.findings.extend(healed(&what, ledger, now));
        } else {
            let fix = format!("is it running? spillway run {}, or spillway up", ledger.ledger);
            told.unreachable.push(Finding::problem(&what, format!("does not answer: {}", ledger.silent), fix));
        }
    }
    told.findings.extend(flow.breakers.iter().filter_map(open));
    if let Some(order) =
        flow.oldest_waiting.as_ref().filter(|order| age(order.create_time.as_ref(), now) > UNFINISHED_S)
    {
        let found = format!("{} was accepted {}", order.order_id, ago(order.create_time.as_ref(), now));
        let fix = format!("spillway order explain {}", order.order_id);
        told.findings.push(Finding::warning("oldest order", found, fix));
    }
    if told.findings.is_empty() && told.unreachable.is_empty() {
        told.findings.push(Finding::ok("flow", format!("all {} ledgers answer, nothing waits", flow.ledgers.len())));
    }
    told
}

fn age(since: Option<&Wire>, now: Timestamp) -> i64 {
    since.and_then(time::from_wire).map_or(0, |since| now.duration_since(since).as_secs())
}

/// What waits in a ledger, and why.
fn work(what: &str, ledger: &LedgerFlow, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut look = |found: String, fix: &str| findings.push(Finding::warning(what, found, fix));
    if !ledger.problem.is_empty() {
        look(format!("cannot write: {}", ledger.problem), "make room on its disk: it goes on by itself");
    }
    if ledger.disk_free_bytes < LOW_DISK {
        let mib = ledger.disk_free_bytes >> 20;
        look(format!("{mib} MiB free on its disk"), "make room: without any, nothing is accepted");
    }
    if !ledger.jetstream_connected {
        look(
            "not connected to NATS".to_owned(),
            "is nats-server running? What is committed waits, and nothing is lost",
        );
    }
    for held in &ledger.pauses {
        look(pause(held), &format!("spillway resume {} --reason TEXT", held.flow));
    }
    for said in ledger.said.iter().filter(|said| age(said.oldest_time.as_ref(), now) > UNHEARD_S) {
        let since = ago(said.oldest_time.as_ref(), now);
        look(
            format!("{} batches wait to be published, the oldest {since}", said.backlog),
            "JetStream is away, slow or full: nothing is lost, the log of the role says more",
        );
    }
    for late in ledger.listeners.iter().filter(|late| late.lag > 0 && age(late.oldest_time.as_ref(), now) > UNHEARD_S) {
        look(lag(late, now), &format!("is {} running, and can it write?", late.ledger));
    }
    for missing in &ledger.missing {
        let found = format!("{} batches of {} are missing and asked for", missing.batches, missing.ledger);
        look(found, &format!("{} gives them again as soon as it answers", missing.ledger));
    }
    for due in ledger.due.iter().filter(|due| due.overdue > 0 && age(due.oldest_time.as_ref(), now) > OVERDUE_S) {
        let found =
            format!("{} due of kind {}, the oldest {}", due.overdue, due.kind, ago(due.oldest_time.as_ref(), now));
        look(found, "a pause or an open breaker explains it; else the log of the role does");
    }
    if ledger.dead_letters > 0 {
        look(format!("{} dead letters", ledger.dead_letters), "spillway dlq list");
    }
    findings
}

/// What was set, and what befell it.
fn healed(what: &str, ledger: &LedgerFlow, now: Timestamp) -> Vec<Finding> {
    let settings = ledger.settings.iter().map(|setting| {
        let since = at(setting.since.as_ref());
        Finding::ok(what, format!("{} is {} since {since}: {}", setting.name, setting.value, setting.reason))
    });
    let incidents = ledger.incidents.iter().map(|befell| {
        let found = incident(befell);
        match weight(befell, now) {
            Weight::Loss => {
                Finding::warning(what, found, "restore them: spillway audit export holds what audit has heard")
            }
            Weight::Recent => Finding::warning(
                what,
                format!("healed: {found}"),
                "nothing is lost; find out who deletes or restores streams",
            ),
            Weight::Routine => Finding::ok(what, format!("healed: {found}")),
        }
    });
    settings.chain(incidents).collect()
}

enum Weight {
    /// It was not healed.
    Loss,
    /// Somebody or something meddled with JetStream, just now.
    Recent,
    /// Long ago, or what happens to every network.
    Routine,
}

fn weight(incident: &Incident, now: Timestamp) -> Weight {
    let is_recent = age(incident.last_time.as_ref(), now) <= RECENT_S;
    match incident.kind.as_str() {
        "gone_for_good" => Weight::Loss,
        "asked_for" | "publish_retried" | "reconnected" => Weight::Routine,
        _ if is_recent => Weight::Recent,
        _ => Weight::Routine,
    }
}

fn open(breaker: &Breaker) -> Option<Finding> {
    let is_closed = matches!(breaker.state(), breaker::State::Closed | breaker::State::Unspecified);
    let what = format!("breaker {}", breaker.name);
    (!is_closed).then(|| {
        Finding::warning(&what, breaker_words(breaker), "orders wait, and go on by themselves once it answers")
    })
}

#[cfg(test)]
mod tests {
    use spillway_proto::pb::ops::{DueWork, Pause};

    use super::super::Verdict;
    use super::*;

    fn wire(seconds: i64) -> Option<Wire> {
        Some(Wire { seconds, nanos: 0 })
    }

    fn well(role: &str) -> LedgerFlow {
        LedgerFlow {
            ledger: role.to_owned(),
            jetstream_connected: true,
            disk_free_bytes: LOW_DISK,
            ..LedgerFlow::default()
        }
    }

    fn of(ledger: LedgerFlow) -> Vec<(Verdict, String)> {
        let flow = GetFlowResponse { ledgers: vec![ledger], read_time: wire(10_000), ..GetFlowResponse::default() };
        judge(&flow).findings.into_iter().map(|finding| (finding.verdict, finding.found)).collect()
    }

    #[test]
    fn nothing_is_made_of_a_system_that_is_well() {
        assert_eq!(of(well("orders")), [(Verdict::Ok, "all 1 ledgers answer, nothing waits".to_owned())]);
        // What is due for a moment is work, not trouble.
        let due = DueWork { kind: "charge".into(), rows: 9, overdue: 9, oldest_time: wire(9_990), next_time: None };
        assert_eq!(of(LedgerFlow { due: vec![due], ..well("payments") }).len(), 1);
    }

    #[test]
    fn what_holds_work_up_is_told_with_what_ends_it() {
        let pause = Pause { flow: "payments".into(), reason: "bank holiday".into(), by: "ada".into(), since: wire(0) };
        let due = DueWork { kind: "charge".into(), rows: 9, overdue: 9, oldest_time: wire(9_000), next_time: None };
        let told = of(LedgerFlow { pauses: vec![pause], due: vec![due], dead_letters: 2, ..well("payments") });
        let told: Vec<_> = told.iter().map(|(verdict, found)| (*verdict, found.as_str())).collect();
        assert_eq!(
            told,
            [
                (Verdict::Warning, "payments paused by ada since 1970-01-01T00:00:00Z: bank holiday"),
                (Verdict::Warning, "9 due of kind charge, the oldest 16 min ago"),
                (Verdict::Warning, "2 dead letters"),
            ]
        );
    }

    #[test]
    fn what_was_healed_is_told_and_meddling_is_worth_a_look_for_an_hour() {
        let befell = |kind: &str, last: i64| Incident {
            kind: kind.into(),
            source: "orders".into(),
            count: 3,
            first_time: wire(0),
            last_time: wire(last),
            ..Incident::default()
        };
        let check = |kind: &str, last: i64, expected: Verdict| {
            let told = of(LedgerFlow { incidents: vec![befell(kind, last)], ..well("audit") });
            assert_eq!(told[0].0, expected, "{kind} {told:?}");
        };
        check("asked_for", 9_999, Verdict::Ok);
        check("reconnected", 9_999, Verdict::Ok);
        check("stream_recreated", 9_000, Verdict::Warning);
        check("stream_recreated", 1_000, Verdict::Ok);
        check("gone_for_good", 1_000, Verdict::Warning);
    }

    #[test]
    fn a_ledger_that_does_not_answer_is_a_problem() {
        let silent = LedgerFlow { ledger: "audit".into(), silent: "no responders".into(), ..LedgerFlow::default() };
        let told = judge(&GetFlowResponse { ledgers: vec![silent], ..GetFlowResponse::default() });
        assert_eq!(told.unreachable[0].verdict, Verdict::Problem);
        assert!(told.unreachable[0].fix.contains("spillway run audit"));
    }
}
