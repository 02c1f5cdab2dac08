//! ListOrderEvents.

use spillway_proto::pb::orders::{ListOrderEventsRequest, ListOrderEventsResponse};
use spillway_shared::bus::Caller;
use tonic::Status;

use crate::reading::{Found, Reading};
use crate::token::Question;
use crate::validate;

/// A page of what happened to an order. Of an order that only the gateway knows, nothing is known to have happened.
pub(super) async fn list(
    reading: &Reading,
    caller: &Caller,
    request: &ListOrderEventsRequest,
) -> Result<ListOrderEventsResponse, Status> {
    let (order_id, size) = validate::events_page(request)?;
    let question = Question::new("ListOrderEvents", &caller.shop, &[order_id.as_bytes()]);
    let read = |position: &[u8]| position.try_into().ok().map(i64::from_be_bytes).filter(|version| *version > 0);
    let after = question.position(&request.page_token, read)?.unwrap_or(0);
    match reading.find(caller, order_id, after, size).await? {
        Found::Accepted { .. } => Ok(ListOrderEventsResponse::default()),
        Found::Known { order, events } => {
            let last = events.last().filter(|last| last.version < order.version);
            let next_page_token = last.map(|last| question.token(&last.version.to_be_bytes())).unwrap_or_default();
            Ok(ListOrderEventsResponse { events, next_page_token })
        }
    }
}
