//! The spans of a trace, and that they are one tree.

use std::collections::BTreeSet;

use spillway_proto::trace::step_span;
use spillway_proto::{EventId, Ledger};
use uuid::Uuid;

use crate::support::otlp::{Receiver, Seen};

/// Whether there is such a span.
pub fn has(spans: &[Seen], service: &str, name: &str) -> bool {
    spans.iter().any(|span| span.service == service && span.name == name)
}

/// The first such span.
pub fn find<'s>(spans: &'s [Seen], service: &str, name: &str) -> &'s Seen {
    let is_it = |span: &&Seen| span.service == service && span.name == name;
    spans.iter().find(is_it).unwrap_or_else(|| panic!("no {service} {name}"))
}

/// Every span but the first is under one that is there, and none came twice.
fn is_one_tree(spans: &[Seen], root: &str) {
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "a span came twice: {:?}", names(spans));
    assert_eq!(names(&strays(spans, root)), Vec::<String>::new(), "nobody knows their parents");
    for span in spans {
        assert!(span.end_ns >= span.start_ns, "{}", span.name);
    }
    // Whoever knows the events knows the spans: so the record finds them again.
    let steps: Vec<_> = spans.iter().filter_map(|span| Some((&span.id, step_of(span)?))).collect();
    assert!(!steps.is_empty() && steps.iter().all(|(id, step)| *id == step), "{steps:?}");
}

/// The id that the span of a step has, where it is one of a single event.
fn step_of(span: &Seen) -> Option<String> {
    let event = Uuid::try_parse(span.of("messaging.message.id")).ok().filter(|_| span.name.starts_with("process "))?;
    let ledger: Ledger = span.service.strip_prefix("spillway-")?.parse().ok()?;
    Some(format!("{:016x}", step_span(ledger, EventId(event))))
}

/// Those whose parents are not there, or not yet: every role exports its own.
fn strays(spans: &[Seen], root: &str) -> Vec<Seen> {
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let is_known = |span: &&Seen| {
        // Whoever works out the first span from the record does not know the client's.
        let is_first = span.parent == root || (span.parent.is_empty() && span.of("spillway.from_record") == "true");
        is_first || ids.contains(span.parent.as_str())
    };
    spans.iter().filter(|span| !is_known(span)).cloned().collect()
}

/// The spans of a trace once they are what is wanted, and one tree.
pub async fn tree(
    receiver: &Receiver,
    (trace, root): (&str, &str),
    what: &str,
    is_it: impl Fn(&[Seen]) -> bool,
) -> Vec<Seen> {
    let is_whole = |spans: &[Seen]| is_it(spans) && strays(spans, root).is_empty();
    let spans = receiver.until(trace, what, is_whole).await;
    is_one_tree(&spans, root);
    spans
}

fn names(spans: &[Seen]) -> Vec<String> {
    spans.iter().map(|span| format!("{} {}", span.service, span.name)).collect()
}
