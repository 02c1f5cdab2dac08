//! What payments knows of an order's trace beside what it said: waits and calls.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::{Call, Refusal, TraceRequest, TraceResponse};
use spillway_proto::pb::ops::{TraceSpan, trace_span::Kind};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::trace::{Part, part_span, step_span};
use spillway_proto::{EventId, EventKind, Ledger as Role, Subject};
use spillway_shared::bus::refusal;
use spillway_shared::ledger::Ledger;

use crate::desk::read_order;
use crate::domain::{Payment, Purpose, State};
use crate::service::Payments;
use crate::store::{self, Due, Recorded};

/// `trace`: a `TraceRequest` is answered with a `TraceResponse`.
pub async fn trace(ledger: Ledger<Payments>, call: Call) -> Result<Bytes, Refusal> {
    let request: TraceRequest = refusal::read(&call)?;
    let order = read_order(&request.order_id)?;
    let found = ledger.query(move |tx| {
        let Some(payment) = store::find(tx, order)?.filter(|payment| payment.shop == call.shop) else {
            return Ok(None);
        };
        let (due, answers) = (store::due(tx, &payment)?, store::answers(tx, order)?);
        Ok(Some((payment, due, answers)))
    });
    let found = found.await.map_err(|error| refusal::not_read(Role::Payments, &error))?;
    let spans = found.map(|(payment, due, answers)| spans(&payment, due.as_ref(), &answers)).unwrap_or_default();
    Ok(TraceResponse { spans }.encode_to_vec().into())
}

/// The wait and the calls of the charge, and of its way back. Tries that settled nothing leave no row: the wait until
/// the answer shows them.
fn spans(payment: &Payment, due: Option<&Due>, answers: &[Recorded]) -> Vec<TraceSpan> {
    let subject = Subject::Order(payment.order);
    let held = EventId::of(&payment.shop, &subject, EventKind::StockHeld, "");
    let step = step_span(Role::Payments, held);
    let mut spans = Vec::new();
    let mut add = |kind: Kind, name: String, from: Timestamp, until: Option<Timestamp>| {
        let nth = i64::try_from(spans.len()).unwrap_or(i64::MAX);
        let span = TraceSpan {
            span_id: format!("{:016x}", part_span(step, Part::Wait(nth))),
            parent_span_id: format!("{step:016x}"),
            ledger: Role::Payments.name().to_owned(),
            kind: kind.into(),
            name,
            start_time: Some(time::to_wire(from)),
            end_time: until.map(time::to_wire),
            ..TraceSpan::default()
        };
        spans.push(span);
        spans.len() - 1
    };
    let mut since = payment.created;
    let mut told = Vec::new();
    for answer in answers {
        let is_charge = payment.charge_id().is_some_and(|id| id.as_bytes()[..] == answer.charge_id[..]);
        let name = if is_charge { "provider: charge" } else { "provider: refund" };
        let nth = add(Kind::Call, name.to_owned(), since, Some(answer.at));
        let outcome = match &answer.code {
            Some(code) => format!("{} ({code})", answer.outcome.to_lowercase()),
            None => answer.outcome.to_lowercase(),
        };
        told.push((nth, outcome, answer.outcome != "APPROVED" && answer.outcome != "PENDING"));
        since = answer.at;
    }
    if let Some(due) = due {
        let what = match due.task.purpose {
            Purpose::Charge => "charge",
            Purpose::Compensate => "refund",
        };
        let nth = add(Kind::Wait, format!("waits to {what}, try {}", due.tries), since, None);
        told.push((nth, format!("next at {:.0}", due.at), due.tries > 1));
    } else if payment.state == State::Parked {
        let nth = add(Kind::Wait, "waits for a human".to_owned(), payment.updated, None);
        told.push((nth, payment.reason.map(|reason| reason.name().to_owned()).unwrap_or_default(), true));
    }
    if let Some(outage) = payment.deferred {
        let until = answers.first().map(|answer| answer.at);
        let nth = add(Kind::Wait, "waits for the provider (breaker)".to_owned(), outage.max(payment.created), until);
        told.push((nth, format!("it stopped answering at {outage:.0}"), true));
    }
    for (nth, outcome, failed) in told {
        let span: &mut TraceSpan = &mut spans[nth];
        (span.outcome, span.failed) = (outcome, failed);
    }
    spans
}
