//! The report for people.

use super::report::{Judged, Report};
use crate::cli::Format;
use crate::context::Context;
use crate::exit::Failure;

pub fn print(ctx: &Context, report: &Report) -> Result<(), Failure> {
    if ctx.output.format() == Format::Json {
        return ctx.output.json(report);
    }
    ctx.output.text(&format!("checked {} in {:.1} s\n\n", report.place, report.seconds))?;
    ctx.output.table(&[], orders(report))?;
    if !report.waiting.is_empty() {
        ctx.output.text("\nWaiting, which is no violation:\n")?;
        let waiting = report.waiting.iter().map(|(why, count)| vec![why.clone(), count.to_string()]);
        ctx.output.table(&[], waiting.collect())?;
    }
    ctx.output.text("\n")?;
    ctx.output.table(&["", "INVARIANT", "VIOLATIONS", "MEANING"], report.invariants.iter().map(line).collect())?;
    for judged in report.invariants.iter().filter(|judged| !judged.rows.is_empty()) {
        let count = judged.violations.unwrap_or_default();
        ctx.output.text(&format!("\n{} {}: {count}, of which {}\n", judged.id, judged.name, judged.rows.len()))?;
        let rows = judged.rows.iter().map(|row| vec![row.subject.clone(), row.detail.clone()]);
        ctx.output.table(&[], rows.collect())?;
    }
    for unreachable in &report.unreachable {
        ctx.output.text(&format!("\nnot reached: {}: {}\n", unreachable.what, unreachable.why))?;
    }
    ctx.output.text("\n")?;
    ctx.output.table(&[], counts(report))?;
    for input in &report.inputs {
        ctx.output.text(&format!("sha256 {}  {}\n", input.sha256, input.name))?;
    }
    let verdict = match (report.violations(), report.unreachable.is_empty()) {
        (0, true) => "\nall that was looked at holds\n".to_owned(),
        (0, false) => "\nwhat could be judged holds; not everything was reached\n".to_owned(),
        (count, _) => {
            format!("\n{count} violations of {}; docs/check.md says what to do\n", report.broken().join(", "))
        }
    };
    ctx.output.text(&verdict)
}

fn line(judged: &Judged) -> Vec<String> {
    let count = judged.violations.map_or_else(|| "not judged".to_owned(), |count| count.to_string());
    vec![judged.id.to_owned(), judged.name.to_owned(), count, judged.meaning.to_owned()]
}

fn orders(report: &Report) -> Vec<Vec<String>> {
    let orders = &report.orders;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    if orders.submitted > 0 {
        row("submitted by the clients", orders.submitted.to_string());
        row("answered OK", orders.ok.to_string());
        row("refused for good", orders.failed.to_string());
        let unknown = orders.unknown_present + orders.unknown_absent;
        row(
            "unknown to the clients",
            format!("{unknown} (present {}, absent {})", orders.unknown_present, orders.unknown_absent),
        );
    }
    row("accepted", orders.accepted.to_string());
    row("confirmed", orders.confirmed.to_string());
    row("rejected", orders.rejected.to_string());
    row("cancelled", orders.cancelled.to_string());
    row("refunded", orders.refunded.to_string());
    row("undecided", orders.undecided.to_string());
    rows
}

fn counts(report: &Report) -> Vec<Vec<String>> {
    let counts = &report.counts;
    [
        ("events said", counts.events),
        ("batches", counts.batches),
        ("audit entries", counts.audit_entries),
        ("messages in streams", counts.stream_messages),
        ("batches that no stream holds", counts.not_in_streams),
        ("batches that a stream holds again", counts.said_again_in_streams),
        ("attempts at the provider", counts.provider_attempts),
        ("repeats that it absorbed", counts.provider_repeats_absorbed),
        ("attempts that it did not answer", counts.provider_unanswered),
        ("payments with an unknown outcome", counts.unknown_outcomes),
        ("of these settled", counts.unknown_outcomes_settled),
        ("compensations", counts.compensations),
        ("dead letters", counts.dead_letters),
        ("dead letters that came again", counts.dead_letter_repeats),
        ("mails", counts.mails),
        ("orders that clients read", counts.orders_read),
    ]
    .into_iter()
    .map(|(name, count)| vec![name.to_owned(), count.to_string()])
    .collect()
}
