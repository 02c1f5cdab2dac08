//! Notifications as a ledger: from inputs to decisions and back into rows, events and due work.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::events as v1;
use spillway_proto::time::Timestamp;
use spillway_proto::{Envelope, Event, EventKind, NewEvent, Subject};
use spillway_shared::evidence::Evidence;
use spillway_shared::ledger::{AboutDue, Due, Says, Service, StoreError, Tx, Unreadable};

use crate::domain::{self, Delivery, Ending, Key, Patience, Step, Trouble};
use crate::evidence::EVIDENCE;
use crate::hear::{self, Told};
use crate::letter::Letter;
use crate::store::{self, Stored};

/// The channel of mails, and the kind of their due work.
pub const EMAIL: &str = "email";

/// The notifications ledger of a partition.
#[derive(Clone, Debug)]
pub struct Notifications {
    pub patience: Patience,
    /// The sender's, for Message-IDs.
    pub domain: String,
}

/// What is decided on.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Somebody is to be told.
    Told(Told),
    /// What came of a try.
    Tried(Tried),
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    pub key: Key,
    pub attempt: i64,
    /// The due row's payload, for another try.
    pub payload: Bytes,
    /// W3C trace context of the event that is told; empty where there is none.
    pub traceparent: String,
    /// The Message-ID under which it was sent, or why it was not.
    pub outcome: Result<String, Trouble>,
}

impl Input {
    fn key(&self) -> Key {
        match self {
            Input::Told(notice) => Key { order: notice.order_id, event: notice.event_id },
            Input::Tried(tried) => tried.key,
        }
    }
}

/// The deliveries that a batch touches.
#[derive(Debug, Default)]
pub struct Book {
    deliveries: HashMap<Key, Stored>,
    changed: BTreeSet<Key>,
}

impl Book {
    fn put(&mut self, key: Key, stored: Stored) {
        self.changed.insert(key);
        self.deliveries.insert(key, stored);
    }
}

impl Service for Notifications {
    type Input = Input;
    type Answer = ();
    type Book = Book;

    const EVIDENCE: &'static [Evidence] = EVIDENCE;

    fn hear(&self, kind: EventKind, event: &Envelope) -> Result<Option<Input>, Unreadable> {
        Ok(hear::hear(kind, event)?.map(Input::Told))
    }

    fn load(&self, tx: &Tx<'_>, inputs: &[&Input]) -> Result<Book, StoreError> {
        let keys = inputs.iter().map(|input| input.key()).collect();
        Ok(Book { deliveries: store::load(tx, EMAIL, &keys)?, changed: BTreeSet::new() })
    }

    fn decide(&self, book: &mut Book, input: &Input, at: Timestamp, says: &mut Says) {
        match input {
            Input::Told(notice) => self.told(book, notice, at, says),
            Input::Tried(tried) => self.tried(book, tried, at, says),
        }
    }

    fn about_due(&self, due: &Due) -> AboutDue {
        let key = store::read_due_key(&due.key);
        let mut input: Vec<_> = key.iter().map(|key| ("event", key.event.to_string())).collect();
        let letter = Letter::decode(due.payload.clone());
        input.push(match &letter {
            Ok(letter) => ("message id", letter.message_id.clone()),
            Err(error) => ("problem", error.to_string()),
        });
        let traceparent = letter.map(|letter| letter.traceparent).unwrap_or_default();
        AboutDue { subject: key.map(|key| Subject::Order(key.order)), shop: String::new(), traceparent, input }
    }

    fn save(&self, tx: &Tx<'_>, book: Book) -> Result<(), StoreError> {
        let changed = book.changed.iter().filter_map(|key| book.deliveries.get_key_value(key));
        store::save(tx, EMAIL, changed)
    }
}

impl Notifications {
    fn told(&self, book: &mut Book, notice: &Told, at: Timestamp, says: &mut Says) {
        let key = Key { order: notice.order_id, event: notice.event_id };
        let known = book.deliveries.get(&key).map(|stored| &stored.delivery);
        let Some(delivery) = domain::tell(known, at) else { return };
        let payload = Letter::of(notice, &self.domain).encode_to_vec().into();
        says.due(due(&key, &delivery, at, payload));
        let kind = notice.occasion.name().to_owned();
        book.put(key, Stored { shop: notice.shop.clone(), kind, delivery });
    }

    fn tried(&self, book: &mut Book, tried: &Tried, at: Timestamp, says: &mut Says) {
        let Some(stored) = book.deliveries.get(&tried.key) else {
            tracing::warn!(order_id = %tried.key.order, event_id = %tried.key.event, "a mail of no delivery, dropped");
            says.done(EMAIL, due_key(&tried.key));
            return;
        };
        let stored = stored.clone();
        let step = match &tried.outcome {
            Ok(_) => domain::mail_sent(&stored.delivery, at),
            Err(trouble) => {
                let (key, delivery) = (&tried.key, &stored.delivery);
                domain::mail_failed(key, delivery, tried.attempt, *trouble, &self.patience, at)
            }
        };
        match step {
            Step::Nothing => {}
            Step::TryAgain { delivery, at } => {
                says.due(due(&tried.key, &delivery, at, tried.payload.clone()));
                says.waits("retry mail", &tried.traceparent, delivery.attempt, at);
                book.put(tried.key, Stored { delivery, ..stored });
            }
            Step::End { delivery, ending } => {
                says.done(EMAIL, due_key(&tried.key));
                says.event(&ended(&stored.shop, tried, ending));
                book.put(tried.key, Stored { delivery, ..stored });
            }
        }
    }
}

fn due_key(key: &Key) -> Bytes {
    Bytes::copy_from_slice(&store::due_key(key))
}

fn due(key: &Key, delivery: &Delivery, at: Timestamp, payload: Bytes) -> Due {
    Due { kind: EMAIL, key: due_key(key), at, attempt: delivery.attempt, payload }
}

fn ended(shop: &str, tried: &Tried, ending: Ending) -> NewEvent {
    let (event_id, channel) = (tried.key.event.to_string(), EMAIL.to_owned());
    let occurrence = format!("{event_id}/{channel}");
    let event: Event = match ending {
        Ending::Sent => {
            let message_id = tried.outcome.as_ref().cloned().unwrap_or_default();
            v1::NotificationSent { event_id, channel, message_id }.into()
        }
        Ending::Failed { error } => v1::NotificationFailed { event_id, channel, error }.into(),
    };
    let (shop, traceparent) = (shop.to_owned(), tried.traceparent.clone());
    NewEvent { shop, subject: Subject::Order(tried.key.order), occurrence, traceparent, event }
}
