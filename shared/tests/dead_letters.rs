//! What becomes of messages that cannot be taken: kept once, resolved by a good copy, handed in again, put away; and
//! what ends the process is found by the markers that it leaves.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use common::{Tally, adjusted, batch, hear, open, spec, total};
use spillway_proto::ledgers::Ledger as Source;
use spillway_proto::pb::ops::dead_letter::State;
use spillway_proto::pb::ops::{DeadLetter, DeadLetterChoice};
use spillway_proto::time::Timestamp;
use spillway_proto::{Envelope, Event, EventKind, Incarnation, NewEvent, Partition, batch as batches};
use spillway_shared::ledger::letters::{self, Asked};
use spillway_shared::ledger::{Batch, Came, Cause, Ledger, Origin, Redriven};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const LIFE: Incarnation = Incarnation(Uuid::from_u128(1));
const HERE: Partition = Partition(0);

/// Longer than anything here takes; a test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

struct Looked;

impl Origin for Looked {
    fn stream(&self) -> &str {
        "spillway-inventory"
    }

    fn headers(&self) -> Vec<(String, String)> {
        vec![("spillway-number".to_owned(), "one".to_owned())]
    }
}

fn came(batch: Batch, delivered: i64) -> Came {
    Came { batch, delivered, origin: Some(Arc::new(Looked)) }
}

async fn letters_in(ledger: &Ledger<Tally>, state: State) -> Vec<DeadLetter> {
    let own = ledger.identity().id;
    let asked = Asked { state, ..Asked::default() };
    let page = ledger.query(move |tx| letters::page(tx, own, &asked, None, 1000)).await;
    page.expect("answers")
}

fn id_of(letter: &DeadLetter) -> Uuid {
    letter.dead_letter_id.parse().expect("an id")
}

/// What it said of its dead letters, and nothing else.
async fn told(ledger: &Ledger<Tally>) -> Vec<Event> {
    let told = told_as_said(ledger).await.into_iter();
    told.map(|event| Event::decode(event.kind().expect("known"), event.payload).expect("decodes")).collect()
}

async fn told_as_said(ledger: &Ledger<Tally>) -> Vec<Envelope> {
    let outbox = ledger.outbox(HERE, 1, 1000, 1 << 24).await.expect("answers");
    let events = outbox.into_iter().flat_map(|batch| batches::read(batch.body).expect("a batch"));
    let events = events.map(|event| event.expect("an event"));
    let ours = [EventKind::DeadLetterRedriven, EventKind::DeadLetterDiscarded];
    events.filter(|event| event.kind().is_some_and(|kind| ours.contains(&kind))).collect()
}

/// Waits until the file is free, after a clean end.
async fn closed(ledger: Ledger<Tally>) {
    let gone = ledger.gone();
    drop(ledger);
    gone.await;
}

/// As if the process had died: what was noted as a clean end is not.
fn died(folder: &std::path::Path) {
    let file = rusqlite::Connection::open(folder.join("payments-0.db")).expect("opens");
    file.execute("update run set clean = 0", []).expect("written");
}

#[tokio::test]
async fn a_dead_letter_keeps_its_origin_and_is_counted_when_it_comes_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let mut nameless = batch(LIFE, 1, &[("tea", 1)]);
    nameless.number = None;
    for _ in 0..3 {
        ledger.take(&[came(nameless.clone(), 1)]).await.expect("taken");
    }
    hear(&ledger, &[batch(LIFE, 1, &[("shaky", 1), ("tea", 2)])]).await;
    let mut letters = letters_in(&ledger, State::Dead).await;
    letters.sort_by_key(|letter| letter.cause);
    let [panic, unnumbered] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((unnumbered.count, unnumbered.stream.as_str()), (3, "spillway-inventory"));
    assert!(unnumbered.whole_message && unnumbered.number == 0);
    assert_eq!((panic.subject.as_str(), panic.event_type.as_str()), ("sku/shaky", "spillway.stock.adjusted.v1"));
    assert_eq!((panic.count, panic.number, panic.whole_message), (1, 1, false));
    let (own, id) = (ledger.identity().id, id_of(unnumbered));
    let one = ledger.query(move |tx| letters::one(tx, own, id)).await.expect("answers").expect("there");
    assert_eq!((one.headers[0].value.as_str(), &one.body), ("one", &nameless.body));
    let about = Asked { subject: "sku/shaky".to_owned(), ..Asked::default() };
    let found = ledger.query(move |tx| letters::page(tx, own, &about, None, 10)).await.expect("answers");
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn a_bad_copy_is_resolved_by_a_good_one_and_after_a_good_one_it_never_matters() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let bad = |number| Batch { body: Bytes::from_static(b"\x0a\x7fshort"), ..batch(LIFE, number, &[]) };
    hear(&ledger, &[bad(1)]).await;
    assert_eq!(letters_in(&ledger, State::Dead).await.len(), 1);
    let good = Batch { asked: true, ..batch(LIFE, 1, &[("tea", 3)]) };
    hear(&ledger, &[good]).await;
    assert_eq!((letters_in(&ledger, State::Dead).await.len(), total(&ledger, "tea").await), (0, 3));

    // The same by way of the stream, and after a restart.
    hear(&ledger, &[bad(2)]).await;
    closed(ledger).await;
    let ledger = open(folder.path());
    hear(&ledger, &[batch(LIFE, 2, &[("tea", 4)]), bad(2)]).await;
    hear(&ledger, &[bad(2), bad(1)]).await;
    let resolved = letters_in(&ledger, State::Resolved).await;
    assert_eq!((letters_in(&ledger, State::Dead).await.len(), resolved.len()), (0, 2));
    assert_eq!(total(&ledger, "tea").await, 7);
}

#[tokio::test]
async fn a_redrive_is_decided_with_the_letters_new_state_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    hear(&ledger, &[batch(LIFE, 1, &[("shaky", 5), ("tea", 1)])]).await;
    let letter = letters_in(&ledger, State::Dead).await.remove(0);
    let id = id_of(&letter);
    let again = ledger.redrive(vec![id], "another try").await.expect("done");
    assert_eq!(again, [(id, Redriven::StillDead(Cause::Panic, "shaky input".to_owned()))]);
    let dead = letters_in(&ledger, State::Dead).await;
    assert_eq!((dead.len(), dead[0].count, dead[0].outcome.as_str()), (1, 2, "shaky input"));

    ledger.service().shaky.store(false, Ordering::Relaxed);
    // Twice at once: it is taken once.
    let (one, other) = tokio::join!(ledger.redrive(vec![id], "mended"), ledger.redrive(vec![id, id], "mended"));
    let outcomes: Vec<Redriven> =
        one.expect("done").into_iter().chain(other.expect("done")).map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Redriven::Taken).count(), 1, "{outcomes:?}");
    assert_eq!(total(&ledger, "shaky").await, 5);
    assert_eq!(letters_in(&ledger, State::Redriven).await[0].reason, "mended");
    assert_eq!(ledger.redrive(vec![id], "once more").await.expect("done"), []);
    let told = told(&ledger).await;
    let outcomes = told.iter().map(|event| match event {
        Event::DeadLetterRedriven(redriven) => (redriven.reason.as_str(), redriven.outcome.as_str()),
        other => panic!("{other:?}"),
    });
    assert_eq!(outcomes.collect::<Vec<_>>(), [("another try", "shaky input"), ("mended", "taken")]);
}

#[tokio::test]
async fn what_is_handed_in_again_is_taken_with_the_letters_new_state_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    hear(&ledger, &[batch(LIFE, 1, &[("shaky", 5)])]).await;
    let id = id_of(&letters_in(&ledger, State::Dead).await[0]);
    ledger.service().shaky.store(false, Ordering::Relaxed);
    let refuse = "create trigger refuse before update on dead_letter when new.state = 'REDRIVEN'
                  begin select raise(abort, 'refused'); end";
    ledger.act(move |tx, _says, _at| tx.write(refuse, &[])).await.expect("done");
    let refused = ledger.redrive(vec![id], "while it is refused").await;
    assert!(!matches!(&refused, Ok(outcomes) if outcomes.contains(&(id, Redriven::Taken))), "{refused:?}");
    assert_eq!((letters_in(&ledger, State::Dead).await.len(), total(&ledger, "shaky").await), (1, 0), "{refused:?}");
    ledger.act(|tx, _says, _at| tx.write("drop trigger refuse", &[])).await.expect("done");
    assert_eq!(ledger.redrive(vec![id], "mended").await.expect("done"), [(id, Redriven::Taken)]);
    assert_eq!((letters_in(&ledger, State::Dead).await.len(), total(&ledger, "shaky").await), (0, 5));
}

#[tokio::test]
async fn a_whole_message_without_a_number_can_be_handed_in_and_a_damaged_one_stays_dead() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let nameless = Batch { number: None, ..batch(LIFE, 1, &[("tea", 1), ("shaky", 1)]) };
    let damaged = Batch { body: Bytes::from_static(b"\x0a\x7fshort"), ..batch(LIFE, 9, &[]) };
    hear(&ledger, &[nameless, damaged]).await;
    let ids: Vec<Uuid> = letters_in(&ledger, State::Dead).await.iter().map(id_of).collect();
    let outcomes = ledger.redrive(ids, "by hand").await.expect("done");
    let taken = outcomes.iter().filter(|(_, outcome)| *outcome == Redriven::Taken).count();
    assert_eq!((outcomes.len(), taken, total(&ledger, "tea").await), (2, 1, 1));
    // The damaged one, and the one event of the other that panics.
    let left: Vec<i32> = letters_in(&ledger, State::Dead).await.iter().map(|letter| letter.cause).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[tokio::test]
async fn what_is_put_away_stays_with_its_reason_and_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    hear(&ledger, &[batch(LIFE, 1, &[("shaky", 5), ("tea", 1)]), batch(LIFE, 2, &[("shaky", 6)])]).await;
    let dead = letters_in(&ledger, State::Dead).await;
    assert_eq!((dead.len(), &dead[0].fingerprint), (2, &dead[1].fingerprint));
    let own = ledger.identity().id;
    let choice = DeadLetterChoice { fingerprint: dead[0].fingerprint.clone(), ..DeadLetterChoice::default() };
    let discarded = ledger.act(move |tx, says, at| {
        let meant = letters::chosen(tx, own, &choice, None, 100)?;
        letters::discard(tx, says, &meant, "a test's", at)
    });
    assert_eq!(discarded.await, Ok(2));
    assert_eq!(letters_in(&ledger, State::Discarded).await.len(), 2);
    assert_eq!(told(&ledger).await.len(), 2);
    assert_eq!(ledger.redrive(dead.iter().map(id_of).collect(), "too late").await.expect("done"), []);
    assert_eq!(total(&ledger, "shaky").await, 0);
}

#[tokio::test]
async fn what_operators_do_to_a_dead_letter_is_said_in_the_trace_of_its_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let traceparent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00";
    let mut said = batches::BatchWriter::default();
    let event = NewEvent { traceparent: traceparent.to_owned(), ..adjusted("shaky", 5, "1") };
    said.push(&event, Source::Inventory, Timestamp::UNIX_EPOCH);
    hear(&ledger, &[Batch { body: said.into_bytes().into(), ..batch(LIFE, 1, &[]) }]).await;
    let dead = letters_in(&ledger, State::Dead).await;
    assert_eq!(dead[0].traceparent, traceparent);
    ledger.redrive(vec![id_of(&dead[0])], "another try").await.expect("done");
    ledger.act(move |tx, says, at| letters::discard(tx, says, &dead, "a test's", at)).await.expect("done");
    let told = told_as_said(&ledger).await;
    let traces: Vec<(Option<EventKind>, &str)> = told.iter().map(|told| (told.kind(), &told.traceparent[..])).collect();
    let kinds = [EventKind::DeadLetterRedriven, EventKind::DeadLetterDiscarded];
    assert_eq!(traces, kinds.map(|kind| (Some(kind), traceparent)));
}

/// Opens as another build does.
fn open_as(folder: &std::path::Path, build: &str) -> Ledger<Tally> {
    let mut spec = spec(folder, Source::Payments);
    spec.build = build.to_owned();
    Ledger::open(spec, Tally::new(), &["again"]).expect("opens")
}

/// How many of a newer kind are handed in again. Comes to an end, whatever becomes of them.
async fn newer(ledger: &Ledger<Tally>) -> usize {
    let stop = CancellationToken::new();
    let handed_in = tokio::time::timeout(PATIENCE, ledger.redrive_newer(&stop)).await;
    handed_in.expect("each is tried once").expect("done")
}

#[tokio::test]
async fn what_is_of_a_newer_kind_is_tried_once_by_each_other_build() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open_as(folder.path(), "1");
    ledger.service().knows_bulk.store(false, Ordering::Relaxed);
    hear(&ledger, &[batch(LIFE, 1, &[("bulk tea", 5), ("tea", 1)]), batch(LIFE, 2, &[("bulk cup", 1)])]).await;
    assert_eq!(newer(&ledger).await, 0, "this build wrote them");
    closed(ledger).await;

    let ledger = open_as(folder.path(), "2");
    ledger.service().knows_bulk.store(false, Ordering::Relaxed);
    assert_eq!((newer(&ledger).await, newer(&ledger).await), (2, 0));
    assert_eq!(letters_in(&ledger, State::Dead).await.len(), 2);
    closed(ledger).await;

    let ledger = open_as(folder.path(), "3");
    assert_eq!(newer(&ledger).await, 2);
    assert_eq!((total(&ledger, "bulk tea").await, total(&ledger, "bulk cup").await), (5, 1));
    let redriven = letters_in(&ledger, State::Redriven).await;
    assert_eq!((redriven.len(), redriven[0].reason.as_str()), (2, "a newer build knows it"));
    assert_eq!(told(&ledger).await.len(), 4);
}

/// How many messages wait under a marker.
async fn in_hand(ledger: &Ledger<Tally>) -> i64 {
    let found = ledger.query(|tx| tx.read("select count(*) from in_hand", &[], |row| row.int(0))).await;
    found.expect("answers")[0]
}

#[tokio::test]
async fn after_a_clean_end_nothing_is_marked_and_after_another_what_comes_again_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    ledger.take(&[came(batch(LIFE, 1, &[("tea", 1)]), 1)]).await.expect("taken");
    closed(ledger).await;
    let commits = |folder: &std::path::Path| {
        let file = rusqlite::Connection::open(folder.join("payments-0.db")).expect("opens");
        file.query_row("select unclean from run", [], |row| row.get::<_, i64>(0)).expect("a row")
    };
    let ledger = open(folder.path());
    assert_eq!(commits(folder.path()), 0);
    ledger.take(&[came(batch(LIFE, 2, &[("tea", 1)]), 2)]).await.expect("taken");
    closed(ledger).await;
    died(folder.path());
    let ledger = open(folder.path());
    assert_eq!(commits(folder.path()), 1);
    // Whole batches, as ever, and the marker is gone with the commit.
    ledger.take(&[came(batch(LIFE, 3, &[("tea", 1), ("cup", 1)]), 2)]).await.expect("taken");
    assert_eq!((total(&ledger, "tea").await, in_hand(&ledger).await), (3, 0));
}

/// The ledger's file as it is when the process dies with event `event` of batch 1 in hand, found `found` times before.
fn leave_in_hand(folder: &std::path::Path, event: i64, found: i64) {
    let file = rusqlite::Connection::open(folder.join("payments-0.db")).expect("opens");
    let key = (Source::Inventory.name(), LIFE.as_bytes().to_vec(), 0, 1, event, found);
    file.execute("insert into in_hand values ($1, $2, $3, $4, $5, $6)", key).expect("written");
    file.execute("update run set clean = 0", []).expect("written");
}

#[tokio::test]
async fn an_event_whose_marker_is_found_twice_is_a_dead_letter_and_the_others_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let suspect = batch(LIFE, 1, &[("tea", 1), ("killer", 1), ("cup", 2)]);
    closed(open(folder.path())).await;
    leave_in_hand(folder.path(), 1, 1);
    let ledger = open(folder.path());
    // Delivered for the first time, as far as JetStream knows: the marker says otherwise.
    ledger.take(&[came(suspect.clone(), 1)]).await.expect("taken");
    assert_eq!((total(&ledger, "killer").await, total(&ledger, "cup").await), (0, 2));
    // What was before the marker had been committed, and is not done again.
    assert_eq!((total(&ledger, "tea").await, in_hand(&ledger).await), (0, 0));
    let dead = letters_in(&ledger, State::Dead).await;
    assert_eq!((dead.len(), dead[0].subject.as_str()), (1, "sku/killer"));
    assert_eq!(dead[0].cause().as_str_name(), "CAUSE_CRASH");
    let line = spillway_shared::ledger::Line { source: Source::Inventory, incarnation: LIFE, partition: HERE };
    assert_eq!(ledger.inbox().borrow().mark(&line).map(|mark| mark.number), Some(1));
    ledger.take(&[came(suspect, 2)]).await.expect("taken");
    assert_eq!(total(&ledger, "cup").await, 2);
}

#[tokio::test]
async fn a_message_found_once_is_taken_event_by_event_and_one_that_cannot_even_be_read_is_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let suspect = batch(LIFE, 1, &[("tea", 1), ("shaky", 1), ("cup", 2)]);
    closed(open(folder.path())).await;
    leave_in_hand(folder.path(), -1, 0);
    let ledger = open(folder.path());
    ledger.take(&[came(suspect.clone(), 1)]).await.expect("taken");
    assert_eq!((total(&ledger, "tea").await, total(&ledger, "cup").await), (1, 2));
    assert_eq!(letters_in(&ledger, State::Dead).await[0].cause().as_str_name(), "CAUSE_PANIC");
    let numbers = ledger.heads().borrow()[&HERE];
    assert_eq!(numbers, 2, "tea and cup were said in commits of their own");
    closed(ledger).await;

    let other = tempfile::tempdir().expect("a folder");
    closed(open(other.path())).await;
    leave_in_hand(other.path(), -1, 1);
    let ledger = open(other.path());
    ledger.take(&[came(suspect, 1)]).await.expect("taken");
    let dead = letters_in(&ledger, State::Dead).await;
    assert_eq!((dead.len(), dead[0].whole_message, total(&ledger, "tea").await), (1, true, 0));
    assert_eq!(dead[0].cause().as_str_name(), "CAUSE_CRASH");
}
