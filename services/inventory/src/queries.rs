//! What inventory tells when asked: one SKU, or a page of SKUs.

use bytes::Bytes;
use prost::Message;
use spillway_proto::Ledger as Source;
use spillway_proto::pb::internal::{Call, Refusal};
use spillway_proto::pb::inventory as api;
use spillway_proto::time;
use spillway_shared::bus::refusal::{self, Code};
use spillway_shared::ledger::Ledger;

use crate::service::Inventory;
use crate::store::{self, ItemRow};

/// SKUs on a page where the request names no number, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// `get_stock`: a `GetStockRequest` is answered with a `GetStockResponse`.
pub async fn get_stock(ledger: Ledger<Inventory>, call: Call) -> Result<Bytes, Refusal> {
    let request: api::GetStockRequest = refusal::read(&call)?;
    let sku = request.sku.clone();
    let item = ledger.query(move |tx| store::item(tx, &call.shop, &sku)).await;
    let item = item.map_err(|error| refusal::not_read(Source::Inventory, &error))?.ok_or_else(|| {
        let message = format!("the SKU {:?} never had stock; adjust_stock brings it into being", request.sku);
        refusal::with(Code::NotFound, "SKU_NOT_FOUND", message, [("sku", request.sku.clone())])
    })?;
    Ok(api::GetStockResponse { item: Some(to_wire(item)) }.encode_to_vec().into())
}

/// `list_stock`: a `ListStockRequest` is answered with a `ListStockResponse`. The tokens here are plain: the last SKU of
/// the page before. The gateway makes them opaque to its clients and binds them to their filter.
pub async fn list_stock(ledger: Ledger<Inventory>, call: Call) -> Result<Bytes, Refusal> {
    let request: api::ListStockRequest = refusal::read(&call)?;
    let size = match usize::try_from(request.page_size) {
        Ok(0) | Err(_) => PAGE,
        Ok(size) => size.min(MAX_PAGE),
    };
    let page =
        ledger.query(move |tx| store::items(tx, &call.shop, &request.sku_prefix, &request.page_token, size + 1)).await;
    let mut page = page.map_err(|error| refusal::not_read(Source::Inventory, &error))?;
    let more = page.len() > size;
    page.truncate(size);
    let next_page_token = page.last().filter(|_| more).map(|item| item.sku.clone()).unwrap_or_default();
    let response = api::ListStockResponse { items: page.into_iter().map(to_wire).collect(), next_page_token };
    Ok(response.encode_to_vec().into())
}

/// As clients see it.
pub(crate) fn to_wire(item: ItemRow) -> api::StockItem {
    api::StockItem {
        sku: item.sku,
        received: item.stock.received,
        available: item.stock.available,
        held: item.stock.held,
        sold: item.stock.sold,
        update_time: Some(time::to_wire(time::from_micros(item.update_us))),
    }
}
