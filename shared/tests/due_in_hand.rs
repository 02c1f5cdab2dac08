//! Due work that ends the process, or whose result cannot be taken: found, set aside as a dead letter, and taken up again.
//! And calls that do.
//! Processes really end here: the test's own binary is started again as the one that works.

mod common;

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use common::{Add, Tally, open, total};
use spillway_proto::pb::ops::dead_letter::State;
use spillway_proto::pb::ops::{DeadLetter, GetDeadLetterResponse};
use spillway_shared::ledger::letters::{self, Asked};
use spillway_shared::ledger::{Cause, Due, Ledger, NotTaken, Redriven, SET_ASIDE_US};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Names the folder of the ledger to the process that works.
const FOLDER: &str = "SPILLWAY_TEST_DUE_FOLDER";

/// Starts at most until what kills is set aside.
const STARTS: usize = 9;

const PATIENCE: Duration = Duration::from_secs(60);

/// Rows that are slow, so that they are in hand when the process dies.
const SLOW: [&str; 2] = ["slow one", "the slow other"];

const QUICK: [&str; 3] = ["a", "b", "z"];

fn name_of(due: &Due) -> String {
    String::from_utf8(due.key.to_vec()).expect("a name")
}

fn done(name: &str) -> Add {
    Add { done: true, ..Add::new(name, 10) }
}

/// Makes a row due now, which adds ten to its name.
async fn make_due(ledger: &Ledger<Tally>, name: &str) {
    ledger.command(Add { later: Some(ledger.now()), ..Add::new(name, 1) }).await.expect("taken");
}

/// Works rows off until `stop`, each as `work` says.
fn work_off<F>(
    ledger: &Ledger<Tally>,
    stop: &CancellationToken,
    work: impl Fn(String) -> F + Clone + Send + Sync + 'static,
) -> tokio::task::JoinHandle<()>
where
    F: Future<Output = Add> + Send + 'static,
{
    let (ledger, stop) = (ledger.clone(), stop.clone());
    tokio::spawn(async move { ledger.work_off("again", "again", 8, stop, move |due, _| work(name_of(&due))).await })
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut found: impl FnMut() -> F) -> T {
    let mut every = tokio::time::interval(Duration::from_millis(10));
    let asked = async {
        loop {
            every.tick().await;
            if let Some(found) = found().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("waited for {what}"))
}

async fn count(ledger: &Ledger<Tally>, sql: &'static str) -> i64 {
    ledger.query(move |tx| tx.read(sql, &[], |row| row.int(0))).await.expect("answers")[0]
}

const DUE: &str = "select count(*) from due where due_us < 253370764800000000";
const MARKERS: &str = "select count(*) from due_in_hand";

async fn letters_in(ledger: &Ledger<Tally>, state: State) -> Vec<DeadLetter> {
    let (own, asked) = (ledger.identity().id, Asked { state, ..Asked::default() });
    ledger.query(move |tx| letters::page(tx, own, &asked, None, 1000)).await.expect("answers")
}

async fn shown(ledger: &Ledger<Tally>, letter: &DeadLetter) -> GetDeadLetterResponse {
    let (own, id) = (ledger.identity().id, id_of(letter));
    ledger.query(move |tx| letters::one(tx, own, id)).await.expect("answers").expect("there")
}

fn id_of(letter: &DeadLetter) -> Uuid {
    letter.dead_letter_id.parse().expect("an id")
}

async fn closed(ledger: Ledger<Tally>) {
    let gone = ledger.gone();
    drop(ledger);
    gone.await;
}

fn write(folder: &Path, sql: &str) {
    let file = rusqlite::Connection::open(folder.join("payments-0.db")).expect("opens");
    file.execute_batch(sql).expect("written");
}

/// As if the process had died.
fn died(folder: &Path) {
    write(folder, "update run set clean = 0");
}

/// The process that works: "killer" ends it while others are in hand. It ends well once nothing is due.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_works() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let ledger = open(Path::new(&folder));
    let stop = CancellationToken::new();
    let slow_began = Arc::new(tokio::sync::Semaphore::new(0));
    let worked = work_off(&ledger, &stop, move |name| {
        let slow_began = slow_began.clone();
        async move {
            if SLOW.contains(&name.as_str()) {
                slow_began.add_permits(1);
                drop(tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await);
            }
            if name == "killer" {
                // Where others are worked off beside it they are in hand by then; alone it waits for nobody.
                drop(tokio::time::timeout(Duration::from_millis(100), slow_began.acquire_many(2)).await);
                std::process::abort();
            }
            done(&name)
        }
    });
    until("everything to be done", || async { (count(&ledger, DUE).await == 0).then_some(()) }).await;
    stop.cancel();
    worked.await.expect("ends");
    closed(ledger).await;
}

fn run_once(folder: &Path) -> ExitStatus {
    run("the_process_that_works", folder)
}

fn run(what: &str, folder: &Path) -> ExitStatus {
    let own = std::env::current_exe().expect("the test's own binary");
    let arguments = ["--exact", what, "--test-threads", "1", "--quiet"];
    let output = Command::new(own).args(arguments).env(FOLDER, folder).output().expect("runs");
    output.status
}

#[tokio::test]
async fn a_row_that_ends_the_process_is_set_aside_and_all_others_are_worked_off_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    for name in QUICK.iter().chain(&SLOW).chain(&["killer"]) {
        make_due(&ledger, name).await;
    }
    closed(ledger).await;
    let deaths = (0..STARTS).take_while(|_| !run_once(folder.path()).success()).count();
    assert!(deaths < STARTS, "it still ends after {deaths} starts");
    eprintln!("the process ended {deaths} times until the row was set aside");

    let ledger = open(folder.path());
    for name in QUICK.into_iter().chain(SLOW) {
        assert_eq!(total(&ledger, name).await, 11, "{name} once");
    }
    assert_eq!((total(&ledger, "killer").await, count(&ledger, MARKERS).await), (1, 0));
    let dead = letters_in(&ledger, State::Dead).await;
    let [letter] = &dead[..] else { panic!("one dead letter and no other: {dead:?}") };
    assert_eq!((letter.cause().as_str_name(), letter.subject.as_str()), ("CAUSE_CRASH", "sku/killer"));
    assert_eq!((letter.due_kind.as_str(), letter.due_key.as_str()), ("again", "6b696c6c6572"));
    assert_eq!(letter.fingerprint.len(), 12);
    let input: Vec<String> = shown(&ledger, letter).await.headers.into_iter().map(|header| header.name).collect();
    assert_eq!(input, ["due", "attempt", "delta"]);

    // Mended, and taken up again.
    let stop = CancellationToken::new();
    let worked = work_off(&ledger, &stop, |name| async move { done(&name) });
    let redriven = ledger.redrive(vec![id_of(letter)], "mended").await;
    assert_eq!(redriven.expect("done"), [(id_of(letter), Redriven::Taken)]);
    until("the row", || async { (total(&ledger, "killer").await == 11).then_some(()) }).await;
    assert_eq!(letters_in(&ledger, State::Redriven).await.len(), 1);
    assert_eq!((count(&ledger, "select count(*) from due").await, count(&ledger, MARKERS).await), (0, 0));
    stop.cancel();
    worked.await.expect("ends");
}

#[tokio::test]
async fn one_that_still_ends_the_process_is_set_aside_again_after_one_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    make_due(&ledger, "killer").await;
    closed(ledger).await;
    write(folder.path(), "insert into due_in_hand values ('again', cast('killer' as blob), 1, 1)");
    assert!(run_once(folder.path()).success(), "it is not tried again");
    let ledger = open(folder.path());
    let dead = letters_in(&ledger, State::Dead).await.remove(0);
    ledger.redrive(vec![id_of(&dead)], "perhaps").await.expect("done");
    closed(ledger).await;
    assert!(!run_once(folder.path()).success(), "it is tried, alone");
    assert!(run_once(folder.path()).success(), "and not again");
    let ledger = open(folder.path());
    let again = letters_in(&ledger, State::Dead).await;
    assert_eq!((again.len(), again[0].count, id_of(&again[0])), (1, 2, id_of(&dead)));
}

#[tokio::test]
async fn what_cannot_even_be_described_without_dying_is_set_aside_undescribed() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    make_due(&ledger, "killer").await;
    closed(ledger).await;
    // Setting it aside was in hand when the process died.
    write(folder.path(), "insert into due_in_hand values ('again', cast('killer' as blob), 1, 2)");
    assert!(run_once(folder.path()).success());
    let dead = letters_in(&open(folder.path()), State::Dead).await;
    assert_eq!((dead.len(), dead[0].subject.as_str(), dead[0].due_kind.as_str()), (1, "", "again"));
}

/// Markers that stand while each row is worked off: the most.
async fn markers_of(folder: &Path, names: &[&str]) -> i64 {
    let ledger = open(folder);
    for name in names {
        make_due(&ledger, name).await;
    }
    let (stop, most) = (CancellationToken::new(), Arc::new(AtomicI64::new(0)));
    let worked = work_off(&ledger, &stop, {
        let (ledger, most) = (ledger.clone(), most.clone());
        move |name| {
            let (ledger, most) = (ledger.clone(), most.clone());
            async move {
                most.fetch_max(count(&ledger, MARKERS).await, Ordering::Relaxed);
                done(&name)
            }
        }
    });
    until("everything to be done", || async { (count(&ledger, DUE).await == 0).then_some(()) }).await;
    stop.cancel();
    worked.await.expect("ends");
    assert_eq!(count(&ledger, MARKERS).await, 0, "a marker goes with the commit of its result");
    closed(ledger).await;
    most.load(Ordering::Relaxed)
}

#[tokio::test]
async fn after_a_clean_end_no_row_is_marked_and_after_another_those_that_were_due_before_it_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let leave = || async {
        let ledger = open(folder.path());
        make_due(&ledger, "left").await;
        closed(ledger).await;
    };
    leave().await;
    assert_eq!(markers_of(folder.path(), &[]).await, 0, "the end was clean");
    leave().await;
    died(folder.path());
    assert_eq!(markers_of(folder.path(), &[]).await, 1, "it was due before the start");
    died(folder.path());
    assert_eq!(markers_of(folder.path(), &["new"]).await, 0, "it was not");
}

#[tokio::test]
async fn a_result_that_cannot_be_taken_is_one_dead_letter_and_a_later_decision_resolves_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    ledger.service().shaky.store(false, Ordering::Relaxed);
    for name in ["shaky", "broken", "huge", "tea"] {
        make_due(&ledger, name).await;
    }
    ledger.service().shaky.store(true, Ordering::Relaxed);
    let stop = CancellationToken::new();
    let worked = work_off(&ledger, &stop, |name| async move {
        assert!(name != "broken", "the call panics");
        if name == "huge" { Add { delta: 2_000_000, ..done("huge") } } else { done(&name) }
    });
    until("three letters", || async { (letters_in(&ledger, State::Dead).await.len() == 3).then_some(()) }).await;
    until("tea", || async { (total(&ledger, "tea").await == 11).then_some(()) }).await;
    let mut dead: Vec<(String, String)> = letters_in(&ledger, State::Dead).await.into_iter().map(told).collect();
    dead.sort_unstable();
    let expected = [("sku/broken", "CAUSE_PANIC"), ("sku/huge", "CAUSE_CONSTRAINT"), ("sku/shaky", "CAUSE_PANIC")];
    assert_eq!(dead, expected.map(|(about, cause)| (about.to_owned(), cause.to_owned())));
    let set_aside = ledger.query(|tx| tx.read("select due_us from due", &[], |row| row.int(0))).await;
    assert_eq!(set_aside.expect("answers"), [SET_ASIDE_US; 3]);

    ledger.command(done("huge")).await.expect("taken");
    let resolved = letters_in(&ledger, State::Resolved).await;
    assert_eq!((resolved.len(), resolved[0].subject.as_str()), (1, "sku/huge"));
    assert_eq!(
        (letters_in(&ledger, State::Dead).await.len(), count(&ledger, "select count(*) from due").await),
        (2, 2)
    );
    stop.cancel();
    worked.await.expect("ends");
}

fn told(letter: DeadLetter) -> (String, String) {
    let cause = letter.cause().as_str_name().to_owned();
    (letter.subject, cause)
}

const FATAL: Uuid = Uuid::from_u128(7);

/// The process that is called: it ends well once it refuses the call that ends it.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_is_called() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let ledger = open(Path::new(&folder));
    let call = |name, id| Add { call: Some(id), ..Add::new(name, 1) };
    ledger.command(call("tea", Uuid::new_v4())).await.expect("taken");
    let refused = ledger.try_command(call("fatal", FATAL)).await;
    assert!(matches!(refused, Err(NotTaken::Poison { cause: Cause::Crash, .. })), "{refused:?}");
    ledger.try_command(call("tea", Uuid::new_v4())).await.expect("taken");
    assert_eq!(count(&ledger, MARKERS).await, 1, "that of the call that is refused");
    closed(ledger).await;
}

#[tokio::test]
async fn a_call_that_ends_the_process_whenever_it_is_repeated_is_refused_until_a_clean_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = "the_process_that_is_called";
    let deaths = (0..STARTS).take_while(|_| !run(process, folder.path()).success()).count();
    assert_eq!(deaths, 4, "at first, in company, and twice alone");
    let ledger = open(folder.path());
    assert_eq!((total(&ledger, "tea").await, total(&ledger, "fatal").await), (6, 0));
    assert_eq!(count(&ledger, MARKERS).await, 0, "another build may bear it");
}
