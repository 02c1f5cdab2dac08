//! What inventory does when asked: adjust the stock of a SKU.

use bytes::Bytes;
use prost::Message;
use spillway_proto::Ledger as Source;
use spillway_proto::pb::internal::{Call, Refusal};
use spillway_proto::pb::inventory as api;
use spillway_proto::time;
use spillway_shared::bus::refusal::{self, Code};
use spillway_shared::ledger::Ledger;
use uuid::Uuid;

use crate::domain::{AdjustStock, MAX_RECEIVED, Refused};
use crate::queries::to_wire;
use crate::service::{Adjust, Answer, Input, Inventory};
use crate::store::ItemRow;

/// `adjust_stock`: an `AdjustStockRequest` is answered with an `AdjustStockResponse`.
pub async fn adjust_stock(ledger: Ledger<Inventory>, call: Call) -> Result<Bytes, Refusal> {
    let request: api::AdjustStockRequest = refusal::read(&call)?;
    let request_id = Uuid::try_parse(&request.request_id)
        .map_err(|_| refusal::new(Code::InvalidArgument, "INVALID_REQUEST_ID", "request_id must be a UUID"))?;
    let command = AdjustStock { request_id, sku: request.sku.clone(), delta: request.delta, reason: request.reason };
    let adjust = Adjust { shop: call.shop, traceparent: call.traceparent, command };
    match ledger.try_command(Input::Adjust(adjust)).await {
        Ok(Answer::Adjusted(Ok((stock, updated)))) => {
            let item = ItemRow { sku: request.sku, stock, update_us: time::to_micros(updated) };
            let response = api::AdjustStockResponse { item: Some(to_wire(item)) };
            Ok(response.encode_to_vec().into())
        }
        Ok(Answer::Adjusted(Err(refused))) => Err(refuse(&refused)),
        Ok(Answer::Heard) => Err(refusal::new(Code::Internal, "INTERNAL", "an adjustment was taken for an event")),
        Err(not_taken) => Err(refusal::not_taken(Source::Inventory, &not_taken)),
    }
}

fn refuse(refused: &Refused) -> Refusal {
    match refused {
        Refused::RequestIdReused => refusal::new(
            Code::AlreadyExists,
            "REQUEST_ID_REUSED",
            "request_id stands for another adjustment; use a new one for new content",
        ),
        Refused::InsufficientStock { sku, available, delta } => refusal::with(
            Code::FailedPrecondition,
            "INSUFFICIENT_STOCK",
            format!("{available} units of {sku:?} are available, so the delta {delta} is too much to take away"),
            [("sku", sku.clone()), ("available", available.to_string()), ("delta", delta.to_string())],
        ),
        Refused::StockLimit { sku, received, delta } => refusal::with(
            Code::FailedPrecondition,
            "STOCK_LIMIT_EXCEEDED",
            format!("{received} units of {sku:?} were received, and {delta} more would exceed {MAX_RECEIVED}"),
            [
                ("sku", sku.clone()),
                ("received", received.to_string()),
                ("delta", delta.to_string()),
                ("limit", MAX_RECEIVED.to_string()),
            ],
        ),
    }
}
