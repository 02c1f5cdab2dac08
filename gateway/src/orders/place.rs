//! PlaceOrder: accepted is committed.

use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use spillway_proto::pb::events::OrderPlaced;
use spillway_proto::pb::orders::Order;
use spillway_proto::time::Timestamp;
use spillway_proto::trace::{self, Part, part_span};
use spillway_proto::{Event, NewEvent, OrderId, TraceContext};
use spillway_shared::grpc::CallError;
use spillway_shared::ledger::Ledger;
use spillway_shared::steps::step;
use spillway_shared::telemetry::Span;
use tonic::Status;

use super::Orders;
use crate::intake::{self, Accept, Answer, Intake};
use crate::validate::Placement;
use crate::{caller, refusal, view};

/// How long a retry waits to hear how its order stands by now. After it, it is answered as it was at first.
const STATE_WITHIN: Duration = Duration::from_millis(300);

impl Orders {
    /// The order that the request stands for: a new one, or the one it was accepted as before.
    pub(super) async fn place(&self, placement: Placement, extensions: &Extensions) -> Result<Order, Status> {
        if placement.validate_only {
            let content = OrderPlaced { request_id: placement.request_id.to_string(), ..placement.content };
            return Ok(view::checked(content));
        }
        self.admission.admit(extensions, &placement.content.customer_id)?;
        let intake = &self.reading.intake;
        let traceparent = caller::traceparent(extensions).to_owned();
        let (at, random) = (intake.now(), rand::random());
        let accept = Accept::new(placement, &self.shop, traceparent, at, self.reading.partitions, random);
        let (order_id, event) = (accept.order_id(), accept.event());
        step("gateway.before_tx");
        let answer = match self.door.admit().and_then(|()| self.budget.admit()) {
            Ok(()) => {
                let taken = intake.try_command(accept.waiting(self.admission.wait())).await;
                tell_commit(intake, extensions, at);
                taken.map_err(refusal::not_taken)?
            }
            Err(closed) => self.known(accept).await?.ok_or(closed)?,
        };
        step("gateway.after_commit");
        match answer {
            Answer::Accepted { at } => view_of(order_id, event, at),
            Answer::Repeated { order_id, at } => self.as_it_stands(order_id, event, at, extensions).await,
            Answer::Reused { order_id } => {
                let request_id = placed(event)?.request_id;
                Err(refusal::request_id_reused(&request_id, order_id).into())
            }
        }
    }

    /// A retry is answered also while nothing new is accepted.
    async fn known(&self, accept: Accept) -> Result<Option<Answer>, CallError> {
        let query = self.reading.intake.query(move |tx| {
            let entry = intake::by_request(tx, accept.shop(), accept.request_id())?;
            Ok(entry.map(|entry| accept.compare(entry.order_id, &entry.fingerprint, entry.create_time)))
        });
        query.await.map_err(refusal::not_read)
    }

    async fn as_it_stands(
        &self,
        order_id: OrderId,
        event: Arc<NewEvent>,
        at: Timestamp,
        extensions: &Extensions,
    ) -> Result<Order, Status> {
        let caller = caller::of_call(extensions, STATE_WITHIN);
        match self.reading.ask_orders(&caller, order_id, 0, 0).await.map(|history| history.order) {
            Ok(Some(order)) => Ok(order),
            // The same content was accepted then.
            Ok(None) | Err(_) => view_of(order_id, event, at),
        }
    }
}

/// The wait for the commit, and the commit, as a span of the call.
fn tell_commit(intake: &Ledger<Intake>, extensions: &Extensions, from: Timestamp) {
    let traceparent = caller::traceparent(extensions);
    if trace::is_sampled(traceparent)
        && let Some(call) = TraceContext::parse(traceparent)
    {
        let here = call.at(part_span(call.span_id, Part::Commit));
        intake.tracer().end(Span::new(here, "commit", from, intake.now()).under(call));
    }
}

fn view_of(order_id: OrderId, event: Arc<NewEvent>, at: Timestamp) -> Result<Order, Status> {
    Ok(view::accepted(order_id, placed(event)?, at))
}

/// After the commit the ledger has let go of the event, so that nothing is copied.
fn placed(event: Arc<NewEvent>) -> Result<OrderPlaced, Status> {
    let Event::OrderPlaced(placed) = Arc::unwrap_or_clone(event).event else {
        return Err(CallError::internal("an accept says something else than OrderPlaced").into());
    };
    Ok(placed)
}
