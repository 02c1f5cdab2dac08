//! What is told of steps that do not go on where they began, as a receiver of traces sees it.

mod common;
#[path = "../../tests/support/otlp.rs"]
#[allow(dead_code, reason = "the receiver can do more than is needed here")]
mod otlp;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use common::{MIGRATIONS, Tally, adjusted, batch, hear};
use otlp::{Receiver, Seen};
use spillway_proto::ledgers::Ledger as Source;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Incarnation, LedgerId, NewEvent, OrderId, Partition, TraceContext, batch as batches};
use spillway_shared::ledger::{Batch, Due, Held, Ledger, LedgerSpec, Redriven, Wait};
use spillway_shared::telemetry::{TelemetryConfig, Tracer};
use uuid::Uuid;

/// Longer than anything here takes; a test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

const LIFE: Incarnation = Incarnation(Uuid::from_u128(1));

fn order() -> OrderId {
    "0190b5a1-0000-7000-8000-000000000001".parse().expect("an id")
}

fn tracer(receiver: &Receiver) -> Tracer {
    let config = TelemetryConfig { otlp_endpoint: receiver.endpoint.clone(), ..TelemetryConfig::default() };
    Tracer::start("payments", &config).expect("usable")
}

/// All of that name, once nothing more is exported.
async fn told(receiver: &Receiver, tracer: &Tracer, name: &str) -> Vec<Seen> {
    tracer.shut_down(PATIENCE).await;
    receiver.seen().into_iter().filter(|span| span.name == name).collect()
}

fn hex(context: TraceContext) -> (String, String) {
    (format!("{:032x}", context.trace_id), format!("{:016x}", context.span_id))
}

/// One event of inventory, said now in this trace.
fn said(name: &str, cause: TraceContext) -> Batch {
    let mut writer = batches::BatchWriter::default();
    let event = NewEvent { traceparent: cause.to_string(), ..adjusted(name, 5, "1") };
    writer.push(&event, Source::Inventory, Timestamp::now());
    Batch { body: writer.into_bytes().into(), ..batch(LIFE, 1, &[]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_handed_in_again_begins_a_trace_that_links_the_first() {
    let receiver = Receiver::start().await;
    let (tracer, folder) = (tracer(&receiver), tempfile::tempdir().expect("a folder"));
    let id = LedgerId { ledger: Source::Payments, partition: Partition(0) };
    let mut spec = LedgerSpec::new(id, 1, folder.path(), MIGRATIONS);
    spec.tracer = tracer.clone();
    let ledger = Ledger::open(spec, Tally::new(), &["again"]).expect("opens");
    let cause = TraceContext::new(7, 9, true);
    hear(&ledger, &[said("shaky", cause)]).await;
    let kept = ledger.query(|tx| tx.read("select id from dead_letter", &[], |row| row.blob(0))).await.expect("answers");
    let letter = Uuid::from_slice(&kept[0]).expect("an id");
    ledger.service().shaky.store(false, Ordering::Relaxed);
    assert_eq!(ledger.redrive(vec![letter], "mended").await.expect("done"), [(letter, Redriven::Taken)]);

    let steps = told(&receiver, &tracer, "process inventory").await;
    let [dead, again] = &steps[..] else { panic!("{steps:?}") };
    let (trace, span) = hex(cause);
    assert_eq!((dead.is_error, &dead.trace, &dead.parent, dead.links.len()), (true, &trace, &span, 0));
    assert_eq!((again.is_error, again.parent.as_str()), (false, ""));
    assert_ne!(again.trace, trace);
    assert_eq!(again.links, [(trace, span)]);
}

/// What is due is taken up again after so long.
fn wait(after: Duration) -> (Wait, Due) {
    let due = Timestamp::now();
    let after_us = i64::try_from(after.as_micros()).expect("short");
    let wait = Wait { due, taken: time::from_micros(time::to_micros(due) + after_us), held: Held::Gate };
    (wait, Due { kind: "again", key: Bytes::from_static(b"tea"), at: due, attempt: 2, payload: Bytes::new() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_over_a_second_raises_its_trace_and_a_shorter_one_does_not() {
    let receiver = Receiver::start().await;
    let tracer = tracer(&receiver);
    let before = TraceContext::new(7, 9, false);
    let mut traceparent = before.to_string();
    let (short, due) = wait(Duration::from_millis(900));
    assert_eq!(short.resume(&tracer, &due, order(), &mut traceparent), None);
    assert_eq!(traceparent, before.to_string());
    let (long, due) = wait(Duration::from_millis(1_100));
    assert_eq!(long.resume(&tracer, &due, order(), &mut traceparent), Some(before.sampled(true)));
    assert_eq!(traceparent, before.sampled(true).to_string());
    let raised = tokio::time::timeout(PATIENCE, tracer.next_raised()).await.expect("its order is told of");
    assert_eq!(raised, order());

    let waits = told(&receiver, &tracer, "wait again").await;
    let [wait] = &waits[..] else { panic!("{waits:?}") };
    assert_eq!((wait.trace.clone(), wait.parent.clone()), hex(before));
    assert_eq!((wait.links.len(), wait.of("spillway.wait.held_by")), (0, "breaker"));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_wait_over_an_hour_a_trace_of_its_own_begins_that_links_the_one_before() {
    let receiver = Receiver::start().await;
    let tracer = tracer(&receiver);
    let before = TraceContext::new(7, 9, true);
    let mut traceparent = before.to_string();
    let (wait, due) = wait(Duration::from_secs(2 * 3600));
    let context = wait.resume(&tracer, &due, order(), &mut traceparent).expect("sampled");
    assert_eq!((context, traceparent), (before.renewed(), before.renewed().to_string()));
    assert_ne!(context.trace_id, before.trace_id);

    let waits = told(&receiver, &tracer, "wait again").await;
    let [wait] = &waits[..] else { panic!("{waits:?}") };
    assert_eq!((wait.trace.clone(), wait.id.clone()), hex(context));
    assert_eq!((wait.parent.as_str(), &wait.links[..]), ("", &[hex(before)][..]));
}
