//! What each event means to inventory.

use std::collections::HashSet;

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::events as v1;
use spillway_proto::{Envelope, EventKind, OrderId};
use spillway_shared::ledger::Unreadable;

use crate::domain::{Line, OrderPlaced};

/// What was heard of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    pub shop: String,
    /// W3C trace context of the event.
    pub traceparent: String,
    pub order_id: OrderId,
    pub fact: Fact,
}

/// What moves units.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    OrderPlaced(OrderPlaced),
    OrderConfirmed,
    /// `OrderRejected` or `OrderCancelled`.
    OrderEnded,
}

impl Fact {
    /// For logs.
    pub fn name(&self) -> &'static str {
        match self {
            Fact::OrderPlaced(_) => "order_placed",
            Fact::OrderConfirmed => "order_confirmed",
            Fact::OrderEnded => "order_ended",
        }
    }

    /// The lines that it names.
    pub fn lines(&self) -> &[Line] {
        match self {
            Fact::OrderPlaced(order) => &order.lines,
            Fact::OrderConfirmed | Fact::OrderEnded => &[],
        }
    }
}

/// The one place that lists every kind.
pub fn hear(kind: EventKind, event: &Envelope) -> Result<Option<Heard>, Unreadable> {
    match kind {
        EventKind::OrderPlaced => heard(event, Fact::OrderPlaced(order_placed(event.payload.clone())?)),
        EventKind::OrderConfirmed => {
            read::<v1::OrderConfirmed>(event)?;
            heard(event, Fact::OrderConfirmed)
        }
        EventKind::OrderRejected => {
            read::<v1::OrderRejected>(event)?;
            heard(event, Fact::OrderEnded)
        }
        EventKind::OrderCancelled => {
            read::<v1::OrderCancelled>(event)?;
            heard(event, Fact::OrderEnded)
        }
        // Own words.
        EventKind::StockHeld
        | EventKind::StockRefused
        | EventKind::StockCommitted
        | EventKind::StockReleased
        | EventKind::StockReturned
        | EventKind::StockAdjusted => Ok(None),
        // How the money comes is for orders to hear; what it decides is heard from there.
        EventKind::PaymentCaptured
        | EventKind::PaymentDeclined
        | EventKind::PaymentDeferred
        | EventKind::PaymentRefunded
        | EventKind::RefundFailed
        | EventKind::RefundRequested => Ok(None),
        EventKind::NotificationSent
        | EventKind::NotificationFailed
        | EventKind::PaymentSettled
        | EventKind::DeadLetterRedriven
        | EventKind::DeadLetterDiscarded
        | EventKind::FlowPaused
        | EventKind::FlowResumed
        | EventKind::FlowSettingChanged => Ok(None),
    }
}

fn heard(event: &Envelope, fact: Fact) -> Result<Option<Heard>, Unreadable> {
    let order_id =
        event.subject.order().ok_or_else(|| Unreadable::Undecodable("the subject is not an order".to_owned()))?;
    let (shop, traceparent) = (event.shop.clone(), event.traceparent.clone());
    Ok(Some(Heard { shop, traceparent, order_id, fact }))
}

fn read<T: Message + Default>(event: &Envelope) -> Result<T, Unreadable> {
    decode(event.payload.clone())
}

fn decode<T: Message + Default>(payload: Bytes) -> Result<T, Unreadable> {
    T::decode(payload).map_err(|error| Unreadable::Undecodable(error.to_string()))
}

/// The gateway accepts no order without lines, with a quantity below 1 or with a SKU twice; one that comes all the same
/// must not move units in a way that the laws do not cover.
fn order_placed(payload: Bytes) -> Result<OrderPlaced, Unreadable> {
    let placed: v1::OrderPlaced = decode(payload)?;
    let total = placed.total.ok_or_else(|| Unreadable::Undecodable("an order without a total".to_owned()))?;
    if placed.lines.is_empty() {
        return Err(Unreadable::Undecodable("an order without lines".to_owned()));
    }
    if let Some(line) = placed.lines.iter().find(|line| line.quantity < 1) {
        return Err(Unreadable::Undecodable(format!("a line with the quantity {}", line.quantity)));
    }
    let distinct: HashSet<&str> = placed.lines.iter().map(|line| line.sku.as_str()).collect();
    if distinct.len() != placed.lines.len() {
        return Err(Unreadable::Undecodable("two lines with the same SKU".to_owned()));
    }
    let lines = placed.lines.into_iter().map(|line| Line { sku: line.sku, quantity: line.quantity }).collect();
    Ok(OrderPlaced { lines, total, payment_method: placed.payment_method })
}
