//! What each event means to notifications.

use prost::Message;
use spillway_proto::pb::orders::{Contact, Reason};
use spillway_proto::pb::{self, events as v1};
use spillway_proto::{Envelope, EventKind, Money};
use spillway_shared::ledger::Unreadable;

use crate::domain::{Notice, Occasion};

/// Somebody is to be told.
pub type Told = Notice;

/// The one place that lists every kind. `None` where nobody is to be told.
pub fn hear(kind: EventKind, event: &Envelope) -> Result<Option<Told>, Unreadable> {
    match kind {
        EventKind::OrderConfirmed => {
            let said: v1::OrderConfirmed = read(event)?;
            notice(event, Occasion::OrderConfirmed, said.contact, said.total)
        }
        EventKind::OrderRejected => {
            let said: v1::OrderRejected = read(event)?;
            notice(event, Occasion::OrderRejected(reason(said.reason)?), said.contact, said.total)
        }
        EventKind::OrderCancelled => {
            let said: v1::OrderCancelled = read(event)?;
            notice(event, Occasion::OrderCancelled(reason(said.reason)?), said.contact, said.total)
        }
        // Steps on the way, of which orders tells the end.
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
        // Refunds carry no contact.
        | EventKind::PaymentRefunded
        | EventKind::RefundFailed
        | EventKind::RefundRequested
        // Own words.
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

fn read<T: Message + Default>(event: &Envelope) -> Result<T, Unreadable> {
    T::decode(event.payload.clone()).map_err(|error| Unreadable::Undecodable(error.to_string()))
}

fn reason(number: i32) -> Result<Reason, Unreadable> {
    Reason::try_from(number).map_err(|_| Unreadable::Newer(format!("reason {number} is unknown")))
}

fn notice(
    event: &Envelope,
    occasion: Occasion,
    contact: Option<Contact>,
    total: Option<pb::Money>,
) -> Result<Option<Told>, Unreadable> {
    let Some(recipient) = contact.map(|contact| contact.email).filter(|email| !email.is_empty()) else {
        return Ok(None);
    };
    let order_id =
        event.subject.order().ok_or_else(|| Unreadable::Undecodable("its subject is no order".to_owned()))?;
    let total = total.map(|total| Money::from_wire(&total)).transpose();
    Ok(Some(Notice {
        shop: event.shop.clone(),
        order_id,
        event_id: event.id,
        traceparent: event.traceparent.clone(),
        time: event.time,
        occasion,
        total: total.map_err(|error| Unreadable::Undecodable(format!("total {error}")))?,
        recipient,
    }))
}
