//! The ledger on a real file: inbox, outbox, group commit, dead letters, lease, restart.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Add, Tally, batch, dead_letters, hear, open, spec, total};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use proptest::prelude::*;
use spillway_proto::ledgers::Ledger as Source;
use spillway_proto::{Incarnation, Partition};
use spillway_shared::ledger::{Ledger, LedgerSpec, Line, NotTaken, Numbering, OpenError};
use uuid::Uuid;

const LIFE: Incarnation = Incarnation(Uuid::from_u128(1));
const HERE: Partition = Partition(0);

#[tokio::test]
async fn a_command_is_answered_after_its_commit_and_says_its_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    assert_eq!(ledger.command(Add::new("tea", 3)).await, Ok(3));
    assert_eq!(ledger.command(Add::new("tea", 4)).await, Ok(7));
    let outbox = ledger.outbox(HERE, 1, 10, 1 << 20).await.expect("answers");
    assert_eq!(outbox.iter().map(|b| b.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(total(&ledger, "tea").await, 7);
}

#[tokio::test]
async fn a_batch_heard_twice_changes_nothing_and_says_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let first = batch(LIFE, 1, &[("tea", 3), ("cup", 1)]);
    hear(&ledger, &[first.clone(), first.clone()]).await;
    hear(&ledger, &[first]).await;
    assert_eq!(total(&ledger, "tea").await, 3);
    assert_eq!(ledger.heads().borrow()[&HERE], 1);
}

#[tokio::test]
async fn batches_in_any_order_end_at_the_same_mark() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    for number in [3, 1, 5, 2] {
        hear(&ledger, &[batch(LIFE, number, &[("tea", number)])]).await;
    }
    let line = Line { source: Source::Inventory, incarnation: LIFE, partition: HERE };
    let inbox = ledger.inbox().borrow().clone();
    assert_eq!(inbox.mark(&line).map(|m| (m.number, m.missing(6))), Some((3, vec![(4, 4), (6, 6)])));
    hear(&ledger, &[batch(LIFE, 4, &[("tea", 4)])]).await;
    assert_eq!(total(&ledger, "tea").await, 15);
    closed(ledger).await;

    // What is remembered is what is written.
    let again = open(folder.path());
    let inbox = again.inbox().borrow().clone();
    assert_eq!(inbox.mark(&line).map(|m| (m.number, m.above.len())), Some((5, 0)));
}

/// Waits until the file is free.
async fn closed(ledger: Ledger<Tally>) {
    let gone = ledger.gone();
    drop(ledger);
    gone.await;
}

#[tokio::test]
async fn an_input_that_panics_is_one_dead_letter_and_its_batch_mates_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    hear(&ledger, &[batch(LIFE, 1, &[("tea", 1), ("shaky", 1), ("cup", 2)])]).await;
    assert_eq!((total(&ledger, "tea").await, total(&ledger, "cup").await), (1, 2));
    assert_eq!(dead_letters(&ledger).await, [("PANIC".to_owned(), 1)]);
    let refused = ledger.command(Add::new("shaky", 1)).await;
    assert!(matches!(refused, Err(NotTaken::Poison { .. })), "{refused:?}");
    assert_eq!(ledger.command(Add::new("tea", 1)).await, Ok(2));
}

#[tokio::test]
async fn what_the_database_refuses_is_found_by_halves_and_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let mut adds: Vec<(&str, i64)> = vec![("tea", 1); 20];
    adds[7] = ("too much", 5_000_000);
    adds[13] = ("far too much", 9_000_000);
    hear(&ledger, &[batch(LIFE, 1, &adds), batch(LIFE, 2, &[("cup", 2)])]).await;
    assert_eq!((total(&ledger, "tea").await, total(&ledger, "cup").await), (18, 2));
    assert_eq!(total(&ledger, "too much").await, 0);
    assert_eq!(dead_letters(&ledger).await, [("CONSTRAINT".to_owned(), 1), ("CONSTRAINT".to_owned(), 1)]);
}

#[tokio::test]
async fn bytes_that_are_no_batch_leave_their_number_unheard_until_the_outbox_has_no_better() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let mut bad = batch(LIFE, 1, &[]);
    bad.body = Bytes::from_static(b"\x0a\x7fshort");
    hear(&ledger, &[bad.clone(), bad.clone()]).await;
    let line = Line { source: Source::Inventory, incarnation: LIFE, partition: HERE };
    assert_eq!(ledger.inbox().borrow().mark(&line), None);
    bad.asked = true;
    hear(&ledger, &[bad]).await;
    assert_eq!(ledger.inbox().borrow().mark(&line).map(|mark| mark.number), Some(1));
    assert_eq!(dead_letters(&ledger).await, [("UNDECODABLE".to_owned(), 3)]);
}

#[tokio::test]
async fn an_event_of_a_newer_kind_and_a_message_without_a_number_are_dead_letters() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let mut newer = batch(LIFE, 1, &[("tea", 1)]);
    let body = newer.body.to_vec();
    let at = body.windows(14).position(|w| w == b"stock.adjusted").expect("its type");
    let mut body = body;
    body[at..at + 14].copy_from_slice(b"stock.absorbed");
    newer.body = body.into();
    let mut unnumbered = batch(LIFE, 2, &[("tea", 1)]);
    unnumbered.number = None;
    hear(&ledger, &[newer, unnumbered]).await;
    assert_eq!(total(&ledger, "tea").await, 0);
    assert_eq!(dead_letters(&ledger).await, [("NEWER".to_owned(), 1), ("UNNUMBERED".to_owned(), 1)]);
}

#[tokio::test]
async fn what_waits_goes_into_one_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Arc::new(open(folder.path()));
    let commands = (0..500).map(|_| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.command(Add::new("tea", 1)).await })
    });
    for done in futures::future::join_all(commands).await {
        done.expect("not panicked").expect("taken");
    }
    assert_eq!(total(&ledger, "tea").await, 500);
    let batches = ledger.heads().borrow()[&HERE];
    assert!(batches < 250, "500 commands took {batches} commits");
}

#[tokio::test]
async fn only_the_relay_numbers_what_several_insert() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut several = spec(folder.path(), Source::Payments);
    several.numbering = Numbering::ByRelay;
    let ledger = Ledger::open(several, Tally::new(), &[]).expect("opens");
    ledger.command(Add::new("tea", 1)).await.expect("taken");
    ledger.command(Add::new("tea", 1)).await.expect("taken");
    assert_eq!(ledger.outbox(HERE, 1, 10, 1 << 20).await.expect("answers"), []);
    ledger.unnumbered().await;
    ledger.number().await.expect("numbered");
    let numbers: Vec<i64> =
        ledger.outbox(HERE, 1, 10, 1 << 20).await.expect("answers").iter().map(|b| b.number).collect();
    assert_eq!((numbers, ledger.heads().borrow()[&HERE]), (vec![1, 2], 2));
}

#[tokio::test]
async fn a_file_has_one_writer_and_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let _ledger = open(folder.path());
    let second = Ledger::open(spec(folder.path(), Source::Payments), Tally::new(), &[]);
    let Err(OpenError::InUse { holder, .. }) = second else { panic!("a second writer") };
    assert_eq!(holder, format!("process {}", std::process::id()));
}

#[tokio::test]
async fn a_writer_whose_lease_was_taken_commits_nothing_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    ledger.command(Add::new("tea", 1)).await.expect("taken");
    let other = rusqlite::Connection::open(folder.path().join("payments-0.db")).expect("opens");
    other.execute("update lease set epoch = epoch + 1", []).expect("taken over");
    assert!(ledger.command(Add::new("tea", 1)).await.is_err());
    assert!(ledger.failed().await.contains("lease"));
    assert_eq!(total(&ledger, "tea").await, 1);
}

#[tokio::test]
async fn a_newer_schema_and_another_number_of_partitions_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    closed(open(folder.path())).await;
    let reopened = |spec: LedgerSpec| Ledger::open(spec, Tally::new(), &[]).map(|_| ()).expect_err("refused");
    let mut two = spec(folder.path(), Source::Payments);
    two.partitions = 2;
    assert!(matches!(reopened(two), OpenError::Partitions { found: 1, wanted: 2, .. }));
    let db = rusqlite::Connection::open(folder.path().join("payments-0.db")).expect("opens");
    db.execute("insert into schema_migration values ('service', 2, 'from the future', 0)", []).expect("written");
    assert!(matches!(reopened(spec(folder.path(), Source::Payments)), OpenError::Newer { .. }));
}

#[tokio::test]
async fn due_work_is_done_when_it_is_due_and_its_result_is_an_input() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let stop = tokio_util::sync::CancellationToken::new();
    let now = ledger.now();
    let soon = now.checked_add(std::time::Duration::from_millis(50)).expect("in range");
    for (name, at) in [("now", now), ("soon", soon)] {
        ledger.command(Add { later: Some(at), ..Add::new(name, 1) }).await.expect("taken");
    }
    let mut heads = ledger.heads();
    let work = tokio::spawn({
        let (ledger, stop) = (ledger.clone(), stop.clone());
        async move {
            ledger
                .work_off("again", "again", 4, stop, |due, _wait| async move {
                    let name = String::from_utf8(due.key.to_vec()).expect("a name");
                    Add { done: true, ..Add::new(&name, 10) }
                })
                .await;
        }
    });
    let left = || ledger.query(|tx| tx.read("select count(*) from due", &[], |row| row.int(0)));
    let done = async {
        while left().await.expect("answers") != [0] {
            heads.changed().await.expect("open");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), done).await.expect("both are done");
    assert_eq!((total(&ledger, "now").await, total(&ledger, "soon").await), (11, 11));
    stop.cancel();
    work.await.expect("ends");
}

#[tokio::test]
async fn what_falls_due_while_workers_wait_is_done_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let stop = tokio_util::sync::CancellationToken::new();
    let work = tokio::spawn({
        let (ledger, stop) = (ledger.clone(), stop.clone());
        let again = |due: spillway_shared::ledger::Due, _wait| async move {
            let name = String::from_utf8(due.key.to_vec()).expect("a name");
            Add { done: true, ..Add::new(&name, 10) }
        };
        async move { ledger.work_off("again", "again", 4, stop, again).await }
    });
    let mut heads = ledger.heads();
    // The first row may be found by the sweep that every start makes; the second one waits for nothing but its commit.
    for (name, batches) in [("first", 2), ("second", 4)] {
        let due = Add { later: Some(ledger.now()), ..Add::new(name, 1) };
        ledger.command(due).await.expect("taken");
        let done = heads.wait_for(|heads| heads[&HERE] == batches);
        tokio::time::timeout(std::time::Duration::from_secs(10), done).await.expect("it is done").expect("open");
    }
    assert_eq!((total(&ledger, "first").await, total(&ledger, "second").await), (11, 11));
    stop.cancel();
    work.await.expect("ends");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn repeats_and_reorderings_of_batches_sum_up_the_same(order in prop::collection::vec(1i64..12, 1..60)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let ledger = open(folder.path());
            for chunk in order.chunks(4) {
                let batches: Vec<_> = chunk.iter().map(|n| batch(LIFE, *n, &[("tea", 1 << n)])).collect();
                hear(&ledger, &batches).await;
            }
            let distinct: std::collections::BTreeSet<i64> = order.iter().copied().collect();
            assert_eq!(total(&ledger, "tea").await, distinct.iter().map(|n| 1 << n).sum::<i64>());
        });
    }
}

/// A ledger whose commits gather for so long, where they gather at all.
fn patient(folder: &std::path::Path, gather: Duration) -> Ledger<Tally> {
    let mut patient = spec(folder, Source::Payments);
    patient.limits.gather = gather;
    Ledger::open(patient, Tally::new(), &["again"]).expect("opens")
}

#[tokio::test]
async fn under_load_what_comes_piece_by_piece_goes_into_one_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = patient(folder.path(), Duration::from_millis(400));
    let add = || ledger.command(Add::new("tea", 1));
    futures::future::join_all((0..3_000).map(|_| add())).await;
    let before = ledger.heads().borrow()[&HERE];
    // Each comes when the writer, were it not patient, would have begun with the one before.
    let mut trickle = FuturesUnordered::new();
    for _ in 0..20 {
        let mut next = Box::pin(add());
        assert!(futures::poll!(&mut next).is_pending());
        trickle.push(next);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while let Some(added) = trickle.next().await {
        added.expect("added");
    }
    let commits = ledger.heads().borrow()[&HERE] - before;
    assert!(commits <= 4, "{commits} commits for 20 orders in a tenth of a second");
}

#[tokio::test]
async fn what_is_acknowledged_ends_the_gathering() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = patient(folder.path(), Duration::from_secs(3_600));
    let mut heads = ledger.heads();
    let acknowledged = async {
        loop {
            let head = heads.borrow_and_update()[&HERE];
            ledger.relayed(HERE, head);
            heads.changed().await.expect("open");
        }
    };
    let load = async {
        for _ in 0..20 {
            futures::future::join_all((0..500).map(|_| ledger.command(Add::new("tea", 1)))).await;
        }
    };
    let all = async {
        tokio::select! {
            () = load => {}
            () = acknowledged => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("nobody waits for longer than that");
    assert_eq!(total(&ledger, "tea").await, 10_000);
}

#[tokio::test]
async fn at_rest_nothing_is_gathered() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = patient(folder.path(), Duration::from_secs(3_600));
    let twenty = async {
        for _ in 0..20 {
            ledger.command(Add::new("tea", 1)).await.expect("added");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), twenty).await.expect("nothing waits for more");
}

#[tokio::test]
async fn a_writer_asks_for_less_of_a_busy_core_than_calls_do() {
    let folder = tempfile::tempdir().expect("a folder");
    // No other test of this process has a thread of that name: one that is just made would not have stood back yet.
    let ledger = Ledger::open(spec(folder.path(), Source::Audit), Tally::new(), &["again"]).expect("opens");
    ledger.command(Add::new("tea", 1)).await.expect("added");
    let nice_of = |thread: std::path::PathBuf| {
        let stat = std::fs::read_to_string(thread.join("stat")).ok()?;
        let (name, rest) = stat.split_once(") ")?;
        // The 19th field of proc(5), the third being the first after the name.
        let nice = rest.split(' ').nth(16)?.parse::<i32>().ok()?;
        Some((name.split_once('(')?.1.to_owned(), nice))
    };
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux");
    let all: Vec<_> = threads.filter_map(|thread| nice_of(thread.ok()?.path())).collect();
    let own = nice_of("/proc/thread-self".into()).expect("this one").1;
    let writers: Vec<i32> = all.iter().filter(|(name, _)| name == "audit-0").map(|(_, nice)| *nice).collect();
    assert!(!writers.is_empty() && writers.iter().all(|nice| *nice > own), "{own}, {all:?}");
}
