//! How an order comes to its end: it was placed, and its stock and its money are decided.

use spillway_proto::pb::events as v1;
use spillway_proto::pb::orders::{Contact, Reason};

use super::order::{Decision, Facts, Order, State};

/// Ends a pending order as soon as all that it takes is heard, in whatever order that was. A finished one stays as it is.
///
/// Inventory refuses only what it does not hold, and payments charges only what is held and captures or declines it, so
/// at most one outcome is ever told of an order. Should two be known when the order is heard of, money goes first; else
/// the one that was heard first stays.
pub(super) fn outcome(order: &mut Order) -> Decision {
    match order.state {
        State::Confirmed | State::Rejected => Decision::Recorded,
        State::Pending if !order.facts.has(Facts::PLACED) => Decision::Recorded,
        State::Pending if order.facts.has(Facts::CAPTURED) => confirm(order),
        State::Pending if order.facts.has(Facts::REFUSED) => reject(order, Reason::OutOfStock),
        State::Pending if order.facts.has(Facts::DECLINED | Facts::ACTION_REQUIRED) => {
            reject(order, Reason::ActionRequired)
        }
        State::Pending if order.facts.has(Facts::DECLINED) => reject(order, Reason::PaymentDeclined),
        State::Pending => Decision::Recorded,
    }
}

fn confirm(order: &mut Order) -> Decision {
    order.state = State::Confirmed;
    let event = match contact(order) {
        None => v1::OrderConfirmed::default(),
        contact => v1::OrderConfirmed {
            contact,
            customer_id: order.customer_id.clone(),
            total: order.total.map(|total| total.to_wire()),
        },
    };
    Decision::Ended(event.into())
}

fn reject(order: &mut Order, reason: Reason) -> Decision {
    (order.state, order.reason) = (State::Rejected, reason);
    let reason = reason.into();
    let event = match contact(order) {
        None => v1::OrderRejected { reason, ..Default::default() },
        contact => v1::OrderRejected {
            reason,
            contact,
            customer_id: order.customer_id.clone(),
            total: order.total.map(|total| total.to_wire()),
        },
    };
    Decision::Ended(event.into())
}

fn contact(order: &Order) -> Option<Contact> {
    order.email.clone().map(|email| Contact { email })
}
