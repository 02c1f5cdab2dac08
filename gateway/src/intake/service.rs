//! Accepting an order.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Envelope, EventKind, NewEvent, OrderId, Partition, Subject};
use spillway_shared::evidence::Evidence;
use spillway_shared::ledger::{Says, Service, StoreError, Tx, Unreadable};
use spillway_shared::steps::step;
use uuid::Uuid;

use super::store::{self, Known};
use crate::admission::Waiting;
use crate::evidence::EVIDENCE;
use crate::fingerprint::Fingerprint;
use crate::validate::Placement;

/// The gateway's ledger.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intake;

/// A request that may be accepted, with the order's id if it is new.
#[derive(Clone, Debug)]
pub struct Accept {
    pub(super) key: Key,
    pub(super) order_id: OrderId,
    pub(super) fingerprint: Fingerprint,
    /// The canonical content, encoded: what is kept, and what the fingerprint is of.
    pub(super) content: Bytes,
    /// What is said of it. Shared with the caller, who answers from it after the commit.
    pub(super) event: Arc<NewEvent>,
    /// Counts it among those that wait for their commit; dropped with it.
    _waiting: Option<Arc<Waiting>>,
}

/// Under which a request is known, for as long as its order exists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub shop: Arc<str>,
    pub request_id: Uuid,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is a new order, accepted at this time.
    Accepted { at: Timestamp },
    /// It was accepted before, as this order, at that time.
    Repeated { order_id: OrderId, at: Timestamp },
    /// Its id stands for another order.
    Reused { order_id: OrderId },
}

impl Accept {
    /// Of a checked request. The random bits make the id of the order, if it is new.
    pub fn new(
        placement: Placement,
        shop: &Arc<str>,
        traceparent: String,
        at: Timestamp,
        partitions: u16,
        random: [u8; 10],
    ) -> Accept {
        let Placement { request_id, mut content, .. } = placement;
        let partition = Partition::of_request(shop, request_id, partitions);
        let order_id = OrderId::new(at, partition, random);
        let encoded = Bytes::from(content.encode_to_vec());
        content.request_id = request_id.to_string();
        Accept {
            key: Key { shop: shop.clone(), request_id },
            order_id,
            fingerprint: Fingerprint::of(&encoded),
            content: encoded,
            event: Arc::new(NewEvent {
                shop: shop.as_ref().to_owned(),
                subject: Subject::Order(order_id),
                occurrence: String::new(),
                traceparent,
                event: content.into(),
            }),
            _waiting: None,
        }
    }

    /// The same, counted among those that wait for their commit for as long as it does.
    pub fn waiting(self, waiting: Arc<Waiting>) -> Accept {
        Accept { _waiting: Some(waiting), ..self }
    }

    pub fn order_id(&self) -> OrderId {
        self.order_id
    }

    pub fn shop(&self) -> &str {
        &self.key.shop
    }

    pub fn request_id(&self) -> Uuid {
        self.key.request_id
    }

    pub fn event(&self) -> Arc<NewEvent> {
        self.event.clone()
    }

    /// What to answer where the request id is known already.
    pub fn compare(&self, order_id: OrderId, fingerprint: &Fingerprint, at: Timestamp) -> Answer {
        if self.fingerprint == *fingerprint { Answer::Repeated { order_id, at } } else { Answer::Reused { order_id } }
    }
}

/// What is known of the requests of a batch, and which of them are new.
#[derive(Debug, Default)]
pub struct Book {
    pub(super) known: HashMap<Key, Known>,
    pub(super) new: Vec<New>,
}

/// A row to be written.
#[derive(Debug)]
pub(super) struct New {
    pub key: Key,
    pub order_id: OrderId,
    pub fingerprint: Fingerprint,
    pub content: Bytes,
    pub create_us: i64,
}

impl Service for Intake {
    type Input = Accept;
    type Answer = Answer;
    type Book = Book;

    const EVIDENCE: &'static [Evidence] = EVIDENCE;

    fn hear(&self, kind: EventKind, _event: &Envelope) -> Result<Option<Accept>, Unreadable> {
        match kind {
            // The gateway hears nobody: an order is its own from the request to OrderPlaced, and then others'.
            EventKind::OrderPlaced
            | EventKind::StockHeld
            | EventKind::StockRefused
            | EventKind::StockCommitted
            | EventKind::StockReleased
            | EventKind::StockReturned
            | EventKind::StockAdjusted
            | EventKind::PaymentCaptured
            | EventKind::PaymentDeclined
            | EventKind::PaymentDeferred
            | EventKind::PaymentRefunded
            | EventKind::RefundFailed
            | EventKind::OrderConfirmed
            | EventKind::OrderRejected
            | EventKind::OrderCancelled
            | EventKind::RefundRequested
            | EventKind::NotificationSent
            | EventKind::NotificationFailed
            | EventKind::PaymentSettled
            | EventKind::DeadLetterRedriven
            | EventKind::DeadLetterDiscarded
            | EventKind::FlowPaused
            | EventKind::FlowResumed
            | EventKind::FlowSettingChanged => Ok(None),
        }
    }

    fn load(&self, tx: &Tx<'_>, inputs: &[&Accept]) -> Result<Book, StoreError> {
        let known = store::known(tx, inputs.iter().map(|accept| &accept.key))?;
        Ok(Book { known, new: Vec::with_capacity(inputs.len()) })
    }

    fn decide(&self, book: &mut Book, accept: &Accept, at: Timestamp, says: &mut Says) -> Answer {
        if let Some(known) = book.known.get(&accept.key) {
            return accept.compare(known.order_id, &known.fingerprint, time::from_micros(known.create_us));
        }
        let (order_id, fingerprint, create_us) = (accept.order_id, accept.fingerprint, time::to_micros(at));
        says.event(&accept.event);
        book.known.insert(accept.key.clone(), Known { order_id, fingerprint, create_us });
        let (key, content) = (accept.key.clone(), accept.content.clone());
        book.new.push(New { key, order_id, fingerprint, content, create_us });
        Answer::Accepted { at }
    }

    fn save(&self, tx: &Tx<'_>, book: Book) -> Result<(), StoreError> {
        store::insert(tx, &book.new)?;
        step("gateway.in_tx");
        Ok(())
    }
}
