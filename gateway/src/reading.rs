//! Where an order is read: from orders, and from the intake only where orders says that it does not know it.
//!
//! So nothing a client reads ever goes backwards. Orders that cannot be reached is UNAVAILABLE, never "not found" and
//! never an older state.

use std::time::Duration;

use spillway_proto::pb::internal::{HistoryRequest, HistoryResponse};
use spillway_proto::pb::orders::{Order, OrderEvent};
use spillway_proto::{Ledger as Source, OrderId};
use spillway_shared::bus::{Bus, CallFailed, Caller};
use spillway_shared::grpc::CallError;
use spillway_shared::ledger::Ledger;
use tonic::Status;

use crate::intake::{self, Intake};
use crate::refusal::{self, Asked};
use crate::view;

/// Reads orders. Cheap to clone.
#[derive(Clone)]
pub struct Reading {
    pub bus: Bus,
    pub intake: Ledger<Intake>,
    pub partitions: u16,
    /// How long another ledger is waited for.
    pub call_timeout: Duration,
}

/// An order as it was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// By orders, with the events that were asked for.
    Known { order: Order, events: Vec<OrderEvent> },
    /// By the gateway alone: accepted, PENDING, version 0.
    Accepted { order: Order },
}

impl Found {
    pub fn into_order(self) -> Order {
        match self {
            Found::Known { order, .. } | Found::Accepted { order } => order,
        }
    }
}

impl Reading {
    /// The order, and up to `limit` of its events after a version.
    ///
    /// # Errors
    /// NOT_FOUND where neither knows it; UNAVAILABLE where orders or the intake cannot say.
    pub async fn find(&self, caller: &Caller, order_id: OrderId, after: i64, limit: i32) -> Result<Found, Status> {
        let not_found = || CallError::NotFound { resource_type: "order", resource_name: order_id.to_string() };
        // No gateway made such an id.
        if order_id.partition().0 >= self.partitions {
            return Err(not_found().into());
        }
        let asked = self.ask_orders(caller, order_id, after, limit).await;
        let history = asked.map_err(|failed| refusal::of_call(failed, Asked::Question))?;
        if let Some(order) = history.order {
            return Ok(Found::Known { order, events: history.events });
        }
        let shop = caller.shop.clone();
        let entry = self.intake.query(move |tx| intake::by_order(tx, &shop, order_id)).await;
        let entry = entry.map_err(refusal::not_read)?.ok_or_else(not_found)?;
        let Some(placed) = entry.placed else {
            return Err(CallError::internal("the intake has forgotten an order that orders does not know").into());
        };
        Ok(Found::Accepted { order: view::accepted(entry.order_id, placed, entry.create_time) })
    }

    /// What orders itself says; an empty answer where it does not know the order.
    pub async fn ask_orders(
        &self,
        caller: &Caller,
        order_id: OrderId,
        after: i64,
        limit: i32,
    ) -> Result<HistoryResponse, CallFailed> {
        let request = HistoryRequest { order_id: order_id.to_string(), after, limit };
        self.bus.call(Source::Orders, order_id.partition(), "history", caller, &request).await
    }
}
