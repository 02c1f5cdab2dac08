//! Inventory as a ledger: what is heard or asked goes to the domain, what the domain decides goes to the store.

use spillway_proto::time::Timestamp;
use spillway_proto::{Envelope, EventKind, NewEvent, Subject};
use spillway_shared::evidence::Evidence;
use spillway_shared::ledger::{Says, Service, StoreError, Tx, Unreadable};
use uuid::Uuid;

use crate::domain::{self, AdjustStock, Adjusted, Decision, Refused, Stock};
use crate::evidence::EVIDENCE;
use crate::hear::{self, Fact, Heard};
use crate::store::{self, Book};

/// The stock of every shop and the holds of every order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inventory;

/// What inventory decides on.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    Heard(Heard),
    Adjust(Adjust),
}

/// A command, and on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjust {
    pub shop: String,
    /// W3C trace context of the request.
    pub traceparent: String,
    pub command: AdjustStock,
}

/// What whoever handed in an input is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Heard,
    /// The stock of the SKU, and when it last changed.
    Adjusted(Result<(Stock, Timestamp), Refused>),
}

impl Service for Inventory {
    type Input = Input;
    type Answer = Answer;
    type Book = Book;

    const EVIDENCE: &'static [Evidence] = EVIDENCE;

    fn hear(&self, kind: EventKind, event: &Envelope) -> Result<Option<Input>, Unreadable> {
        Ok(hear::hear(kind, event)?.map(Input::Heard))
    }

    fn load(&self, tx: &Tx<'_>, inputs: &[&Input]) -> Result<Book, StoreError> {
        store::load(tx, inputs)
    }

    fn decide(&self, book: &mut Book, input: &Input, at: Timestamp, says: &mut Says) -> Answer {
        match input {
            Input::Heard(heard) => {
                decide_heard(book, heard, at, says);
                Answer::Heard
            }
            Input::Adjust(adjust) => Answer::Adjusted(decide_adjust(book, adjust, at, says)),
        }
    }

    fn command_id(&self, input: &Input) -> Option<Uuid> {
        match input {
            Input::Heard(_) => None,
            Input::Adjust(adjust) => Some(adjust.command.request_id),
        }
    }

    fn save(&self, tx: &Tx<'_>, book: Book) -> Result<(), StoreError> {
        store::save(tx, &book)
    }
}

fn decide_heard(book: &mut Book, heard: &Heard, at: Timestamp, says: &mut Says) {
    let (hold, shelf) = book.order(&heard.shop, heard.order_id);
    let decision = match &heard.fact {
        Fact::OrderPlaced(order) => domain::order_placed(hold, order, shelf, at),
        Fact::OrderConfirmed => domain::order_confirmed(hold, shelf, at),
        Fact::OrderEnded => domain::order_ended(hold, shelf, at),
    };
    match decision {
        Decision::Known => {}
        Decision::Impossible => {
            let hold = hold.map_or("none", |hold| hold.state.name());
            let fact = heard.fact.name();
            tracing::error!(order_id = %heard.order_id, fact, hold, "no such thing can happen to this hold, ignored");
        }
        Decision::Becomes(state, event) => {
            book.hold_becomes(heard, state, at);
            if let Some(event) = event {
                says.event(&NewEvent {
                    shop: heard.shop.clone(),
                    subject: Subject::Order(heard.order_id),
                    occurrence: String::new(),
                    traceparent: heard.traceparent.clone(),
                    event,
                });
            }
        }
    }
}

fn decide_adjust(
    book: &mut Book,
    adjust: &Adjust,
    at: Timestamp,
    says: &mut Says,
) -> Result<(Stock, Timestamp), Refused> {
    let Adjust { shop, traceparent, command } = adjust;
    let (before, shelf) = book.adjustment(shop, command.request_id);
    match domain::adjust_stock(before, command, shelf, at)? {
        Adjusted::Before(stock) => Ok((stock, shelf.updated(&command.sku).unwrap_or(at))),
        Adjusted::Now(stock, event) => {
            book.adjusted(adjust, at);
            says.event(&NewEvent {
                shop: shop.clone(),
                subject: Subject::Sku(command.sku.clone()),
                occurrence: command.request_id.to_string(),
                traceparent: traceparent.clone(),
                event: event.into(),
            });
            Ok((stock, at))
        }
    }
}
