//! One tree of what the ledgers know of an order. A pure function.

use std::collections::BTreeSet;

use spillway_proto::pb::internal::TraceResponse;
use spillway_proto::pb::ops::{GetOrderTraceResponse, TraceSpan, trace_span::Kind};
use spillway_proto::pb::orders::OrderEvent;
use spillway_proto::time;
use spillway_proto::trace::{Cause, Said, Step, step_span, steps};
use spillway_proto::{EventId, Ledger as Source, OrderId, TraceContext};
use uuid::Uuid;

/// Steps from the history, what only their ledgers know beneath them, each after its parent.
pub(super) fn compose(
    order_id: OrderId,
    events: &[OrderEvent],
    others: impl IntoIterator<Item = (Source, Option<TraceResponse>)>,
) -> GetOrderTraceResponse {
    let history: Vec<Said> = events.iter().filter_map(said).collect();
    let mut spans: Vec<TraceSpan> = steps(&history).iter().map(span_of).collect();
    let mut silent = Vec::new();
    for (source, answer) in others {
        match answer {
            Some(answer) => spans.extend(answer.spans.into_iter().map(|span| place(span, source, &history))),
            None => silent.push(source.name().to_owned()),
        }
    }
    let trace_id = history.first().map(|first| format!("{:032x}", first.context.trace_id)).unwrap_or_default();
    let of_order = |span: TraceSpan| {
        let trace_id = if span.trace_id.is_empty() { trace_id.clone() } else { span.trace_id };
        TraceSpan { trace_id, ..span }
    };
    let spans = in_tree(spans).into_iter().map(of_order).collect();
    GetOrderTraceResponse { order_id: order_id.to_string(), trace_id, spans, silent }
}

fn said(event: &OrderEvent) -> Option<Said> {
    Some(Said {
        id: EventId(Uuid::try_parse(&event.id).ok()?),
        type_name: event.r#type.clone(),
        source: event.source.parse().ok()?,
        at: time::from_wire(event.time.as_ref()?)?,
        context: TraceContext::parse(&event.traceparent)?,
    })
}

fn span_of(step: &Step) -> TraceSpan {
    let said: Vec<String> = step.said.iter().map(|said| short(&said.type_name)).collect();
    let name = match &step.cause {
        Cause::Took(cause) => format!("{} -> {}", short(&cause.type_name), said.join(", ")),
        Cause::Outside => said.join(", "),
    };
    let is_renewed = step.is_renewed();
    TraceSpan {
        span_id: format!("{:016x}", step.context.span_id),
        parent_span_id: step.parent().map(|parent| format!("{:016x}", parent.span_id)).unwrap_or_default(),
        trace_id: format!("{:032x}", step.context.trace_id),
        ledger: step.ledger.name().to_owned(),
        kind: Kind::Step.into(),
        name,
        start_time: Some(time::to_wire(step.began())),
        end_time: Some(time::to_wire(step.ended())),
        outcome: if is_renewed { "goes on in a trace of its own".to_owned() } else { String::new() },
        failed: step.said.iter().any(Said::is_failure),
        sampled: step.context.is_sampled(),
    }
}

/// "stock.held", of "spillway.stock.held.v1".
fn short(type_name: &str) -> String {
    let name = type_name.strip_prefix("spillway.").unwrap_or(type_name);
    name.rsplit_once(".v").map_or(name, |(name, _version)| name).to_owned()
}

/// Puts what a ledger tells of a step that said nothing orders has heard beneath the event that led to it.
fn place(mut span: TraceSpan, source: Source, history: &[Said]) -> TraceSpan {
    let known = |id: &str| history.iter().any(|said| format!("{:016x}", said.context.span_id) == id);
    let caused = |id: &str| history.iter().find(|said| format!("{:016x}", step_span(source, said.id)) == id);
    if !known(&span.parent_span_id)
        && let Some(cause) = caused(&span.parent_span_id).or_else(|| caused(&span.span_id))
    {
        span.parent_span_id = format!("{:016x}", cause.context.span_id);
        if span.kind() == Kind::Step {
            span.start_time = Some(time::to_wire(cause.at));
        }
    }
    span
}

/// Each span after its parent, siblings by the time of their beginning. One whose parent nobody tells of is a root.
fn in_tree(mut spans: Vec<TraceSpan>) -> Vec<TraceSpan> {
    spans.sort_by_key(|span| span.start_time.map(|start| (start.seconds, start.nanos)));
    let ids: BTreeSet<String> = spans.iter().map(|span| span.span_id.clone()).collect();
    let mut ordered = Vec::with_capacity(spans.len());
    let mut open: Vec<TraceSpan> = Vec::new();
    let (mut roots, mut rest): (Vec<TraceSpan>, Vec<TraceSpan>) =
        spans.into_iter().partition(|span| !ids.contains(&span.parent_span_id));
    roots.iter_mut().for_each(|root| root.parent_span_id.clear());
    roots.reverse();
    open.append(&mut roots);
    while let Some(span) = open.pop() {
        let (mut children, others): (Vec<TraceSpan>, Vec<TraceSpan>) =
            rest.into_iter().partition(|child| child.parent_span_id == span.span_id);
        rest = others;
        children.reverse();
        open.append(&mut children);
        ordered.push(span);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use spillway_proto::EventKind;
    use spillway_proto::time::Timestamp;

    use super::*;

    fn event(id: u128, kind: EventKind, source: Source, at: Timestamp, context: TraceContext) -> OrderEvent {
        OrderEvent {
            id: Uuid::from_u128(id).to_string(),
            r#type: kind.type_name().to_owned(),
            source: source.name().to_owned(),
            time: Some(time::to_wire(at)),
            traceparent: context.to_string(),
            ..OrderEvent::default()
        }
    }

    fn at(ms: i64) -> Timestamp {
        time::from_micros(ms * 1000)
    }

    /// An order up to its end, as orders has it.
    fn history() -> Vec<OrderEvent> {
        let root = TraceContext::new(7, 9, false);
        let step = |source, cause: u128| root.at(step_span(source, EventId(Uuid::from_u128(cause))));
        vec![
            event(1, EventKind::OrderPlaced, Source::Gateway, at(1), root),
            event(2, EventKind::StockHeld, Source::Inventory, at(3), step(Source::Inventory, 1)),
            event(3, EventKind::PaymentDeclined, Source::Payments, at(9), step(Source::Payments, 2)),
            event(4, EventKind::OrderRejected, Source::Orders, at(11), step(Source::Orders, 3)),
        ]
    }

    fn order_id() -> OrderId {
        OrderId::new(at(1), spillway_proto::Partition(0), [7; 10])
    }

    #[test]
    fn steps_calls_and_what_follows_the_end_are_one_tree() {
        let payments = TraceSpan {
            span_id: "call".into(),
            parent_span_id: format!("{:016x}", step_span(Source::Payments, EventId(Uuid::from_u128(2)))),
            ledger: "payments".into(),
            kind: Kind::Call.into(),
            start_time: Some(time::to_wire(at(4))),
            ..TraceSpan::default()
        };
        let mail = TraceSpan {
            span_id: "mail".into(),
            parent_span_id: format!("{:016x}", step_span(Source::Notifications, EventId(Uuid::from_u128(4)))),
            ledger: "notifications".into(),
            kind: Kind::Call.into(),
            start_time: Some(time::to_wire(at(12))),
            ..TraceSpan::default()
        };
        let released = TraceSpan {
            span_id: format!("{:016x}", step_span(Source::Inventory, EventId(Uuid::from_u128(4)))),
            ledger: "inventory".into(),
            kind: Kind::Step.into(),
            start_time: Some(time::to_wire(at(13))),
            end_time: Some(time::to_wire(at(13))),
            ..TraceSpan::default()
        };
        let others = [
            (Source::Payments, Some(TraceResponse { spans: vec![payments] })),
            (Source::Notifications, Some(TraceResponse { spans: vec![mail] })),
            (Source::Inventory, Some(TraceResponse { spans: vec![released] })),
        ];
        let told = compose(order_id(), &history(), others);
        let shape: Vec<(&str, &str, bool)> =
            told.spans.iter().map(|span| (span.ledger.as_str(), span.name.as_str(), span.failed)).collect();
        assert_eq!(
            shape,
            [
                ("gateway", "order.placed", false),
                ("inventory", "order.placed -> stock.held", false),
                ("payments", "stock.held -> payment.declined", true),
                ("payments", "", false),
                ("orders", "payment.declined -> order.rejected", true),
                ("inventory", "", false),
                ("notifications", "", false),
            ]
        );
        assert_eq!(told.spans[5].start_time, Some(time::to_wire(at(11))), "it began with the event that led to it");
        assert!(told.spans.iter().all(|span| span.trace_id == format!("{:032x}", 7)));
        assert_eq!(told.spans.iter().filter(|span| span.parent_span_id.is_empty()).count(), 1);
    }

    #[test]
    fn who_is_silent_is_told_of_and_a_history_without_traces_is_no_tree() {
        let told = compose(order_id(), &history(), [(Source::Payments, None)]);
        assert_eq!((told.silent, told.spans.len()), (vec!["payments".to_owned()], 4));
        let untraced: Vec<OrderEvent> =
            history().into_iter().map(|event| OrderEvent { traceparent: String::new(), ..event }).collect();
        let told = compose(order_id(), &untraced, []);
        assert_eq!((told.spans.len(), told.trace_id.as_str()), (0, ""));
    }

    #[test]
    fn names_are_short() {
        assert_eq!(short("spillway.payment.captured.v1"), "payment.captured");
        assert_eq!(short("other"), "other");
    }
}
