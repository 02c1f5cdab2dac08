//! Everything that a ledger can say. Adding one here does not compile until every service has said what it does
//! with it.

use bytes::Bytes;
use prost::Message;

use crate::pb::events as v1;

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $type_name:literal),* $(,)?) => {
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
    OrderPlaced = "spillway.order.placed.v1",
    /// Said by inventory: every line is held.
    StockHeld = "spillway.stock.held.v1",
    /// Said by inventory: nothing is held.
    StockRefused = "spillway.stock.refused.v1",
    /// Said by inventory: the hold became a sale.
    StockCommitted = "spillway.stock.committed.v1",
    /// Said by inventory: the hold was given back.
    StockReleased = "spillway.stock.released.v1",
    /// Said by inventory: sold units came back with a refund.
    StockReturned = "spillway.stock.returned.v1",
    /// Said by inventory: an operator changed the stock.
    StockAdjusted = "spillway.stock.adjusted.v1",
    /// Said by payments: the money is ours.
    PaymentCaptured = "spillway.payment.captured.v1",
    /// Said by payments: the provider refused for good.
    PaymentDeclined = "spillway.payment.declined.v1",
    /// Said by payments: the provider cannot be reached, the order waits.
    PaymentDeferred = "spillway.payment.deferred.v1",
    /// Said by payments: money went back.
    PaymentRefunded = "spillway.payment.refunded.v1",
    /// Said by payments: the provider refuses a refund.
    RefundFailed = "spillway.refund.failed.v1",
    /// Said by orders: paid, and the stock is the customer's.
    OrderConfirmed = "spillway.order.confirmed.v1",
    /// Said by orders: not fulfilled.
    OrderRejected = "spillway.order.rejected.v1",
    /// Said by orders: ended by a cancel or by its deadline.
    OrderCancelled = "spillway.order.cancelled.v1",
    /// Said by orders: a client wants money back.
    RefundRequested = "spillway.refund.requested.v1",
    /// Said by notifications: a notice was handed over.
    NotificationSent = "spillway.notification.sent.v1",
    /// Said by notifications: a notice could not be handed over.
    NotificationFailed = "spillway.notification.failed.v1",
    /// Said by payments: an operator said what became of a payment.
    PaymentSettled = "spillway.payment.settled.v1",
    /// Said by any ledger: a dead letter was handed in again.
    DeadLetterRedriven = "spillway.dead_letter.redriven.v1",
    /// Said by any ledger: a dead letter was put away for good.
    DeadLetterDiscarded = "spillway.dead_letter.discarded.v1",
    /// Said by any ledger: an operator stopped one kind of its work.
    FlowPaused = "spillway.flow.paused.v1",
    /// Said by any ledger: an operator let that work go on.
    FlowResumed = "spillway.flow.resumed.v1",
    /// Said by any ledger: an operator changed a setting while it ran.
    FlowSettingChanged = "spillway.flow.setting_changed.v1",
}

#[cfg(test)]
mod tests {
    use super::*;

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
