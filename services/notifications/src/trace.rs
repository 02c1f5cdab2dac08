//! What notifications knows of an order's trace: who was told of it, and when.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::{Call, Refusal, TraceRequest, TraceResponse};
use spillway_proto::pb::ops::{TraceSpan, trace_span::Kind};
use spillway_proto::time;
use spillway_proto::trace::{Part, part_span, step_span};
use spillway_proto::{Ledger as Source, OrderId};
use spillway_shared::bus::refusal::{self, Code};
use spillway_shared::ledger::Ledger;

use crate::domain::{Key, State};
use crate::service::Notifications;
use crate::store::{self, Stored};

/// `trace`: a `TraceRequest` is answered with a `TraceResponse`.
pub async fn trace(ledger: Ledger<Notifications>, call: Call) -> Result<Bytes, Refusal> {
    let request: TraceRequest = refusal::read(&call)?;
    let order_id: OrderId = (request.order_id.parse())
        .map_err(|_| refusal::new(Code::InvalidArgument, "INVALID_ORDER_ID", "an order's id is a UUID"))?;
    let stored = ledger.query(move |tx| store::of_order(tx, &call.shop, order_id)).await;
    let stored = stored.map_err(|error| refusal::not_read(Source::Notifications, &error))?;
    let spans = stored.iter().map(|(key, stored)| span(key, stored)).collect();
    Ok(TraceResponse { spans }.encode_to_vec().into())
}

fn span(key: &Key, stored: &Stored) -> TraceSpan {
    let step = step_span(Source::Notifications, key.event);
    let delivery = &stored.delivery;
    let tries = match delivery.attempt {
        0 | 1 => String::new(),
        tries => format!(", {tries} tries"),
    };
    let (kind, name, outcome) = match delivery.state {
        State::Pending => (Kind::Wait, "mail waits", format!("try {} comes next", delivery.attempt.max(1))),
        State::Sent => (Kind::Call, "mail", format!("handed over{tries}")),
        State::Failed => (Kind::Call, "mail", delivery.error.clone().unwrap_or_default()),
    };
    TraceSpan {
        span_id: format!("{:016x}", part_span(step, Part::Call(0))),
        // Who is told of an event took it: the event is the parent, by its id.
        parent_span_id: format!("{step:016x}"),
        ledger: Source::Notifications.name().to_owned(),
        kind: kind.into(),
        name: name.to_owned(),
        start_time: Some(time::to_wire(delivery.told_at)),
        end_time: delivery.ended_at.map(time::to_wire),
        outcome,
        failed: delivery.state == State::Failed || (delivery.state == State::Pending && delivery.attempt > 1),
        ..TraceSpan::default()
    }
}
