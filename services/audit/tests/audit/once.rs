//! Every batch has one entry, however often and in whatever order it comes.

use std::collections::HashSet;

use bytes::Bytes;
use proptest::prelude::*;
use spillway_audit::Audit;
use spillway_proto::batch::{BatchNumber, BatchWriter};
use spillway_proto::time::Timestamp;
use spillway_proto::{Ledger as Source, Partition};
use spillway_shared::ledger::{Batch, Heard, Ledger, Read, Service};

use crate::kit::{self, Place};

fn key(batch: &Batch) -> (String, i64) {
    (batch.source.to_string(), batch.number.expect("numbered").number)
}

async fn keys(ledger: &Ledger<Audit>) -> Vec<(String, i64)> {
    kit::export_all(ledger).await.into_iter().map(|entry| (entry.source, entry.number)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn redelivered_and_reordered_batches_make_one_entry_each(
        deliveries in prop::collection::vec((0usize..40, 1usize..6), 1..40)
    ) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let (place, all) = (Place::new(), kit::batches(8));
            let ledger = place.open();
            let mut heard = HashSet::new();
            for (from, count) in deliveries {
                let group: Vec<Batch> = all.iter().cycle().skip(from).take(count).cloned().collect();
                heard.extend(group.iter().map(key));
                kit::hear(&ledger, &group).await;
            }
            let keys = keys(&ledger).await;
            assert_eq!(keys.len(), heard.len(), "one entry for each batch");
            assert_eq!(keys.into_iter().collect::<HashSet<_>>(), heard);
            let verified = kit::verify_all(&ledger).await;
            assert_eq!(verified.broken, None);
        });
    }
}

/// What the inbox absorbs, the chain absorbs as well: a lost or restored inbox makes no second entry.
#[tokio::test]
async fn a_batch_that_comes_past_the_inbox_still_has_one_entry() {
    let place = Place::new();
    let ledger = place.open();
    let batch = kit::batch(Source::Orders, 3);
    for _ in 0..3 {
        for read in ledger.service().read(&ledger.reader(), &batch).expect("a batch") {
            let Read::Input { input, .. } = read else { panic!("a batch is one input") };
            ledger.command(input).await.expect("taken");
        }
    }
    assert_eq!(keys(&ledger).await, [("orders".to_owned(), 3)]);
}

#[tokio::test]
async fn a_restart_continues_the_chain() {
    let (place, all) = (Place::new(), kit::batches(6));
    for part in all.chunks(7) {
        let ledger = place.open();
        kit::hear(&ledger, part).await;
        let gone = ledger.gone();
        drop(ledger);
        gone.await;
    }
    let ledger = place.open();
    let verified = kit::verify_all(&ledger).await;
    assert_eq!((verified.broken, verified.position), (None, 30));
    assert_eq!(keys(&ledger).await, all.iter().map(key).collect::<Vec<_>>());
}

#[tokio::test]
async fn events_that_no_build_can_read_are_kept_as_bytes() {
    let place = Place::new();
    let ledger = place.open();
    let unreadable = Bytes::from_static(b"\x0a\x03\xff\xff\xff\x0a\x02hi");
    kit::hear(&ledger, &[Batch { body: unreadable.clone(), ..kit::batch(Source::Gateway, 1) }]).await;
    let entries = kit::export_all(&ledger).await;
    assert_eq!((entries[0].body.clone(), entries[0].event_hashes.len()), (unreadable, 64));
    assert_eq!(kit::verify_all(&ledger).await.broken, None);
}

/// A batch that cannot be taken apart is a dead letter, and so is one of another partition; their mates pass.
#[tokio::test]
async fn what_is_no_batch_of_this_chain_is_a_dead_letter() {
    let place = Place::new();
    let ledger = place.open();
    let good = kit::batch(Source::Gateway, 1);
    let cut = Batch { body: good.body.slice(..good.body.len() - 1), ..kit::batch(Source::Gateway, 2) };
    let mut elsewhere = kit::batch(Source::Gateway, 3);
    elsewhere.number = elsewhere.number.map(|number| BatchNumber { partition: Partition(0), ..number });
    let unnumbered = Batch { number: None, ..kit::batch(Source::Gateway, 4) };
    kit::hear(&ledger, &[cut, elsewhere, unnumbered, good]).await;

    assert_eq!(keys(&ledger).await, [("gateway".to_owned(), 1)]);
    let causes = ledger.query(|tx| tx.read("select cause from dead_letter order by cause", &[], |row| row.text(0)));
    assert_eq!(causes.await.expect("reads"), ["UNDECODABLE", "UNDECODABLE", "UNNUMBERED"]);
}

#[tokio::test]
async fn many_batches_of_one_commit_are_chained_in_the_order_they_came() {
    let place = Place::new();
    let ledger = place.open();
    let mut writer = BatchWriter::default();
    writer.push(&kit::event("same"), Source::Payments, Timestamp::UNIX_EPOCH);
    let body = Bytes::from(writer.into_bytes());
    let same: Vec<Batch> =
        (1..=200).map(|number| Batch { body: body.clone(), ..kit::batch(Source::Payments, number) }).collect();
    ledger.hear(same.iter().map(|batch| Heard::read(&ledger, batch)).collect()).await.expect("taken");
    let expected: Vec<_> = (1..=200).map(|number| ("payments".to_owned(), number)).collect();
    assert_eq!(keys(&ledger).await, expected);
    assert_eq!(kit::verify_all(&ledger).await.broken, None);
}
