//! What of an event may be shown to anybody who reads a log: figures, and words of ours. Never a text that a client, a
//! customer, an operator or a provider chose.

use crate::event::Event;
use crate::money::Money;
use crate::pb;

/// Absent where the event has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Of the order, the charge or the refund.
    pub amount: Option<Money>,
    /// Why an order ended, as the contract calls it: `REASON_OUT_OF_STOCK`.
    pub reason: Option<&'static str>,
    /// Which attempt at charging it was, from 1.
    pub attempt: Option<i32>,
    /// By how much the stock was changed.
    pub delta: Option<i64>,
}

impl Figures {
    /// Of an event.
    pub fn of(event: &Event) -> Self {
        let none = Figures::default();
        match event {
            Event::OrderPlaced(placed) => of_amount(placed.total.as_ref()),
            Event::StockHeld(held) => of_amount(held.total.as_ref()),
            Event::StockAdjusted(adjusted) => Figures { delta: Some(adjusted.delta), ..none },
            Event::PaymentCaptured(captured) => {
                Figures { attempt: Some(captured.attempt), ..of_amount(captured.amount.as_ref()) }
            }
            Event::PaymentDeclined(declined) => Figures { attempt: Some(declined.attempt), ..none },
            Event::PaymentRefunded(refunded) => of_amount(refunded.amount.as_ref()),
            Event::RefundFailed(failed) => of_amount(failed.amount.as_ref()),
            Event::RefundRequested(requested) => of_amount(requested.amount.as_ref()),
            Event::OrderConfirmed(confirmed) => of_amount(confirmed.total.as_ref()),
            Event::OrderRejected(rejected) => {
                Figures { reason: Some(rejected.reason().as_str_name()), ..of_amount(rejected.total.as_ref()) }
            }
            Event::OrderCancelled(cancelled) => {
                Figures { reason: Some(cancelled.reason().as_str_name()), ..of_amount(cancelled.total.as_ref()) }
            }
            Event::StockRefused(_)
            | Event::StockCommitted(_)
            | Event::StockReleased(_)
            | Event::StockReturned(_)
            | Event::PaymentDeferred(_)
            | Event::NotificationSent(_)
            | Event::NotificationFailed(_)
            | Event::PaymentSettled(_)
            | Event::DeadLetterRedriven(_)
            | Event::DeadLetterDiscarded(_)
            | Event::FlowPaused(_)
            | Event::FlowResumed(_)
            | Event::FlowSettingChanged(_) => none,
        }
    }
}

fn of_amount(amount: Option<&pb::Money>) -> Figures {
    Figures { amount: amount.and_then(|amount| Money::from_wire(amount).ok()), ..Figures::default() }
}
