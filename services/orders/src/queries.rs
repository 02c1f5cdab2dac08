//! What orders tells when asked: an order with its history, a page of orders.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::{self, Call, Refusal};
use spillway_proto::pb::ops;
use spillway_proto::pb::orders as api;
use spillway_proto::time;
use spillway_proto::{Ledger as Source, OrderId};
use spillway_shared::bus::refusal::{self, Code};
use spillway_shared::ledger::Ledger;

use crate::service::Orders;
use crate::store::{self, PageFilter};
use crate::view;

/// Bytes of one answer, well under the `max_payload` of 1 MiB. The largest order is a tenth of it.
const ANSWER_BYTES: usize = 512 << 10;

/// Events and orders in one answer, at most.
const MAX_EVENTS: usize = 1000;
const MAX_ORDERS: usize = 500;

/// The id of an order is made when it is taken, its time is that of the commit: at most so long after. Orders are looked
/// for by id from so much earlier on, and then by their time.
const COMMIT_WAIT_US: i64 = 10_000_000;

/// `history`: a `HistoryRequest` is answered with a `HistoryResponse`. Fewer events than asked for may come, but at least
/// one where there is one: the order's version tells whether there are more.
pub async fn history(ledger: Ledger<Orders>, call: Call) -> Result<Bytes, Refusal> {
    let request: internal::HistoryRequest = refusal::read(&call)?;
    let order_id = read_id(&request.order_id)?;
    let limit = usize::try_from(request.limit).unwrap_or(0).min(MAX_EVENTS);
    let answer = ledger.query(move |tx| {
        let Some(story) = store::story(tx, &call.shop, order_id, request.after, limit)? else {
            return Ok(internal::HistoryResponse::default());
        };
        let order = view::order(story.shown)?;
        let mut bytes = order.encoded_len();
        let mut events = Vec::with_capacity(story.events.len());
        for (version, raw) in story.events {
            let event = view::event(version, raw)?;
            bytes += event.encoded_len();
            if bytes > ANSWER_BYTES && !events.is_empty() {
                break;
            }
            events.push(event);
        }
        Ok(internal::HistoryResponse { order: Some(order), events })
    });
    let answer = answer.await.map_err(|error| refusal::not_read(Source::Orders, &error))?;
    Ok(answer.encode_to_vec().into())
}

pub(crate) fn read_id(text: &str) -> Result<OrderId, Refusal> {
    text.parse().map_err(|_| refusal::new(Code::InvalidArgument, "INVALID_ORDER_ID", "an order's id is a UUID"))
}

/// `list`: an `OrdersPageRequest` is answered with an `OrdersPageResponse`. Fewer orders than asked for may come, but at
/// least one where there is one: `more` tells.
pub async fn list(ledger: Ledger<Orders>, call: Call) -> Result<Bytes, Refusal> {
    let request: internal::OrdersPageRequest = refusal::read(&call)?;
    let filter = page_filter(call.shop, &request)?;
    let limit = usize::try_from(request.limit).unwrap_or(0).clamp(1, MAX_ORDERS);
    // Before the view of the query is taken: whatever is committed by now is in it.
    let as_of = ledger.now();
    let answer = ledger.query(move |tx| {
        let (mut orders, mut bytes, mut more) = (Vec::new(), 0, false);
        store::page(tx, &filter, limit + 1, |shown| {
            let order = view::order(shown)?;
            bytes += order.encoded_len();
            more = orders.len() == limit || (bytes > ANSWER_BYTES && !orders.is_empty());
            if !more {
                orders.push(order);
            }
            Ok(!more)
        })?;
        Ok(internal::OrdersPageResponse { orders, as_of_us: time::to_micros(as_of), more })
    });
    let answer = answer.await.map_err(|error| refusal::not_read(Source::Orders, &error))?;
    Ok(answer.encode_to_vec().into())
}

/// `oldest_waiting`: an `OldestWaitingRequest` is answered with an `OldestWaitingResponse`.
pub async fn oldest_waiting(ledger: Ledger<Orders>, call: Call) -> Result<Bytes, Refusal> {
    let found = ledger.query(move |tx| store::oldest_waiting(tx, &call.shop)).await;
    let order = found.map_err(|error| refusal::not_read(Source::Orders, &error))?.map(|(order_id, create_us)| {
        let create_time = Some(time::to_wire(time::from_micros(create_us)));
        ops::WaitingOrder { order_id: order_id.to_string(), create_time }
    });
    Ok(internal::OldestWaitingResponse { order }.encode_to_vec().into())
}

fn page_filter(shop: String, request: &internal::OrdersPageRequest) -> Result<PageFilter, Refusal> {
    let (from, before) = (request.created_from_us, request.created_before_us);
    let from_us = if from == 0 { i64::MIN } else { from };
    let before_us = if before == 0 { i64::MAX } else { before };
    let lowest = if from == 0 { [0; 16] } else { floor(from.saturating_sub(COMMIT_WAIT_US)) };
    let mut below = if before == 0 { [0xff; 16] } else { floor(before.saturating_add(1000)) };
    if !request.before_order_id.is_empty() {
        below = below.min(*read_id(&request.before_order_id)?.as_bytes());
    }
    let customer_id = Some(request.customer_id.clone()).filter(|customer_id| !customer_id.is_empty());
    let state = match api::order::State::try_from(request.state) {
        Ok(api::order::State::Unspecified) => None,
        Ok(state) => Some(state.as_str_name().trim_start_matches("STATE_").to_owned()),
        Err(_) => {
            let message = "this version knows no such state";
            return Err(refusal::new(Code::InvalidArgument, "UNKNOWN_STATE", message));
        }
    };
    Ok(PageFilter { shop, customer_id, state, created_us: (from_us, before_us), order_ids: (lowest, below) })
}

/// The lowest id of an order of this time. There are none of a time before 1970.
fn floor(micros: i64) -> [u8; 16] {
    *OrderId::floor(time::from_micros(micros.max(0))).as_bytes()
}
