//! TraceService, for operators: how an order went through the ledgers, from their own record.

mod compose;

use std::time::Duration;

use spillway_proto::pb::internal::{HistoryRequest, HistoryResponse, TraceRequest, TraceResponse};
use spillway_proto::pb::ops::trace_service_server::TraceService;
use spillway_proto::pb::ops::{GetOrderTraceRequest, GetOrderTraceResponse};
use spillway_proto::{Ledger as Source, OrderId};
use spillway_shared::bus::{Bus, Caller};
use spillway_shared::grpc::CallError;
use tonic::{Request, Response, Status};

use crate::refusal::{self, Asked};
use crate::{answer, caller, validate};

/// Who knows more of an order than what it said.
const ASKED: [Source; 3] = [Source::Inventory, Source::Payments, Source::Notifications];

/// Events that a trace is made of, at most.
const EVENTS: i32 = 1000;

/// The service behind its door.
pub struct Traces {
    pub bus: Bus,
    pub partitions: u16,
    /// How long another ledger is waited for.
    pub call_timeout: Duration,
}

#[tonic::async_trait]
impl TraceService for Traces {
    async fn get_order_trace(
        &self,
        request: Request<GetOrderTraceRequest>,
    ) -> Result<Response<GetOrderTraceResponse>, Status> {
        let order_id = validate::order_id(&request.get_ref().order_id)?;
        let caller = caller::of_call(request.extensions(), self.call_timeout);
        let not_found = || CallError::NotFound { resource_type: "order", resource_name: order_id.to_string() };
        // No gateway made such an id.
        if order_id.partition().0 >= self.partitions {
            return Err(not_found().into());
        }
        let history = HistoryRequest { order_id: order_id.to_string(), after: 0, limit: EVENTS };
        let history =
            self.bus.call::<HistoryResponse>(Source::Orders, order_id.partition(), "history", &caller, &history);
        let others = futures::future::join_all(ASKED.map(|source| self.ask(source, order_id, &caller)));
        let (history, others) = tokio::join!(history, others);
        let history = history.map_err(|failed| refusal::of_call(failed, Asked::Question))?;
        if history.order.is_none() {
            return Err(not_found().into());
        }
        Ok(answer::of(compose::compose(order_id, &history.events, others)))
    }
}

impl Traces {
    /// What a ledger knows; none where it does not answer.
    async fn ask(&self, source: Source, order_id: OrderId, caller: &Caller) -> (Source, Option<TraceResponse>) {
        let request = TraceRequest { order_id: order_id.to_string() };
        let asked = self.bus.call::<TraceResponse>(source, order_id.partition(), "trace", caller, &request);
        (source, asked.await.ok())
    }
}
