//! Orders as a ledger: what is heard goes to the domain, what the domain decides goes to the history and to the store.

use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Envelope, EventKind, NewEvent, Subject, trace};
use spillway_shared::evidence::Evidence;
use spillway_shared::ledger::{Sample, Says, Service, StoreError, Tx, Unreadable};

use crate::config::OrdersConfig;
use crate::domain::{self, Decision, Facts, Order, State};
use crate::ends::{self, End, Ends};
use crate::evidence::EVIDENCE;
use crate::hear::{self, Fact, Heard};
use crate::store::{self, Book};

/// The life of every order of a partition.
#[derive(Clone)]
pub struct Orders {
    /// How long an order may wait for its outcome, in microseconds.
    order_deadline_us: i64,
    ends: Ends,
}

impl Orders {
    pub fn new(config: &OrdersConfig) -> Self {
        Orders { order_deadline_us: config.order_deadline_s.saturating_mul(1_000_000), ends: Ends::new() }
    }

    fn deadline(&self, from: Timestamp) -> Timestamp {
        time::from_micros(time::to_micros(from).saturating_add(self.order_deadline_us))
    }
}

impl Service for Orders {
    type Input = Heard;
    /// What came to its end with it.
    type Answer = Option<End>;
    type Book = Book;

    const EVIDENCE: &'static [Evidence] = EVIDENCE;

    fn hear(&self, kind: EventKind, event: &Envelope) -> Result<Option<Heard>, Unreadable> {
        hear::hear(kind, event)
    }

    fn load(&self, tx: &Tx<'_>, inputs: &[&Heard]) -> Result<Book, StoreError> {
        store::load(tx, inputs)
    }

    fn decide(&self, book: &mut Book, heard: &Heard, at: Timestamp, says: &mut Says) -> Option<End> {
        let mut end = None;
        let order = book.order(heard);
        let before = (order.version, order.facts.has(Facts::TRACED));
        let decision = decide(order, heard);
        if decision == Decision::Known {
            return None;
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
            end = Some(ended(order, at));
            book.recorded(heard.order_id, version, raw);
        }
        follow_trace(book.order(heard), heard, before, says);
        if book.changed_now(heard.order_id) {
            says.changed(*heard.order_id.as_bytes());
        }
        end
    }

    fn decided(&self, answer: &Option<End>) {
        if let Some(end) = answer {
            self.ends.record(end);
        }
    }

    fn sample(&self, tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Sample>, StoreError> {
        let (count, oldest_us) = store::pending(tx)?;
        let age = oldest_us.map_or(0.0, |us| now.duration_since(time::from_micros(us)).as_secs_f64().max(0.0));
        let label = Some(("state", ends::state(State::Pending)));
        Ok(vec![
            Sample { name: "spillway_orders", label, value: count as f64 },
            Sample { name: "spillway_orders_oldest_age_seconds", label, value: age },
        ])
    }

    fn save(&self, tx: &Tx<'_>, book: Book) -> Result<(), StoreError> {
        store::save(tx, book)
    }
}

fn ended(order: &Order, at: Timestamp) -> End {
    let seconds = at.duration_since(order.created).as_secs_f64().max(0.0);
    End { state: order.state, deferred: order.deferred_since.is_some(), seconds }
}

/// What is new of an order whose trace is exported is to be told, as far as nobody else tells it; all that went before as
/// well, where the trace was only raised on the way.
fn follow_trace(order: &mut Order, heard: &Heard, (version, was_traced): (i64, bool), says: &mut Says) {
    if was_traced || trace::is_sampled(&heard.traceparent) {
        order.facts = order.facts | Facts::TRACED;
        says.recorded(*heard.order_id.as_bytes(), if was_traced { version } else { 0 }, order.version);
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
