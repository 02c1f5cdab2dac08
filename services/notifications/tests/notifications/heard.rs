//! What is heard, through a real ledger and without any worker: once each, in whatever order it comes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use spillway_notifications::{EMAIL, MIGRATIONS, Notifications, NotificationsConfig};
use spillway_proto::pb::events as v1;
use spillway_proto::pb::orders::Reason;
use spillway_proto::{EventKind, Ledger as Source, LedgerId, NewEvent};
use spillway_shared::ledger::{Batch, Ledger, LedgerSpec};
use tempfile::TempDir;

use crate::kit::{self, HERE};

fn open(folder: &TempDir) -> Ledger<Notifications> {
    let id = LedgerId { ledger: Source::Notifications, partition: HERE };
    let patience = NotificationsConfig::default().retry.patience();
    let service = Notifications { patience, domain: "shop.example".to_owned() };
    Ledger::open(LedgerSpec::new(id, 1, folder.path(), MIGRATIONS), service, &[EMAIL]).expect("opens")
}

/// Every order ends in one way, with or without a contact.
fn events() -> Vec<NewEvent> {
    (0..12u8)
        .map(|n| {
            let email = if n % 4 == 0 { "" } else { "ada@example.com" };
            match n % 3 {
                0 => kit::confirmed(n, email),
                1 => kit::rejected(n, email, Reason::OutOfStock),
                _ => kit::cancelled(n, email, Reason::Requested.into()),
            }
        })
        .collect()
}

/// (event, kind, state) of every delivery, and the keys of all due rows.
async fn state(ledger: &Ledger<Notifications>) -> (BTreeSet<(Vec<u8>, String, String)>, usize) {
    let rows = ledger.query(|tx| {
        let deliveries = tx.read("select event_id, kind, state from delivery", &[], |row| {
            Ok((row.blob(0)?, row.text(1)?, row.text(2)?))
        })?;
        Ok((deliveries, tx.read("select key from due", &[], |row| row.blob(0))?.len()))
    });
    let (deliveries, due) = rows.await.expect("reads");
    (deliveries.into_iter().collect(), due)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// The same events in batches of other numbers, as after a restore, come past the inbox and still change nothing.
    #[test]
    fn any_order_of_any_repeats_ends_the_same(order in prop::collection::vec((0usize..12, 1i64..200), 0..60)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let (folder, events) = (tempfile::tempdir().expect("a folder"), events());
            let ledger = open(&folder);
            let mut told = BTreeSet::new();
            for (index, number) in order {
                let event = &events[index];
                let is_new = ledger.inbox().borrow().lines().all(|(_, mark)| !mark.has(number));
                kit::hear(&ledger, &[kit::batch(number, std::slice::from_ref(event))]).await;
                if is_new && index % 4 != 0 {
                    let kind = ["order_confirmed", "order_rejected", "order_cancelled"][index % 3];
                    told.insert((event.id().0.as_bytes().to_vec(), kind.to_owned(), "PENDING".to_owned()));
                }
            }
            let due = told.len();
            assert_eq!(state(&ledger).await, (told, due));
        });
    }
}

#[tokio::test]
async fn only_how_an_order_ends_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(&folder);
    let told = [EventKind::OrderConfirmed, EventKind::OrderRejected, EventKind::OrderCancelled];
    for (number, kind) in (1..).zip(EventKind::ALL) {
        let payload = bytes::Bytes::new();
        let event = spillway_proto::Event::decode(*kind, payload).expect("all fields are optional");
        kit::hear(&ledger, &[kit::batch(number, &[kit::said(1, event)])]).await;
        assert!(!told.contains(kind) || state(&ledger).await.0.is_empty(), "nobody is named");
    }
    assert_eq!(state(&ledger).await, (BTreeSet::new(), 0));
    assert_eq!(causes(&ledger).await, Vec::<(String, String)>::new());
}

async fn causes(ledger: &Ledger<Notifications>) -> Vec<(String, String)> {
    let rows = ledger.query(|tx| {
        tx.read("select cause, error from dead_letter order by error", &[], |row| Ok((row.text(0)?, row.text(1)?)))
    });
    rows.await.expect("reads")
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_and_its_mates_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(&folder);
    let mut wrong_total = v1::OrderConfirmed { contact: Some(Default::default()), ..Default::default() };
    wrong_total.contact.iter_mut().for_each(|contact| contact.email = "ada@example.com".to_owned());
    wrong_total.total = Some(spillway_proto::pb::Money { currency_code: "XXY".to_owned(), ..Default::default() });
    let events = [
        kit::confirmed(1, "ada@example.com"),
        kit::cancelled(2, "ada@example.com", 99),
        kit::said(3, wrong_total.into()),
        kit::confirmed(4, "ada@example.com"),
    ];
    let whole: Batch = kit::batch(1, &events);
    kit::hear(&ledger, &[whole, kit::cut(kit::batch(2, &events))]).await;
    assert_eq!(state(&ledger).await.1, 2);
    let causes = causes(&ledger).await;
    assert_eq!(causes.len(), 3, "{causes:?}");
    assert!(causes.iter().any(|(_, error)| error.contains("reason 99 is unknown")), "{causes:?}");
    assert!(causes.iter().any(|(_, error)| error.contains("total currency_code")), "{causes:?}");
}
