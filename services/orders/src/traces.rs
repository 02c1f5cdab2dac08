//! Traces told from the record: what became of an order before anybody knew that its trace was worth keeping.
//!
//! A ledger may raise the decision of the sampler for an order that waits, fails, is dead-lettered or handed in again. What
//! was done before then was exported by nobody; orders keeps every event as it was said, and the spans follow from those, each with
//! the id that its ledger would have given it. A step is told here if and only if its cause was said unsampled.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use spillway_proto::trace::{Cause, Said, Step, steps};
use spillway_proto::{Ledger as Source, OrderId, TraceContext, envelope, ledgers};
use spillway_shared::bus::Bus;
use spillway_shared::ledger::{Ledger, Recorded};
use spillway_shared::telemetry::{Span, SpanKind, attribute as attr};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::service::Orders;
use crate::store;

/// The method that placed it.
const PLACE_ORDER: &str = "spillway.orders.v1.OrderService/PlaceOrder";

/// What was raised before it is heard of here (inventory cannot take the first event of an order, and is faster) waits for
/// it; so long, and so many at most.
const UNHEARD_FOR: Duration = Duration::from_secs(60);
const UNHEARD: usize = 256;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Exports what commits left to be told from the record, until `stop`.
pub async fn tell(ledger: Ledger<Orders>, stop: CancellationToken) {
    if !ledger.tracer().is_on() {
        return;
    }
    let mut recorded = ledger.recorded();
    loop {
        let told = tokio::select! {
            told = recorded.recv() => told,
            () = stop.cancelled() => return,
        };
        match told {
            Ok(told) => {
                for of_one in told.iter() {
                    tell_one(&ledger, *of_one).await;
                }
            }
            Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "traces were not told from the record"),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn tell_one(ledger: &Ledger<Orders>, (order, before, after): Recorded) {
    let Some(order) = OrderId::from_bytes(&order) else { return };
    match ledger.query(move |tx| store::history(tx, order, after)).await {
        Ok(history) => {
            let history: Vec<(i64, Said)> = history
                .into_iter()
                .filter_map(|(version, raw)| Some((version, Said::of(&envelope::read(raw).ok()?)?)))
                .collect();
            for step in unexported(&history, before) {
                ledger.tracer().end(span_of(&step, order));
            }
        }
        Err(error) => tracing::debug!(%order, %error, "a trace was not told from the record"),
    }
}

/// The steps that a history shows and that nobody exported, but for those that it showed up to this version already.
fn unexported(history: &[(i64, Said)], before: i64) -> Vec<Step> {
    let of = |versions: &dyn Fn(i64) -> bool| {
        let said: Vec<Said> =
            history.iter().filter(|(version, _)| versions(*version)).map(|(_, said)| said.clone()).collect();
        // A step whose cause is not heard yet is told once it is.
        let is_whole = |step: &Step| step.cause != Cause::Outside || step.ledger == Source::Gateway;
        steps(&said).into_iter().filter(|step| step.is_unexported() && is_whole(step)).collect::<Vec<Step>>()
    };
    let told: BTreeSet<TraceContext> =
        of(&|version| version <= before).iter().map(|step| step.context.sampled(true)).collect();
    of(&|_| true).into_iter().filter(|step| !told.contains(&step.context.sampled(true))).collect()
}

/// The span that the step's own ledger would have exported, as far as the record knows it.
fn span_of(step: &Step, order: OrderId) -> Span {
    let said: Vec<&str> = step.said.iter().map(|said| said.type_name.as_str()).collect();
    let context = step.context.sampled(true);
    let span = match &step.cause {
        Cause::Outside => Span::new(context, PLACE_ORDER, step.began(), step.ended())
            .kind(SpanKind::Server)
            .with(attr::RPC_SYSTEM_NAME, "grpc")
            .with(attr::RPC_METHOD, PLACE_ORDER)
            .with(attr::RPC_RESPONSE_STATUS_CODE, "OK"),
        Cause::Took(cause) => {
            let stream = ledgers::stream(cause.source, order.partition());
            Span::new(context, format!("process {stream}"), step.began(), step.ended())
                .under(cause.context)
                .kind(SpanKind::Consumer)
                .with(attr::MESSAGING_SYSTEM, "nats")
                .with(attr::MESSAGING_OPERATION_NAME, "process")
                .with(attr::MESSAGING_OPERATION_TYPE, "process")
                .with(attr::MESSAGING_DESTINATION_NAME, stream)
                .with(attr::MESSAGING_MESSAGE_ID, cause.id.to_string())
                .with("spillway.event.type", cause.type_name.clone())
        }
    };
    span.of(step.ledger)
        .with(attr::MESSAGING_MESSAGE_CONVERSATION_ID, order.to_string())
        .with("spillway.from_record", true)
        .with("spillway.said", said.join(","))
}

/// Hears which orders other ledgers have raised, until `stop`: what they say next may never come here.
pub async fn hear_raised(ledger: Ledger<Orders>, bus: Bus, stop: CancellationToken) {
    if !ledger.tracer().is_on() {
        return;
    }
    let partition = ledger.identity().id.partition;
    let mut raised = bus.raised(partition);
    let mut unheard: VecDeque<(Instant, OrderId)> = VecDeque::new();
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let told = tokio::select! {
            order = raised.next() => vec![(Instant::now(), order)],
            _ = look.tick(), if !unheard.is_empty() => unheard.drain(..).collect(),
            () = stop.cancelled() => return,
        };
        for (since, order) in told {
            let is_taken = take_to_heart(&ledger, order).await;
            if !is_taken && since.elapsed() < UNHEARD_FOR && unheard.len() < UNHEARD {
                unheard.push_back((since, order));
            }
        }
    }
}

/// False where it was not heard of yet.
async fn take_to_heart(ledger: &Ledger<Orders>, order: OrderId) -> bool {
    if let Ok(false) = ledger.query(move |tx| store::is_known(tx, order)).await {
        return false;
    }
    let taken = ledger.act(move |tx, says, _at| {
        if let Some(version) = store::trace(tx, order)? {
            says.recorded(*order.as_bytes(), 0, version);
        }
        Ok(())
    });
    if let Err(error) = taken.await {
        tracing::debug!(%order, %error, "a raised trace was not taken to heart");
    }
    true
}

#[cfg(test)]
mod tests {
    use spillway_proto::EventId;
    use spillway_proto::time;
    use spillway_proto::trace::step_span;
    use uuid::Uuid;

    use super::*;

    fn said(id: u128, source: Source, cause: Option<&Said>, is_sampled: bool) -> Said {
        let id = EventId(Uuid::from_u128(id));
        let context = match cause {
            Some(cause) => cause.context.at(step_span(source, cause.id)),
            None => TraceContext::new(7, 9, false),
        };
        let at = time::from_micros(id.0.as_u128() as i64);
        Said { id, type_name: String::new(), source, at, context: context.sampled(is_sampled) }
    }

    fn ledgers(steps: &[Step]) -> Vec<Source> {
        steps.iter().map(|step| step.ledger).collect()
    }

    #[test]
    fn what_was_not_sampled_is_told_once_and_only_when_its_cause_is_known() {
        let placed = said(1, Source::Gateway, None, false);
        let held = said(2, Source::Inventory, Some(&placed), false);
        // Payments raised it on the way, or later: its own step began unsampled.
        let deferred = said(3, Source::Payments, Some(&held), true);
        let captured = said(4, Source::Payments, Some(&held), true);
        let confirmed = said(5, Source::Orders, Some(&captured), true);
        let in_order = [(1, placed.clone()), (2, held.clone()), (3, deferred.clone())];
        assert_eq!(ledgers(&unexported(&in_order, 0)), [Source::Gateway, Source::Inventory, Source::Payments]);
        let more = [(1, placed.clone()), (2, held.clone()), (3, deferred.clone()), (4, captured), (5, confirmed)];
        assert_eq!(ledgers(&unexported(&more, 3)), [], "what followed sampled events is told by those who did it");
        let late = [(1, placed), (2, deferred)];
        assert_eq!(ledgers(&unexported(&late, 0)), [Source::Gateway]);
        let came = [late[0].clone(), late[1].clone(), (3, held)];
        assert_eq!(ledgers(&unexported(&came, 2)), [Source::Inventory, Source::Payments]);
    }

    #[test]
    fn of_a_trace_that_was_sampled_from_the_start_nothing_is_told_twice() {
        let placed = said(1, Source::Gateway, None, true);
        let held = said(2, Source::Inventory, Some(&placed), true);
        assert_eq!(ledgers(&unexported(&[(1, placed), (2, held)], 0)), []);
    }
}
