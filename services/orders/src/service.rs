//! Orders as a ledger: what is heard goes to the domain, what the domain decides goes to the history and to the store.

use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Envelope, EventKind, NewEvent, Subject};
use spillway_shared::evidence::Evidence;
use spillway_shared::ledger::{Says, Service, StoreError, Tx, Unreadable};

use crate::config::OrdersConfig;
use crate::domain::{self, Decision, Order};
use crate::evidence::EVIDENCE;
use crate::hear::{self, Fact, Heard};
use crate::store::{self, Book};

/// The life of every order of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// How long an order may wait for its outcome, in microseconds.
    order_deadline_us: i64,
}

impl Orders {
    pub fn new(config: &OrdersConfig) -> Self {
        Orders { order_deadline_us: config.order_deadline_s.saturating_mul(1_000_000) }
    }

    fn deadline(&self, from: Timestamp) -> Timestamp {
        time::from_micros(time::to_micros(from).saturating_add(self.order_deadline_us))
    }
}

impl Service for Orders {
    type Input = Heard;
    type Answer = ();
    type Book = Book;

    const EVIDENCE: &'static [Evidence] = EVIDENCE;

    fn hear(&self, kind: EventKind, event: &Envelope) -> Result<Option<Heard>, Unreadable> {
        hear::hear(kind, event)
    }

    fn load(&self, tx: &Tx<'_>, inputs: &[&Heard]) -> Result<Book, StoreError> {
        store::load(tx, inputs)
    }

    fn decide(&self, book: &mut Book, heard: &Heard, at: Timestamp, says: &mut Says) {
        let order = book.order(heard);
        let decision = decide(order, heard);
        if decision == Decision::Known {
            return;
        }
        // The earliest event counts, so that it does not matter which was heard first.
        order.deadline = order.deadline.min(self.deadline(heard.time));
        let version = order.version;
        book.recorded(heard.order_id, version, heard.raw.clone());
        if let Decision::Ended(event) = decision {
            let raw = says.event_raw(&NewEvent {
                shop: heard.shop.clone(),
                subject: Subject::Order(heard.order_id),
                occurrence: String::new(),
                traceparent: heard.traceparent.clone(),
                event,
            });
            let order = book.order(heard);
            order.record(at);
            let version = order.version;
            book.recorded(heard.order_id, version, raw);
        }
        if book.changed_now(heard.order_id) {
            says.changed(*heard.order_id.as_bytes());
        }
    }

    fn save(&self, tx: &Tx<'_>, book: Book) -> Result<(), StoreError> {
        store::save(tx, book)
    }
}

/// Every fact, and the function that decides it.
pub(crate) fn decide(order: &mut Order, heard: &Heard) -> Decision {
    let (id, at) = (heard.event_id, heard.time);
    match &heard.fact {
        Fact::OrderPlaced(placed) => domain::order_placed(order, placed, at),
        Fact::StockHeld => domain::stock_held(order, at),
        Fact::StockRefused => domain::stock_refused(order, at),
        Fact::PaymentCaptured => domain::payment_captured(order, at),
        Fact::PaymentDeclined { action_required } => domain::payment_declined(order, *action_required, at),
        Fact::PaymentDeferred { since } => domain::payment_deferred(order, id, *since, at),
        Fact::PaymentRefunded { amount } => domain::payment_refunded(order, id, *amount, at),
        Fact::RefundFailed => domain::refund_failed(order, id, at),
    }
}
