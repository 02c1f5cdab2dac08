//! Verify and export, a stretch at a time.

use bytes::Bytes;
use spillway_audit::Verifier;
use spillway_proto::Ledger as Source;
use spillway_proto::pb::internal::VerifyStretchRequest;
use spillway_shared::ledger::Batch;

use crate::kit::{self, Place};

#[tokio::test]
async fn an_empty_chain_verifies() {
    let place = Place::new();
    let ledger = place.open();
    let answer = kit::verify_all(&ledger).await;
    assert_eq!((answer.position, answer.events, answer.end, answer.broken), (0, 0, true, None));
    assert_eq!(answer.hash, [0; 32][..]);
    let request = VerifyStretchRequest { after: 0, hash: answer.hash, limit: 5 };
    assert!(kit::verify(&ledger, request).await.expect("its own hash is taken").end);
    assert!(kit::export(&ledger, 0, 0).await.expect("answers").end);
}

#[tokio::test]
async fn stretches_of_any_length_say_what_the_whole_says() {
    let place = Place::new();
    let ledger = place.open();
    kit::hear(&ledger, &kit::batches(5)).await;
    let whole = kit::verify_all(&ledger).await;
    assert_eq!((whole.position, whole.end), (25, true));
    for limit in 1..=26 {
        let (mut request, mut events) = (VerifyStretchRequest { limit, ..Default::default() }, 0);
        let last = loop {
            let answer = kit::verify(&ledger, request.clone()).await.expect("answers");
            assert_eq!(answer.broken, None);
            assert!(answer.position - request.after <= i64::from(limit));
            (request.after, request.hash) = (answer.position, answer.hash.clone());
            events += answer.events;
            if answer.end {
                break answer;
            }
        };
        assert_eq!((last.position, &last.hash, events), (whole.position, &whole.hash, whole.events), "by {limit}");
    }
}

#[tokio::test]
async fn an_export_verifies_elsewhere() {
    let place = Place::new();
    let ledger = place.open();
    kit::hear(&ledger, &kit::batches(5)).await;
    for limit in [0, 1, 3, 8, 25, 100] {
        let (mut verifier, mut end) = (Verifier::new(), false);
        while !end {
            let stretch = kit::export(&ledger, verifier.position(), limit).await.expect("answers");
            assert!(limit == 0 || stretch.entries.len() <= usize::try_from(limit).expect("small"));
            stretch.entries.iter().try_for_each(|entry| verifier.next(entry)).expect("fits");
            end = stretch.end;
        }
        assert_eq!(verifier.hash()[..], kit::verify_all(&ledger).await.hash[..]);
    }
}

/// An answer must fit a message of NATS, whatever the size of the batches.
#[tokio::test]
async fn large_batches_come_a_few_at_a_time_and_at_least_one() {
    let place = Place::new();
    let ledger = place.open();
    let large = |number: i64, kib: usize| Batch {
        body: kit::body(Source::Orders, &[format!("{number}").repeat(kib * 1024)]),
        ..kit::batch(Source::Orders, number)
    };
    let batches: Vec<Batch> = (1..=9).map(|number| large(number, if number == 5 { 600 } else { 200 })).collect();
    kit::hear(&ledger, &batches).await;
    let (mut sizes, mut after) = (Vec::new(), 0);
    loop {
        let stretch = kit::export(&ledger, after, 0).await.expect("answers");
        sizes.push(stretch.entries.len());
        after = stretch.entries.last().map_or(after, |entry| entry.position);
        if stretch.end {
            break;
        }
    }
    assert_eq!(sizes, [2, 2, 1, 2, 2]);
    assert_eq!(kit::verify_all(&ledger).await.position, 9);
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused() {
    let place = Place::new();
    let ledger = place.open();
    let hash = |len: usize| Bytes::from(vec![7; len]);
    for (after, hash) in [(0, hash(32)), (-1, hash(32)), (5, hash(0)), (5, hash(31)), (0, hash(1))] {
        let refusal = kit::verify(&ledger, VerifyStretchRequest { after, hash, limit: 0 }).await.expect_err("refused");
        assert_eq!((refusal.code, refusal.reason.as_str()), (3, "INVALID_HASH"));
    }
}
