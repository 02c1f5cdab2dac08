//! How work flows, as people read it.

use prost_types::Timestamp as Wire;
use spillway_proto::pb::ops::{GetFlowResponse, Incident, LedgerFlow, Listener, Pause, breaker};
use spillway_proto::time::{self, Timestamp};

use crate::context::Context;
use crate::exit::Failure;

const COLUMNS: [&str; 7] = ["LEDGER", "SAID", "TO PUBLISH", "MISSING", "DUE", "OVERDUE", "DEAD LETTERS"];

pub(super) fn print(flow: &GetFlowResponse, ctx: &Context) -> Result<(), Failure> {
    let now = flow.read_time.as_ref().and_then(time::from_wire).unwrap_or_else(Timestamp::now);
    ctx.output.table(&COLUMNS, flow.ledgers.iter().map(row).collect())?;
    let mut lines = Vec::new();
    for ledger in &flow.ledgers {
        lines.extend(notes(ledger, now));
    }
    for breaker in &flow.breakers {
        if breaker.state() != breaker::State::Closed {
            lines.push(format!("breaker {}: {}", breaker.name, breaker_words(breaker)));
        }
    }
    if !flow.jetstream_connected {
        lines.push("the gateway is not connected to NATS".to_owned());
    }
    if let Some(order) = &flow.oldest_waiting {
        let age = ago(order.create_time.as_ref(), now);
        lines.push(format!(
            "order {} waits longest, {age}: `spillway order explain {}`",
            order.order_id, order.order_id
        ));
    }
    if lines.is_empty() {
        return Ok(());
    }
    ctx.output.text(&format!("\n{}\n", lines.join("\n")))
}

fn row(ledger: &LedgerFlow) -> Vec<String> {
    if !ledger.silent.is_empty() {
        return vec![name(ledger), format!("does not answer: {}", ledger.silent)];
    }
    let sum = |figures: &mut dyn Iterator<Item = i64>| figures.sum::<i64>().to_string();
    vec![
        name(ledger),
        sum(&mut ledger.said.iter().map(|said| said.head)),
        sum(&mut ledger.said.iter().map(|said| said.backlog)),
        sum(&mut ledger.missing.iter().map(|missing| missing.batches)),
        sum(&mut ledger.due.iter().map(|due| due.rows)),
        sum(&mut ledger.due.iter().map(|due| due.overdue)),
        ledger.dead_letters.to_string(),
    ]
}

/// What is worth a line of a ledger.
fn notes(ledger: &LedgerFlow, now: Timestamp) -> Vec<String> {
    let name = name(ledger);
    let mut notes = Vec::new();
    if !ledger.problem.is_empty() {
        notes.push(format!("{name} cannot write: {}", ledger.problem));
    }
    notes.extend(ledger.pauses.iter().map(|held| format!("{name}: {}", pause(held))));
    let set = ledger.settings.iter();
    notes.extend(set.map(|setting| {
        format!(
            "{name}: {} is {} since {} ({})",
            setting.name,
            setting.value,
            at(setting.since.as_ref()),
            setting.reason
        )
    }));
    let lagging = ledger.listeners.iter().filter(|listener| listener.lag > 0);
    notes.extend(lagging.map(|listener| format!("{name}: {}", lag(listener, now))));
    notes.extend(ledger.incidents.iter().map(|told| format!("{name}: {}", incident(told))));
    notes
}

/// The ledger, with its partition where it has one.
pub fn name(ledger: &LedgerFlow) -> String {
    match ledger.ledger.as_str() {
        "gateway" | "inventory" => ledger.ledger.clone(),
        role => format!("{role}-{}", ledger.partition),
    }
}

pub fn pause(pause: &Pause) -> String {
    let by = if pause.by.is_empty() { String::new() } else { format!(" by {}", pause.by) };
    format!("{} paused{by} since {}: {}", pause.flow, at(pause.since.as_ref()), pause.reason)
}

pub fn lag(listener: &Listener, now: Timestamp) -> String {
    let batches = if listener.lag == 1 { "batch" } else { "batches" };
    let age = ago(listener.oldest_time.as_ref(), now);
    format!("{} has not heard {} {batches}, the oldest {age}", listener.ledger, listener.lag)
}

pub fn breaker_words(breaker: &spillway_proto::pb::ops::Breaker) -> String {
    let since = at(breaker.since.as_ref());
    match breaker.state() {
        breaker::State::Open => format!("open since {since}: {}", breaker.last_failure),
        breaker::State::Probing => format!("probing since {since}: {}", breaker.last_failure),
        breaker::State::Closed => "closed".to_owned(),
        breaker::State::Unspecified => "unknown".to_owned(),
    }
}

/// An incident in a sentence.
pub fn incident(incident: &Incident) -> String {
    let (count, source) = (incident.count, incident.source.as_str());
    let what = match incident.kind.as_str() {
        "asked_for" => format!("{count} batches of {source} were missing, and {source} gave them again"),
        "gone_for_good" => format!("batches of {source} are gone for good ({count} times)"),
        "stream_recreated" => format!("the stream of {source} was deleted and made again ({count} times)"),
        "stream_behind" => format!("the stream of {source} went back behind what it had taken ({count} times)"),
        "stream_holes" => format!("the stream of {source} lost messages in its middle ({count} times)"),
        "stream_emptied" => format!("the stream of {source} lost all its messages ({count} times)"),
        "sequence_reused" => format!("the stream of {source} gave a number twice ({count} times)"),
        "consumer_recreated" => format!("the consumer on {source} was made anew ({count} times)"),
        "publish_retried" => format!("{count} publishes were not acknowledged and said again"),
        "reconnected" => format!("the connection to {source} was lost and made again ({count} times)"),
        other => format!("{other} ({count} times, {source})"),
    };
    format!("{what}, last at {}", at(incident.last_time.as_ref()))
}

pub fn at(time: Option<&Wire>) -> String {
    time.and_then(time::from_wire).map_or_else(|| "?".to_owned(), |at| format!("{at:.0}"))
}

/// "12 s ago".
pub fn ago(since: Option<&Wire>, now: Timestamp) -> String {
    let Some(since) = since.and_then(time::from_wire) else { return "just now".to_owned() };
    match now.duration_since(since).as_secs() {
        ..=0 => "just now".to_owned(),
        seconds @ 1..=119 => format!("{seconds} s ago"),
        seconds @ 120..=7199 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3600),
    }
}
