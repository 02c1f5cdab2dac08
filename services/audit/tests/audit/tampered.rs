//! The verify endpoint over a file that was changed behind the ledger's back.

use spillway_proto::pb::internal::VerifyStretchRequest;

use crate::kit::{self, Place};

/// What is done to the file, and where the chain then breaks.
const TAMPERED: &[(&str, i64)] = &[
    ("update entry set body = x'0a00' where position = 7", 7),
    ("update entry set hash = event_hashes where position = 7", 7),
    ("update entry set hash = x'00' where position = 7", 7),
    ("update entry set event_hashes = x'' where position = 7", 7),
    ("update entry set source = 'nobody' where position = 7", 7),
    ("update entry set source = x'ff' where position = 7", 7),
    ("update entry set incarnation = x'00' where position = 7", 7),
    ("update entry set incarnation = (select incarnation from entry where position = 8) where position = 7", 7),
    ("update entry set partition = 0 where position = 7", 7),
    ("update entry set partition = -1 where position = 7", 7),
    ("update entry set number = number + 100 where position = 7", 7),
    ("update entry set record_us = record_us + 1 where position = 7", 7),
    ("update entry set record_us = 'soon' where position = 7", 7),
    ("delete from entry where position = 7", 7),
    ("update entry set position = 100 where position = 7", 7),
    ("update entry set position = position + 100 where position > 6", 7),
    ("delete from entry where position = 1", 1),
    ("update entry set body = (select body from entry where position = 8) where position = 7", 7),
];

#[tokio::test]
async fn every_change_to_the_file_is_noticed_where_it_was_made() {
    for (sql, at) in TAMPERED {
        let place = Place::new();
        let ledger = place.open();
        kit::hear(&ledger, &kit::batches(4)).await;
        assert_eq!(kit::verify_all(&ledger).await.broken, None);
        assert!(place.tamper(sql) > 0, "{sql} changes nothing");
        let answer = kit::verify_all(&ledger).await;
        let broken = answer.broken.unwrap_or_else(|| panic!("{sql} is not noticed"));
        assert_eq!(broken.position, *at, "{sql}: {}", broken.problem);
    }
}

#[tokio::test]
async fn a_body_may_be_erased() {
    let place = Place::new();
    let ledger = place.open();
    kit::hear(&ledger, &kit::batches(4)).await;
    let whole = kit::verify_all(&ledger).await;
    assert_eq!(place.tamper("update entry set body = x'' where position % 3 = 0"), 6);
    assert_eq!(kit::verify_all(&ledger).await, whole);
    assert!(kit::export_all(&ledger).await[2].body.is_empty());
}

#[tokio::test]
async fn a_cut_tail_is_noticed_by_whoever_noted_where_it_was() {
    let place = Place::new();
    let ledger = place.open();
    kit::hear(&ledger, &kit::batches(4)).await;
    let noted = kit::verify_all(&ledger).await;
    assert_eq!(place.tamper("delete from entry where position > 15"), 5);
    assert_eq!(kit::verify_all(&ledger).await.broken, None, "a bare chain cannot see it");

    let request = VerifyStretchRequest { after: noted.position, hash: noted.hash, limit: 0 };
    let broken = kit::verify(&ledger, request).await.expect("answers").broken.expect("noticed");
    assert_eq!((broken.position, broken.problem.as_str()), (20, "it is gone: the chain ends before it"));
}

#[tokio::test]
async fn a_chain_written_anew_is_noticed_by_whoever_noted_a_hash() {
    let (first, second) = (Place::new(), Place::new());
    let (noted, other) = (first.open(), second.open());
    kit::hear(&noted, &kit::batches(2)).await;
    let mut reordered = kit::batches(2);
    reordered.reverse();
    kit::hear(&other, &reordered).await;
    let noted = kit::verify_all(&noted).await;
    assert_eq!(kit::verify_all(&other).await.broken, None);

    let request = VerifyStretchRequest { after: noted.position, hash: noted.hash, limit: 0 };
    let broken = kit::verify(&other, request).await.expect("answers").broken.expect("noticed");
    assert_eq!(broken.problem, "its hash is not the one that was noted for it");
}

#[tokio::test]
async fn an_export_gives_what_comes_before_a_damaged_row_and_then_says_so() {
    let place = Place::new();
    let ledger = place.open();
    kit::hear(&ledger, &kit::batches(4)).await;
    place.tamper("update entry set incarnation = x'00' where position = 7");
    let before = kit::export(&ledger, 0, 0).await.expect("answers");
    assert_eq!((before.entries.len(), before.end), (6, false));
    let refusal = kit::export(&ledger, 6, 0).await.expect_err("damaged");
    assert_eq!((refusal.code, refusal.reason.as_str()), (15, "ENTRY_DAMAGED"));
}
