//! An order and its events, as clients see them.

use prost::Message;
use spillway_proto::Money;
use spillway_proto::envelope;
use spillway_proto::pb::{events as v1, orders as api};
use spillway_proto::time;
use spillway_shared::ledger::StoreError;

use crate::domain::{Facts, Order, State};
use crate::store::Shown;

/// As it is answered.
pub fn order(shown: Shown) -> Result<api::Order, StoreError> {
    let Shown { order_id, order, placed } = shown;
    let placed = placed.map(read_placed).transpose()?.unwrap_or_default();
    let refunded = order.total.map(|total| Money::new(order.refunded_minor, total.currency).to_wire());
    Ok(api::Order {
        order_id: order_id.to_string(),
        request_id: placed.request_id,
        customer_id: placed.customer_id,
        lines: placed.lines,
        total: placed.total,
        state: state(order.state).into(),
        reason: order.reason.into(),
        waiting: waiting(&order),
        refunded,
        version: order.version,
        create_time: Some(time::to_wire(order.created)),
        update_time: Some(time::to_wire(order.updated)),
        labels: placed.labels,
    })
}

fn read_placed(raw: bytes::Bytes) -> Result<v1::OrderPlaced, StoreError> {
    let event = envelope::read(raw).map_err(|bad| unreadable(&bad.problem))?;
    v1::OrderPlaced::decode(event.payload).map_err(|error| unreadable(&error.to_string()))
}

pub fn unreadable(problem: &str) -> StoreError {
    StoreError::Statement(format!("an event in the history cannot be read: {problem}"))
}

fn state(state: State) -> api::order::State {
    match state {
        State::Pending => api::order::State::Pending,
        State::Confirmed => api::order::State::Confirmed,
        State::Rejected => api::order::State::Rejected,
    }
}

/// Worked out when asked; only a pending order waits.
pub fn waiting(order: &Order) -> Option<api::Waiting> {
    if order.state.is_finished() {
        return None;
    }
    let (kind, since, detail) = match (order.held, order.deferred_since) {
        (None, None) => {
            let detail = "inventory has neither held nor refused the lines yet".to_owned();
            (api::waiting::Kind::Stock, order.created, detail)
        }
        (Some(held), None) => {
            let detail = "the lines are held, the charge has not come to an end yet".to_owned();
            (api::waiting::Kind::Payment, held, detail)
        }
        (held, Some(since)) => {
            // Orders hears when an outage begins, not when it ends: only what stays true after it is said.
            let detail = format!(
                "the payment provider stopped answering at {since:.0}; the order keeps its stock, and the charge \
                 is made by itself once the provider answers"
            );
            (api::waiting::Kind::Payment, held.unwrap_or(since), detail)
        }
    };
    debug_assert!(!order.facts.has(Facts::PLACED | Facts::CAPTURED), "it would be confirmed");
    let since = Some(time::to_wire(since));
    Some(api::Waiting { kind: kind.into(), since, expected: None, detail })
}

/// One event of the history, as it is answered: read from the bytes that were said, the payload untouched.
pub fn event(version: i64, raw: bytes::Bytes) -> Result<api::OrderEvent, StoreError> {
    let event = envelope::read(raw).map_err(|bad| unreadable(&bad.problem))?;
    // A newer build may have recorded a type that this one does not know: it is named, its payload is not.
    let type_url = event.kind().map(|kind| kind.type_url().to_owned());
    Ok(api::OrderEvent {
        version,
        id: event.id.to_string(),
        r#type: event.type_name,
        source: event.source,
        time: Some(time::to_wire(event.time)),
        traceparent: event.traceparent,
        data: type_url.map(|type_url| prost_types::Any { type_url, value: event.payload.to_vec() }),
    })
}
