//! What orders has to say of an order when somebody asks why it stands as it does.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::{Call, ExplainRequest, ExplainResponse, Refusal};
use spillway_proto::pb::orders::{LedgerExplanation, Reason};
use spillway_proto::pb::{events as v1, orders as api};
use spillway_proto::time::Timestamp;
use spillway_proto::{EventKind, Ledger as Source, envelope};
use spillway_shared::bus::refusal;
use spillway_shared::ledger::{Ledger, StoreError};

use crate::domain::{Order, State};
use crate::queries::read_id;
use crate::service::Orders;
use crate::store::{self, Story};
use crate::view;

/// Events of an order that are gone through. What explains it comes early: only refunds can be many.
const MAX_EVENTS: usize = 1000;

/// Lines that were short and are named; of more, only how many.
const MAX_SHORT_LINES: usize = 10;

/// `explain`: an `ExplainRequest` is answered with an `ExplainResponse`.
pub async fn explain(ledger: Ledger<Orders>, call: Call) -> Result<Bytes, Refusal> {
    let request: ExplainRequest = refusal::read(&call)?;
    let order_id = read_id(&request.order_id)?;
    let answer = ledger.query(move |tx| match store::story(tx, &call.shop, order_id, 0, MAX_EVENTS)? {
        Some(story) => explanation(&story),
        None => Ok(unheard()),
    });
    let explanation = answer.await.map_err(|error| refusal::not_read(Source::Orders, &error))?;
    Ok(ExplainResponse { explanation: Some(explanation) }.encode_to_vec().into())
}

fn unheard() -> LedgerExplanation {
    LedgerExplanation {
        ledger: Source::Orders.name().to_owned(),
        summary: "Orders has not heard of this order yet.".to_owned(),
        next_step: "orders hears from the gateway that it was placed".to_owned(),
        ..LedgerExplanation::default()
    }
}

/// What the history says of how it came so.
#[derive(Default)]
struct Past {
    short_lines: Vec<v1::ShortLine>,
    decline: Option<v1::PaymentDeclined>,
    refused_refund: Option<v1::RefundFailed>,
    ended: Option<Timestamp>,
}

fn past(story: &Story) -> Result<Past, StoreError> {
    let mut past = Past::default();
    for (_, raw) in &story.events {
        let event = envelope::read(raw.clone()).map_err(|bad| view::unreadable(&bad.problem))?;
        let Some(kind) = event.kind() else { continue };
        if kind == EventKind::StockRefused {
            past.short_lines = read::<v1::StockRefused>(&event.payload)?.short_lines;
        } else if kind == EventKind::PaymentDeclined {
            past.decline = Some(read(&event.payload)?);
        } else if kind == EventKind::RefundFailed {
            past.refused_refund = Some(read(&event.payload)?);
        } else if [EventKind::OrderConfirmed, EventKind::OrderRejected, EventKind::OrderCancelled].contains(&kind) {
            past.ended = Some(event.time);
        }
    }
    Ok(past)
}

fn read<T: Message + Default>(payload: &Bytes) -> Result<T, StoreError> {
    T::decode(payload.clone()).map_err(|error| view::unreadable(&error.to_string()))
}

fn explanation(story: &Story) -> Result<LedgerExplanation, StoreError> {
    let (order, past) = (&story.shown.order, past(story)?);
    let mut told = LedgerExplanation {
        ledger: Source::Orders.name().to_owned(),
        knows_order: true,
        state: order.state.name().to_owned(),
        ..LedgerExplanation::default()
    };
    match order.state {
        State::Pending => pending(order, &mut told),
        State::Confirmed => {
            told.summary = format!("{} Its units are sold to the customer.", ended("It was paid and confirmed", &past));
            tell_refunds(order, &past, &mut told);
        }
        State::Rejected => {
            told.summary = rejected(order.reason, &past);
            tell_refunds(order, &past, &mut told);
        }
    }
    Ok(told)
}

fn pending(order: &Order, told: &mut LedgerExplanation) {
    let Some(waiting) = view::waiting(order) else { return };
    told.waiting_since = waiting.since;
    told.summary = format!("It is undecided: {}.", waiting.detail);
    told.next_step = match waiting.kind() {
        api::waiting::Kind::Stock => "inventory holds all of its lines, or refuses them".to_owned(),
        api::waiting::Kind::Payment => {
            "payments tells that the money is there, or that the charge was declined".to_owned()
        }
        api::waiting::Kind::Unspecified => String::new(),
    };
}

/// "It was paid and confirmed at 2026-11-21T10:29:32Z."
fn ended(how: &str, past: &Past) -> String {
    match past.ended {
        Some(at) => format!("{how} at {at:.0}."),
        None => format!("{how}."),
    }
}

fn rejected(reason: Reason, past: &Past) -> String {
    match reason {
        Reason::OutOfStock if past.short_lines.is_empty() => {
            format!("{} Nothing was charged.", ended("It was rejected because its lines could not be held", past))
        }
        Reason::OutOfStock => {
            let rejected = ended("It was rejected because there was not enough in stock", past);
            format!("{rejected} Short: {}. Nothing was held and nothing was charged.", short(&past.short_lines))
        }
        Reason::PaymentDeclined => {
            let rejected = ended("It was rejected because the payment provider declined the charge", past);
            format!("{rejected}{} No money is kept, and its units go back into stock.", code(past))
        }
        Reason::ActionRequired => {
            let rejected = ended(
                "It was rejected because the payment provider wants the customer to confirm the charge, which this \
                 order could not wait for",
                past,
            );
            format!("{rejected}{} Nothing was charged, and its units go back into stock.", code(past))
        }
        Reason::Deadline => ended("It was still undecided at its deadline and was given up", past),
        Reason::Requested => ended("It was ended because the client asked for it", past),
        Reason::Unspecified => ended("It was rejected", past),
    }
}

fn code(past: &Past) -> String {
    let named = past.decline.as_ref().filter(|decline| !decline.code.is_empty());
    named.map(|decline| format!(" Its code: {}.", decline.code)).unwrap_or_default()
}

fn short(lines: &[v1::ShortLine]) -> String {
    let named = lines.iter().take(MAX_SHORT_LINES);
    let named = named.map(|line| format!("{} ({} ordered, {} available)", line.sku, line.wanted, line.available));
    let mut named: Vec<String> = named.collect();
    if let Some(more @ 1..) = lines.len().checked_sub(MAX_SHORT_LINES) {
        named.push(format!("and {more} more"));
    }
    named.join(", ")
}

fn tell_refunds(order: &Order, past: &Past, told: &mut LedgerExplanation) {
    if let Some(total) = order.total.filter(|_| order.refunded_minor > 0) {
        let refunded = spillway_proto::Money::new(order.refunded_minor, total.currency);
        told.summary += &format!(" {refunded} went back to the customer.");
    }
    if let Some(refused) = &past.refused_refund {
        told.last_problem = format!("the payment provider refused a refund ({})", refused.code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_short_lines_the_first_are_named() {
        let line = |n: usize| v1::ShortLine { sku: format!("s{n}"), wanted: 2, available: 1 };
        let lines: Vec<_> = (0..12).map(line).collect();
        assert!(short(&lines).ends_with("s9 (2 ordered, 1 available), and 2 more"), "{}", short(&lines));
        assert!(short(&lines[..10]).ends_with("s9 (2 ordered, 1 available)"));
    }
}
