//! What each event means to orders.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::{self, events as v1};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Envelope, EventId, EventKind, Money, OrderId};
use spillway_shared::ledger::Unreadable;

use crate::domain::OrderPlaced;

/// What was heard of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    pub order_id: OrderId,
    pub shop: String,
    /// W3C trace context of the event.
    pub traceparent: String,
    pub event_id: EventId,
    /// When it was said.
    pub time: Timestamp,
    /// The event as it was said, for the history.
    pub raw: Bytes,
    pub fact: Fact,
}

/// What belongs to the history of an order, with what is decided from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    OrderPlaced(OrderPlaced),
    StockHeld,
    StockRefused,
    PaymentCaptured,
    PaymentDeclined { action_required: bool },
    PaymentDeferred { since: Timestamp },
    PaymentRefunded { amount: Money },
    RefundFailed,
}

/// The one place that lists every kind.
pub fn hear(kind: EventKind, event: &Envelope) -> Result<Option<Heard>, Unreadable> {
    let fact = match kind {
        EventKind::OrderPlaced => order_placed(read(event)?)?,
        EventKind::StockHeld => read::<v1::StockHeld>(event).map(|_| Fact::StockHeld)?,
        EventKind::StockRefused => read::<v1::StockRefused>(event).map(|_| Fact::StockRefused)?,
        EventKind::PaymentCaptured => read::<v1::PaymentCaptured>(event).map(|_| Fact::PaymentCaptured)?,
        EventKind::PaymentDeclined => {
            let declined: v1::PaymentDeclined = read(event)?;
            Fact::PaymentDeclined { action_required: declined.action_required }
        }
        EventKind::PaymentDeferred => payment_deferred(&read(event)?, event.time)?,
        EventKind::PaymentRefunded => {
            let refunded: v1::PaymentRefunded = read(event)?;
            Fact::PaymentRefunded { amount: money(refunded.amount.as_ref(), "amount")? }
        }
        EventKind::RefundFailed => read::<v1::RefundFailed>(event).map(|_| Fact::RefundFailed)?,
        // What inventory makes of an outcome changes nothing of the order.
        EventKind::StockCommitted | EventKind::StockReleased | EventKind::StockReturned => return Ok(None),
        // Of no order.
        EventKind::StockAdjusted => return Ok(None),
        // Own words: recorded when they are said.
        EventKind::OrderConfirmed
        | EventKind::OrderRejected
        | EventKind::OrderCancelled
        | EventKind::RefundRequested => return Ok(None),
        EventKind::NotificationSent
        | EventKind::NotificationFailed
        | EventKind::PaymentSettled
        | EventKind::DeadLetterRedriven
        | EventKind::DeadLetterDiscarded
        | EventKind::FlowPaused
        | EventKind::FlowResumed
        | EventKind::FlowSettingChanged => return Ok(None),
    };
    Ok(Some(Heard {
        order_id: event
            .subject
            .order()
            .ok_or_else(|| Unreadable::Undecodable("the subject is not an order".to_owned()))?,
        shop: event.shop.clone(),
        traceparent: event.traceparent.clone(),
        event_id: event.id,
        time: event.time,
        raw: event.raw.clone(),
        fact,
    }))
}

fn read<T: Message + Default>(event: &Envelope) -> Result<T, Unreadable> {
    T::decode(event.payload.clone()).map_err(|error| Unreadable::Undecodable(error.to_string()))
}

fn money(wire: Option<&pb::Money>, field: &str) -> Result<Money, Unreadable> {
    let wire = wire.ok_or_else(|| Unreadable::Undecodable(format!("{field} is missing")))?;
    Money::from_wire(wire).map_err(|error| Unreadable::Undecodable(format!("{field} {error}")))
}

fn order_placed(placed: v1::OrderPlaced) -> Result<Fact, Unreadable> {
    Ok(Fact::OrderPlaced(OrderPlaced {
        total: money(placed.total.as_ref(), "total")?,
        customer_id: placed.customer_id,
        email: placed.contact.map(|contact| contact.email).filter(|email| !email.is_empty()),
    }))
}

/// An outage whose begin is not told began when it was told of.
fn payment_deferred(deferred: &v1::PaymentDeferred, said: Timestamp) -> Result<Fact, Unreadable> {
    let since = match &deferred.since {
        None => said,
        Some(since) => {
            time::from_wire(since).ok_or_else(|| Unreadable::Undecodable("since is out of range".to_owned()))?
        }
    };
    Ok(Fact::PaymentDeferred { since })
}
