//! What inventory knows of an order's trace beside its hold: what became of it.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::{Call, Refusal, TraceRequest, TraceResponse};
use spillway_proto::pb::ops::{TraceSpan, trace_span::Kind};
use spillway_proto::time;
use spillway_proto::trace::step_span;
use spillway_proto::{EventId, EventKind, Ledger as Source, OrderId, Subject};
use spillway_shared::bus::refusal::{self, Code};
use spillway_shared::ledger::Ledger;

use crate::domain::HoldState;
use crate::service::Inventory;
use crate::store::{self, HoldRow};

/// `trace`: a `TraceRequest` is answered with a `TraceResponse`.
pub async fn trace(ledger: Ledger<Inventory>, call: Call) -> Result<Bytes, Refusal> {
    let request: TraceRequest = refusal::read(&call)?;
    let order_id: OrderId = (request.order_id.parse())
        .map_err(|_| refusal::new(Code::InvalidArgument, "INVALID_ORDER_ID", "an order's id is a UUID"))?;
    let hold = ledger.query(move |tx| store::hold(tx, &call.shop, order_id)).await;
    let hold = hold.map_err(|error| refusal::not_read(Source::Inventory, &error))?;
    let spans = hold.as_ref().and_then(ended).into_iter().collect();
    Ok(TraceResponse { spans }.encode_to_vec().into())
}

/// The step that ended the hold. When it began only orders knows, who said why.
fn ended(row: &HoldRow) -> Option<TraceSpan> {
    let (cause, name) = match row.hold.state {
        HoldState::Sold => (EventKind::OrderConfirmed, "order.confirmed: the units are sold"),
        HoldState::Released => (EventKind::OrderRejected, "order.rejected: the units go back into stock"),
        HoldState::Held | HoldState::Refused | HoldState::Tombstone => return None,
    };
    let cause = EventId::of(&row.shop, &Subject::Order(row.order_id), cause, "");
    let ended = Some(time::to_wire(time::from_micros(row.update_us)));
    Some(TraceSpan {
        span_id: format!("{:016x}", step_span(Source::Inventory, cause)),
        ledger: Source::Inventory.name().to_owned(),
        kind: Kind::Step.into(),
        name: name.to_owned(),
        start_time: ended,
        end_time: ended,
        ..TraceSpan::default()
    })
}
