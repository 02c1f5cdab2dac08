//! A batch that audit could not keep is kept once it is handed in again, and audit says so itself.

use bytes::Bytes;
use spillway_proto::{Event, EventKind, Ledger as Source, batch};
use spillway_shared::ledger::{Batch, Redriven};
use uuid::Uuid;

use crate::kit::{self, PARTITION, Place};

#[tokio::test]
async fn a_batch_that_the_database_refuses_is_a_dead_letter_and_in_the_chain_after_a_redrive() {
    let place = Place::new();
    let ledger = place.open();
    // A damaged copy of another batch waits for a good one: that must not pass for a good copy of this one.
    let damaged = Batch { body: Bytes::from_static(b"\x0a\x7fshort"), ..kit::batch(Source::Gateway, 2) };
    kit::hear(&ledger, &[damaged]).await;
    place.tamper(
        "create trigger refuse before insert on entry when new.number = 5 begin select raise(abort, 'no'); end",
    );
    kit::hear(&ledger, &[kit::batch(Source::Gateway, 1), kit::batch(Source::Gateway, 5)]).await;
    assert_eq!(kit::export_all(&ledger).await.len(), 1);
    let dead = ledger.query(|tx| {
        tx.read("select id from dead_letter where state = 'DEAD' and cause = 'CONSTRAINT'", &[], |row| row.blob(0))
    });
    let dead = dead.await.expect("reads");
    assert_eq!(dead.len(), 1);
    let id = Uuid::from_slice(&dead[0]).expect("an id");

    place.tamper("drop trigger refuse");
    assert_eq!(ledger.redrive(vec![id], "it is mended").await.expect("done"), [(id, Redriven::Taken)]);
    let entries = kit::export_all(&ledger).await;
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 5]);
    assert_eq!(kit::verify_all(&ledger).await.broken, None);

    // What audit says itself, it hears like anybody's word.
    let said = ledger.outbox(PARTITION, 1, 10, 1 << 20).await.expect("answers");
    let events = batch::read(said[0].body.clone()).expect("a batch");
    let event = events.into_iter().next().expect("one").expect("readable");
    let kind = event.kind().expect("known");
    assert_eq!((said.len(), kind), (1, EventKind::DeadLetterRedriven));
    let Ok(Event::DeadLetterRedriven(told)) = Event::decode(kind, event.payload) else { panic!("not decoded") };
    assert_eq!((told.cause.as_str(), told.outcome.as_str()), ("CONSTRAINT", "taken"));
}
