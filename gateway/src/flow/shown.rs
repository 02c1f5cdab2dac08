//! GetFlow: every ledger is asked at once, and one that does not answer is named.

use futures::future::join_all;
use spillway_proto::pb::internal::{
    BreakersRequest, BreakersResponse, FlowRequest, FlowResponse, OldestWaitingRequest, OldestWaitingResponse,
};
use spillway_proto::pb::ops::{Breaker, GetFlowResponse, LedgerFlow, WaitingOrder};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Ledger as Source, LedgerId, Partition};
use spillway_shared::bus::{CallFailed, Caller};
use spillway_shared::flow;

use super::Flow;

impl Flow {
    pub(super) async fn shown(&self, caller: &Caller) -> GetFlowResponse {
        let ids = Source::ALL.into_iter().flat_map(|role| LedgerId::all(role, self.partitions));
        let ledgers = join_all(ids.map(|id| self.ledger(id, caller)));
        let breakers = join_all(self.partitions().map(|partition| self.breakers(partition, caller)));
        let waiting = join_all(self.partitions().map(|partition| self.oldest_waiting(partition, caller)));
        let (ledgers, breakers, waiting) = tokio::join!(ledgers, breakers, waiting);
        let oldest = |order: &WaitingOrder| order.create_time.map(|at| (at.seconds, at.nanos));
        GetFlowResponse {
            ledgers,
            breakers: breakers.into_iter().flatten().collect(),
            oldest_waiting: waiting.into_iter().flatten().min_by_key(oldest),
            jetstream_connected: self.bus.is_connected(),
            read_time: Some(time::to_wire(Timestamp::now())),
        }
    }

    fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.partitions).map(Partition)
    }

    async fn ledger(&self, id: LedgerId, caller: &Caller) -> LedgerFlow {
        let told = match id.ledger {
            Source::Gateway => {
                flow::of(&self.intake, self.bus.is_connected()).await.map_err(|unreadable| unreadable.to_string())
            }
            Source::Inventory | Source::Payments | Source::Orders | Source::Notifications | Source::Audit => {
                let asked = self.bus.call::<FlowResponse>(id.ledger, id.partition, "flow", caller, &FlowRequest {});
                match asked.await {
                    Ok(FlowResponse { flow: Some(flow) }) => Ok(flow),
                    Ok(FlowResponse { flow: None }) => Err("its answer is empty".to_owned()),
                    Err(CallFailed::NoAnswer { why, .. }) => Err(why),
                    Err(CallFailed::Refused(refusal)) => Err(refusal.message),
                    Err(CallFailed::Unreadable { why, .. }) => Err(why),
                }
            }
        };
        told.unwrap_or_else(|silent| LedgerFlow {
            ledger: id.ledger.name().to_owned(),
            partition: u32::from(id.partition.0),
            silent,
            ..LedgerFlow::default()
        })
    }

    /// None where payments does not answer: that is told of its ledger.
    async fn breakers(&self, partition: Partition, caller: &Caller) -> Vec<Breaker> {
        let asked =
            self.bus.call::<BreakersResponse>(Source::Payments, partition, "breakers", caller, &BreakersRequest {});
        asked.await.map(|answer| answer.breakers).unwrap_or_default()
    }

    /// None where orders does not answer: that is told of its ledger.
    async fn oldest_waiting(&self, partition: Partition, caller: &Caller) -> Option<WaitingOrder> {
        let request = OldestWaitingRequest {};
        let asked =
            self.bus.call::<OldestWaitingResponse>(Source::Orders, partition, "oldest_waiting", caller, &request);
        asked.await.ok().and_then(|answer| answer.order)
    }
}
