//! The window on the due rows, commit by commit and sweep by sweep.

use super::*;

fn due(key: u8, at_us: i64) -> Due {
    let at = time::from_micros(at_us);
    Due { kind: "charge", key: Bytes::from(vec![key]), at, attempt: 1, payload: Bytes::new() }
}

fn at(us: i64) -> Timestamp {
    time::from_micros(us)
}

#[test]
fn what_a_commit_makes_due_is_taken_at_once_and_only_once() {
    let feed = DueFeed::new("charge", 4);
    feed.swept(vec![], None, true, at(0));
    feed.committed(&[DueChange::Set(due(1, 5)), DueChange::Set(due(2, 5))], at(5));
    assert_eq!(feed.try_take().map(|(d, _)| d.key[0]), Some(1));
    assert_eq!(feed.try_take().map(|(d, _)| d.key[0]), Some(2));
    assert_eq!(feed.try_take().map(|(d, _)| d), None);
    feed.swept(vec![due(1, 5)], None, true, at(6));
    assert_eq!(feed.try_take().map(|(d, _)| d), None, "it is in hand");
}

#[test]
fn what_a_sweep_saw_before_its_commit_was_told_is_taken_only_once() {
    let feed = DueFeed::new("charge", 4);
    assert_eq!(feed.wants(at(5)), Sweep::Now { limit: 4 });
    feed.swept(vec![due(1, 5), due(2, 5)], None, true, at(5));
    let (first, ticket) = feed.try_take().expect("swept up");
    // The writer comes to tell of the commit that the sweep has read already.
    feed.committed(&[due(1, 5), due(2, 5)].map(DueChange::Set), at(5));
    assert_eq!(taken(&feed), [2], "the first is in hand");
    feed.release(&first.key, ticket);
    assert_eq!(feed.wants(at(6)), Sweep::Now { limit: 5 }, "what is let go is read again");
}

#[test]
fn what_ends_before_it_is_taken_is_not_taken() {
    let feed = DueFeed::new("charge", 4);
    feed.swept(vec![], None, true, at(0));
    feed.committed(&[DueChange::Set(due(1, 5))], at(5));
    feed.committed(&[DueChange::Done { kind: "charge", key: Bytes::from(vec![1]) }], at(6));
    assert_eq!(feed.try_take().map(|(d, _)| d), None);
}

#[test]
fn what_does_not_fit_waits_for_a_sweep() {
    let feed = DueFeed::new("charge", 1);
    feed.swept(vec![], None, true, at(0));
    feed.committed(&[DueChange::Set(due(1, 5)), DueChange::Set(due(2, 5))], at(5));
    let (first, _) = feed.try_take().expect("fits");
    assert_eq!(feed.wants(at(5)), Sweep::At(None), "the window is full");
    feed.committed(&[DueChange::Done { kind: "charge", key: first.key }], at(6));
    assert_eq!(feed.wants(at(6)), Sweep::Now { limit: 1 });
}

#[test]
fn a_row_of_the_future_sets_the_time_of_the_next_sweep() {
    let feed = DueFeed::new("charge", 4);
    feed.swept(vec![], None, true, at(0));
    feed.committed(&[DueChange::Set(due(1, 50))], at(5));
    assert_eq!(feed.wants(at(5)), Sweep::At(Some(at(50))));
    assert_eq!(feed.wants(at(50)), Sweep::Now { limit: 4 });
}

#[test]
fn a_row_that_is_moved_while_in_hand_can_be_taken_again() {
    let feed = DueFeed::new("charge", 4);
    feed.swept(vec![], None, true, at(0));
    feed.committed(&[DueChange::Set(due(1, 5))], at(5));
    let (taken, ticket) = feed.try_take().expect("due");
    feed.committed(&[DueChange::Set(due(1, 6))], at(6));
    let (again, later) = feed.try_take().expect("moved");
    feed.swept(vec![], None, true, at(6));
    feed.release(&taken.key, ticket);
    assert_eq!(feed.wants(at(6)), Sweep::At(None), "the later try is still in hand");
    feed.release(&again.key, later);
    assert_eq!(feed.wants(at(6)), Sweep::Now { limit: 4 });
}

#[test]
fn what_a_commit_changes_while_a_sweep_reads_is_as_the_commit_says() {
    let feed = DueFeed::new("charge", 4);
    assert_eq!(feed.wants(at(5)), Sweep::Now { limit: 4 });
    let done = DueChange::Done { kind: "charge", key: due(1, 5).key };
    feed.committed(&[done, DueChange::Set(due(3, 5)), DueChange::Set(due(4, 90))], at(5));
    feed.swept(vec![due(1, 5), due(2, 5)], Some(at(80)), true, at(5));
    assert_eq!(taken(&feed), [2, 3], "the first had ended, the third came meanwhile");
    assert_eq!(feed.wants(at(5)), Sweep::At(Some(at(80))));
    assert_eq!(feed.wants(at(80)), Sweep::Now { limit: 6 });
    feed.swept(vec![], None, true, at(80));
    assert_eq!(feed.wants(at(80)), Sweep::At(None), "what is due at 90 is in the table: the sweep would tell");
}

#[test]
fn more_than_is_kept_while_a_sweep_reads_is_swept_up() {
    let feed = DueFeed::new("charge", 2);
    assert_eq!(feed.wants(at(5)), Sweep::Now { limit: 2 });
    let many: Vec<DueChange> = (1..=4).map(|key| DueChange::Set(due(key, 5))).collect();
    feed.committed(&many, at(5));
    feed.swept(vec![], None, true, at(5));
    assert_eq!(taken(&feed), [1, 2]);
    feed.committed(&[1, 2].map(|key| DueChange::Done { kind: "charge", key: due(key, 5).key }), at(6));
    assert_eq!(feed.wants(at(6)), Sweep::Now { limit: 2 });
}

#[test]
fn what_waits_in_the_table_is_not_overtaken_by_what_comes_after_it() {
    let feed = DueFeed::new("charge", 2);
    feed.swept(vec![], None, true, at(0));
    let first: Vec<DueChange> = (1..=3).map(|key| DueChange::Set(due(key, 5))).collect();
    feed.committed(&first, at(5));
    assert_eq!(taken(&feed), [1, 2]);
    feed.committed(&[1, 2].map(|key| DueChange::Done { kind: "charge", key: due(key, 5).key }), at(6));
    feed.committed(&[DueChange::Set(due(4, 7))], at(7));
    assert_eq!(taken(&feed), [0; 0], "the third is still in the table");
    assert_eq!(feed.wants(at(7)), Sweep::Now { limit: 2 });
    feed.swept(vec![due(3, 5), due(4, 7)], None, true, at(7));
    assert_eq!(taken(&feed), [3, 4]);
}

fn taken(feed: &DueFeed) -> Vec<u8> {
    std::iter::from_fn(|| feed.try_take()).map(|(due, _)| due.key[0]).collect()
}

#[test]
fn a_probe_takes_what_was_never_tried_before_what_has_failed() {
    let feed = DueFeed::new("charge", 4);
    feed.swept(vec![], None, true, at(0));
    let failed = |key| Due { attempt: 3, ..due(key, 5) };
    feed.committed(&[failed(1), failed(2), due(3, 5), due(4, 5)].map(DueChange::Set), at(5));
    let untried = || feed.try_take_untried().map(|(due, _)| due.key[0]);
    assert_eq!((untried(), untried()), (Some(3), Some(4)));
    assert_eq!(untried(), Some(1), "where there is none, what has waited longest");
    assert_eq!(feed.try_take().map(|(due, _)| due.key[0]), Some(2), "what was taken out of turn is not taken again");
    assert_eq!(feed.try_take().map(|(due, _)| due.key[0]), None);
}
