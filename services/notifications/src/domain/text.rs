//! What a notice says. No name, no number of a customer, nothing that was ordered: mail is read by others.

use spillway_proto::pb::orders::Reason;
use spillway_proto::time::Timestamp;
use spillway_proto::{EventId, Money, OrderId};

/// What a customer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub shop: String,
    pub order_id: OrderId,
    /// The event that it tells of.
    pub event_id: EventId,
    /// W3C trace context of that event; empty where there is none.
    pub traceparent: String,
    /// When the event was said.
    pub time: Timestamp,
    pub occasion: Occasion,
    /// The sum of the order's lines; `None` where the event does not tell it.
    pub total: Option<Money>,
    /// A mail address.
    pub recipient: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    OrderConfirmed,
    OrderRejected(Reason),
    OrderCancelled(Reason),
}

impl Occasion {
    /// The event's name.
    pub fn name(self) -> &'static str {
        match self {
            Occasion::OrderConfirmed => "order_confirmed",
            Occasion::OrderRejected(_) => "order_rejected",
            Occasion::OrderCancelled(_) => "order_cancelled",
        }
    }
}

/// A subject line and a plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub subject: String,
    pub body: String,
}

/// The text of a notice.
pub fn text(occasion: Occasion, order_id: OrderId, total: Option<Money>) -> Text {
    let (ending, why) = match occasion {
        Occasion::OrderConfirmed => ("is confirmed", "It is paid, and what you ordered is yours."),
        Occasion::OrderRejected(reason) => ("could not be accepted", sorry(reason)),
        Occasion::OrderCancelled(reason) => ("was cancelled", sorry(reason)),
    };
    let subject = format!("Your order {order_id} {ending}");
    let total = total.map_or(String::new(), |total| format!("Total: {total}\n"));
    Text { body: format!("{subject}.\n\n{why}\n{total}"), subject }
}

fn sorry(reason: Reason) -> &'static str {
    match reason {
        Reason::Unspecified => "If you were charged, the money goes back to you.",
        Reason::OutOfStock => "Something you ordered is not in stock any more. You were not charged.",
        Reason::PaymentDeclined => "Your payment was declined. You were not charged.",
        Reason::ActionRequired => {
            "Your bank asks you to approve the payment, which cannot be done here. You were not charged."
        }
        Reason::Deadline => "It could not be completed in time. If you were charged, the money goes back to you.",
        Reason::Requested => "You asked for it. If you were charged, the money goes back to you.",
    }
}
