//! `spillway order trace`: the spans of an order as a tree, from the ledgers' own record.

use owo_colors::Style;
use spillway_proto::pb::ops::{GetOrderTraceRequest, GetOrderTraceResponse, TraceSpan, trace_span::Kind};
use spillway_proto::time::{self, Timestamp};

use crate::cli::Format;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Output, printable};

/// Columns of the bars.
const BAR: usize = 24;

/// Columns of what was done, with its place in the tree.
const NAME: usize = 52;

/// Asks the gateway, and prints the tree.
pub async fn run(order_id: String, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.ops()?;
    let answer = remote
        .call(GetOrderTraceRequest { order_id }, |request| {
            let mut client = remote.traces();
            async move { client.get_order_trace(request).await }
        })
        .await?;
    match ctx.output.format() {
        Format::Json => ctx.output.message("spillway.ops.v1.GetOrderTraceResponse", &answer),
        Format::Table => ctx.output.text(&text(&answer, Timestamp::now(), &ctx.output)),
    }
}

/// From when to when all of it lasted, in microseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    from_us: i64,
    until_us: i64,
}

fn text(trace: &GetOrderTraceResponse, now: Timestamp, output: &Output) -> String {
    let id = printable(&trace.order_id);
    let Some(frame) = frame(&trace.spans, now) else {
        return format!("order {id} has no trace: its events carry none\n");
    };
    let took = duration(frame.until_us - frame.from_us);
    let is_sampled = trace.spans.iter().any(|span| span.sampled);
    let sampled = if is_sampled { "sampled" } else { "not sampled: no backend has it" };
    let mut text = format!("order {id}, trace {} ({sampled}), {took} in all\n\n", printable(&trace.trace_id));
    let mut depths: Vec<(String, usize)> = Vec::new();
    for span in &trace.spans {
        let parent = depths.iter().find(|(id, _)| *id == span.parent_span_id);
        let depth = parent.map_or(0, |(_, depth)| depth + 1);
        depths.push((span.span_id.clone(), depth));
        text += &line(span, depth, frame, now, output);
    }
    for ledger in &trace.silent {
        text += &format!("\n{} does not answer: what only it knows is missing", printable(ledger));
    }
    if trace.silent.is_empty() { text } else { text + "\n" }
}

fn frame(spans: &[TraceSpan], now: Timestamp) -> Option<Frame> {
    let from_us = spans.iter().filter_map(start_us).min()?;
    let until_us = spans.iter().map(|span| end_us(span, now)).max()?;
    Some(Frame { from_us, until_us: until_us.max(from_us) })
}

/// "  +3.2 ms    5.1 ms  |   ====   |  payments   stock.held -> payment.captured"
fn line(span: &TraceSpan, depth: usize, frame: Frame, now: Timestamp, output: &Output) -> String {
    let from_us = start_us(span).unwrap_or(frame.from_us);
    let until_us = end_us(span, now).max(from_us);
    let lasted = match span.end_time {
        Some(_) => duration(until_us - from_us),
        None => format!("{}...", duration(until_us - from_us)),
    };
    let mark = match span.kind() {
        Kind::Wait => '.',
        Kind::Call => '~',
        Kind::Step | Kind::Unspecified => '=',
    };
    let bar = bar(from_us, until_us, frame, mark);
    let name = format!("{}{}", "  ".repeat(depth.min(12)), printable(&span.name));
    let mut after = printable(&span.outcome);
    if span.failed && after.is_empty() {
        "did not go well".clone_into(&mut after);
    }
    let style = match (span.failed, span.kind()) {
        (true, _) => Style::new().red(),
        (false, Kind::Wait) => Style::new().yellow(),
        (false, Kind::Step | Kind::Call | Kind::Unspecified) => Style::new(),
    };
    let offset = format!("+{}", duration(from_us - frame.from_us));
    let ledger = printable(&span.ledger);
    let words = format!("{offset:>10} {lasted:>11}  |{bar}|  {ledger:<13}  {name:<NAME$}  {after}");
    format!("{}\n", output.paint(words.trim_end(), style))
}

fn bar(from_us: i64, until_us: i64, frame: Frame, mark: char) -> String {
    let whole = i128::from((frame.until_us - frame.from_us).max(1));
    let columns = i128::try_from(BAR).unwrap_or(1);
    let column = |at_us: i64| {
        let at = i128::from(at_us - frame.from_us) * columns / whole;
        usize::try_from(at.clamp(0, columns)).unwrap_or(0)
    };
    let first = column(from_us).min(BAR - 1);
    let last = column(until_us).clamp(first + 1, BAR);
    (0..BAR).map(|nth| if (first..last).contains(&nth) { mark } else { ' ' }).collect()
}

fn start_us(span: &TraceSpan) -> Option<i64> {
    span.start_time.as_ref().and_then(time::from_wire).map(time::to_micros)
}

/// What goes on lasts until now.
fn end_us(span: &TraceSpan, now: Timestamp) -> i64 {
    let end = match &span.end_time {
        Some(end) => time::from_wire(end),
        None => Some(now),
    };
    time::to_micros(end.unwrap_or(now))
}

/// "3.2 ms", "4.10 s", "2 h 05 min".
fn duration(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    match micros {
        ..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        1_000_000..120_000_000 => format!("{}.{:02} s", seconds, micros % 1_000_000 / 10_000),
        120_000_000..7_200_000_000 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, kind: Kind, from_ms: i64, until_ms: Option<i64>) -> TraceSpan {
        let at = |ms: i64| time::to_wire(time::from_micros(ms * 1000));
        TraceSpan {
            span_id: id.into(),
            parent_span_id: parent.into(),
            ledger: "payments".into(),
            kind: kind.into(),
            name: id.into(),
            start_time: Some(at(from_ms)),
            end_time: until_ms.map(at),
            ..TraceSpan::default()
        }
    }

    #[test]
    fn a_trace_reads_as_a_tree_with_its_waits() {
        let spans = vec![
            span("a", "", Kind::Step, 0, Some(10)),
            span("b", "a", Kind::Step, 10, Some(30)),
            TraceSpan { failed: true, outcome: "unknown".into(), ..span("c", "b", Kind::Call, 12, Some(20)) },
            span("d", "b", Kind::Wait, 20, None),
        ];
        let trace = GetOrderTraceResponse {
            order_id: "o1".into(),
            trace_id: "t1".into(),
            spans,
            silent: vec!["orders".into()],
        };
        let output = Output::new(Format::Table, true);
        let told = text(&trace, time::from_micros(40_000), &output);
        let lines: Vec<&str> = told.lines().map(str::trim_end).collect();
        assert_eq!(lines[0], "order o1, trace t1 (not sampled: no backend has it), 40 ms in all");
        assert_eq!(lines[2], "   +0.0 ms       10 ms  |======                  |  payments       a");
        assert_eq!(lines[3], "    +10 ms       20 ms  |      ============      |  payments         b");
        assert!(lines[4].contains("|       ~~~~~            |") && lines[4].ends_with("unknown"), "{}", lines[4]);
        assert!(lines[5].contains("20 ms...  |            ............|"), "{}", lines[5]);
        assert_eq!(lines[7], "orders does not answer: what only it knows is missing");
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        let shown = [0, 1_234, 56_789, 4_100_000, 125_000_000, 7_500_000_000].map(duration);
        assert_eq!(shown, ["0.0 ms", "1.2 ms", "56 ms", "4.10 s", "2 min 05 s", "2 h 05 min"]);
    }

    #[test]
    fn an_order_without_a_trace_is_said_to_have_none() {
        let output = Output::new(Format::Table, true);
        let trace = GetOrderTraceResponse { order_id: "o1".into(), ..GetOrderTraceResponse::default() };
        assert_eq!(text(&trace, Timestamp::UNIX_EPOCH, &output), "order o1 has no trace: its events carry none\n");
    }
}
