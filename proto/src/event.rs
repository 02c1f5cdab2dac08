//! Everything that a ledger can say. Adding one here does not compile until every service has said what it does
//! with it.

use bytes::Bytes;
use prost::Message;

use crate::pb::events as v1;

/// Where an event stands in what is told of its subject: what is told last of all to be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InStory {
    /// It begins it: the order was accepted.
    Begins,
    /// A step on the way.
    Between,
    /// Nothing, or nothing but an afterthought, follows; or a human did it.
    Ends,
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $type_name:literal, $word:literal, $place:ident),* $(,)?) => {
        /// The kind of an event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventKind { $($(#[$doc])* $name),* }

        impl EventKind {
            /// Every kind there is.
            pub const ALL: &[EventKind] = &[$(EventKind::$name),*];

            /// The CloudEvents type.
            pub fn type_name(self) -> &'static str {
                match self { $(EventKind::$name => $type_name),* }
            }

            /// Its one word, in SQL, metrics and logs as here: `payment_captured`.
            pub fn name(self) -> &'static str {
                match self { $(EventKind::$name => $word),* }
            }

            /// Where it stands in what is told of its subject.
            pub fn place(self) -> InStory {
                match self { $(EventKind::$name => InStory::$place),* }
            }

            /// The kind of this CloudEvents type. `None` where this build does not know it.
            pub fn from_type_name(type_name: &str) -> Option<Self> {
                match type_name { $($type_name => Some(EventKind::$name),)* _ => None }
            }

            /// The type URL of the payload.
            pub fn type_url(self) -> &'static str {
                match self {
                    $(EventKind::$name => concat!("type.googleapis.com/spillway.events.v1.", stringify!($name))),*
                }
            }
        }

        /// An event with its payload.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event { $($(#[$doc])* $name(v1::$name)),* }

        impl Event {
            pub fn kind(&self) -> EventKind {
                match self { $(Event::$name(_) => EventKind::$name),* }
            }

            /// Bytes that the payload takes.
            pub fn payload_len(&self) -> usize {
                match self { $(Event::$name(payload) => payload.encoded_len()),* }
            }

            /// Appends the payload.
            pub fn write_payload(&self, to: &mut Vec<u8>) {
                match self { $(Event::$name(payload) => payload.encode_raw(to)),* }
            }

            /// From a payload.
            pub fn decode(kind: EventKind, payload: Bytes) -> Result<Self, prost::DecodeError> {
                match kind { $(EventKind::$name => v1::$name::decode(payload).map(Event::$name)),* }
            }
        }

        $(impl From<v1::$name> for Event {
            fn from(payload: v1::$name) -> Self { Event::$name(payload) }
        })*
    };
}

events! {
    /// Said by the gateway: an order was accepted.
    OrderPlaced = "spillway.order.placed.v1", "order_placed", Begins,
    /// Said by inventory: every line is held.
    StockHeld = "spillway.stock.held.v1", "stock_held", Between,
    /// Said by inventory: nothing is held.
    StockRefused = "spillway.stock.refused.v1", "stock_refused", Between,
    /// Said by inventory: the hold became a sale.
    StockCommitted = "spillway.stock.committed.v1", "stock_committed", Between,
    /// Said by inventory: the hold was given back.
    StockReleased = "spillway.stock.released.v1", "stock_released", Between,
    /// Said by inventory: sold units came back with a refund.
    StockReturned = "spillway.stock.returned.v1", "stock_returned", Between,
    /// Said by inventory: an operator changed the stock.
    StockAdjusted = "spillway.stock.adjusted.v1", "stock_adjusted", Between,
    /// Said by payments: the money is ours.
    PaymentCaptured = "spillway.payment.captured.v1", "payment_captured", Between,
    /// Said by payments: the provider refused for good.
    PaymentDeclined = "spillway.payment.declined.v1", "payment_declined", Between,
    /// Said by payments: the provider cannot be reached, the order waits.
    PaymentDeferred = "spillway.payment.deferred.v1", "payment_deferred", Between,
    /// Said by payments: money went back.
    PaymentRefunded = "spillway.payment.refunded.v1", "payment_refunded", Ends,
    /// Said by payments: the provider refuses a refund.
    RefundFailed = "spillway.refund.failed.v1", "refund_failed", Ends,
    /// Said by orders: paid, and the stock is the customer's.
    OrderConfirmed = "spillway.order.confirmed.v1", "order_confirmed", Ends,
    /// Said by orders: not fulfilled.
    OrderRejected = "spillway.order.rejected.v1", "order_rejected", Ends,
    /// Said by orders: ended by a cancel or by its deadline.
    OrderCancelled = "spillway.order.cancelled.v1", "order_cancelled", Ends,
    /// Said by orders: a client wants money back.
    RefundRequested = "spillway.refund.requested.v1", "refund_requested", Between,
    /// Said by notifications: a notice was handed over.
    NotificationSent = "spillway.notification.sent.v1", "notification_sent", Between,
    /// Said by notifications: a notice could not be handed over.
    NotificationFailed = "spillway.notification.failed.v1", "notification_failed", Between,
    /// Said by payments: an operator said what became of a payment.
    PaymentSettled = "spillway.payment.settled.v1", "payment_settled", Ends,
    /// Said by any ledger: a dead letter was handed in again.
    DeadLetterRedriven = "spillway.dead_letter.redriven.v1", "dead_letter_redriven", Ends,
    /// Said by any ledger: a dead letter was put away for good.
    DeadLetterDiscarded = "spillway.dead_letter.discarded.v1", "dead_letter_discarded", Ends,
    /// Said by any ledger: an operator stopped one kind of its work.
    FlowPaused = "spillway.flow.paused.v1", "flow_paused", Ends,
    /// Said by any ledger: an operator let that work go on.
    FlowResumed = "spillway.flow.resumed.v1", "flow_resumed", Ends,
    /// Said by any ledger: an operator changed a setting while it ran.
    FlowSettingChanged = "spillway.flow.setting_changed.v1", "flow_setting_changed", Ends,
}

impl EventKind {
    /// It tells of something that did not go as a customer would like it.
    pub fn is_failure(self) -> bool {
        match self {
            EventKind::StockRefused
            | EventKind::PaymentDeclined
            | EventKind::PaymentDeferred
            | EventKind::RefundFailed
            | EventKind::OrderRejected
            | EventKind::OrderCancelled
            | EventKind::NotificationFailed => true,
            EventKind::OrderPlaced
            | EventKind::StockHeld
            | EventKind::StockCommitted
            | EventKind::StockReleased
            | EventKind::StockReturned
            | EventKind::StockAdjusted
            | EventKind::PaymentCaptured
            | EventKind::PaymentRefunded
            | EventKind::OrderConfirmed
            | EventKind::RefundRequested
            | EventKind::NotificationSent
            | EventKind::PaymentSettled
            | EventKind::DeadLetterRedriven
            | EventKind::DeadLetterDiscarded
            | EventKind::FlowPaused
            | EventKind::FlowResumed
            | EventKind::FlowSettingChanged => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_word_whatever_speaks_of_it() {
        for kind in EventKind::ALL {
            let of_type = kind.type_name().trim_start_matches("spillway.").trim_end_matches(".v1").replace('.', "_");
            assert_eq!(kind.name(), of_type);
            let snake = format!("{kind:?}").chars().fold(String::new(), |word, c| match c.is_uppercase() {
                true if word.is_empty() => c.to_lowercase().collect(),
                true => format!("{word}_{}", c.to_lowercase()),
                false => format!("{word}{c}"),
            });
            assert_eq!(kind.name(), snake);
        }
    }

    #[test]
    fn every_kind_is_found_by_its_type_and_described_in_the_contract() {
        let pool = prost_reflect::DescriptorPool::decode(crate::DESCRIPTOR_SET).expect("own descriptors");
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_type_name(kind.type_name()), Some(*kind));
            let message = kind.type_url().strip_prefix("type.googleapis.com/").expect("the usual prefix");
            assert!(pool.get_message_by_name(message).is_some(), "{message} is not in the contract");
        }
        assert_eq!(EventKind::from_type_name("spillway.order.teleported.v1"), None);
    }
}
