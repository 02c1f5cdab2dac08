//! Another process holds the write lock of a ledger's file for a while.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Add, Tally, batch, dead_letters, open, spec, total};
use rusqlite::{Connection, TransactionBehavior};
use spillway_proto::Incarnation;
use spillway_proto::ledgers::Ledger as Source;
use spillway_shared::ledger::{Heard, Ledger, NotTaken, ReadError, StoreError};
use uuid::Uuid;

const LIFE: Incarnation = Incarnation(Uuid::from_u128(1));
const PATIENCE: Duration = Duration::from_secs(30);

/// Another's connection, to lock the file with.
fn another(folder: &Path) -> Connection {
    Connection::open(folder.join("payments-0.db")).expect("opens")
}

/// Waits until the ledger says that it is locked.
async fn until_locked(ledger: &Ledger<Tally>) {
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let noticed = async {
        while !matches!(ledger.is_ready().await, Err(ReadError::Store(StoreError::Busy(_)))) {
            every.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, noticed).await.expect("noticed");
}

#[tokio::test]
async fn what_waits_behind_a_lock_is_committed_once_and_what_comes_meanwhile_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(folder.path());
    let mut another = another(folder.path());
    let lock = another.transaction_with_behavior(TransactionBehavior::Immediate).expect("locks");
    let (commanded, listening) = (ledger.clone(), ledger.clone());
    let command = tokio::spawn(async move { commanded.command(Add::new("tea", 3)).await });
    let batch = batch(LIFE, 1, &[("tea", 4)]);
    let heard = tokio::spawn(async move {
        let heard = Heard::read(&listening, &batch);
        listening.hear(vec![heard]).await
    });
    until_locked(&ledger).await;
    let began = Instant::now();
    let refused = ledger.try_command(Add::new("tea", 100)).await;
    assert!(matches!(refused, Err(NotTaken::Unavailable(StoreError::Busy(_)))), "{refused:?}");
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert!(!command.is_finished() && !heard.is_finished());

    drop(lock);
    let total_after = command.await.expect("no panic").expect("taken at last");
    assert!([3, 7].contains(&total_after), "{total_after}");
    assert_eq!(heard.await.expect("no panic"), Ok(()));
    assert_eq!(total(&ledger, "tea").await, 7);
    assert_eq!((ledger.is_ready().await, dead_letters(&ledger).await), (Ok(()), vec![]));
    assert_eq!(ledger.try_command(Add::new("tea", 1)).await, Ok(8));
}

#[tokio::test]
async fn the_wait_is_bounded_and_a_later_try_finds_out_that_it_is_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spec = spec(folder.path(), Source::Payments);
    spec.limits.busy_for = Duration::from_millis(300);
    let ledger = Ledger::open(spec, Tally::new(), &["again"]).expect("opens");
    let mut another = another(folder.path());
    let lock = another.transaction_with_behavior(TransactionBehavior::Immediate).expect("locks");
    let refused = tokio::time::timeout(PATIENCE, ledger.command(Add::new("tea", 3))).await.expect("bounded");
    assert!(matches!(refused, Err(NotTaken::Unavailable(StoreError::Busy(_)))), "{refused:?}");
    assert!(ledger.is_ready().await.is_err());

    drop(lock);
    assert_eq!(ledger.is_ready().await, Ok(()), "readiness tries to write");
    assert_eq!(ledger.command(Add::new("tea", 3)).await, Ok(3));
    assert_eq!(dead_letters(&ledger).await, []);
}
