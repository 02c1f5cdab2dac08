//! InventoryService: checked here, answered by inventory.

use std::time::Duration;

use prost::Message;
use spillway_proto::pb::inventory::inventory_service_server::InventoryService;
use spillway_proto::pb::inventory::{
    AdjustStockRequest, AdjustStockResponse, GetStockRequest, GetStockResponse, ListStockRequest, ListStockResponse,
};
use spillway_proto::{Ledger as Source, Partition};
use spillway_shared::bus::{Bus, Caller};
use tonic::{Request, Response, Status};

use crate::refusal::{self, Asked};
use crate::token::Question;
use crate::{answer, caller, validate};

/// Inventory is one ledger for all partitions; what belongs to no order is asked in the first.
const EVERYWHERE: Partition = Partition(0);

/// The service behind its door.
pub struct Inventory {
    pub bus: Bus,
    /// How long inventory is waited for.
    pub call_timeout: Duration,
}

impl Inventory {
    async fn ask<A: Message + Default>(
        &self,
        endpoint: &str,
        caller: &Caller,
        request: &impl Message,
        asked: Asked,
    ) -> Result<A, Status> {
        let answer = self.bus.call(Source::Inventory, EVERYWHERE, endpoint, caller, request).await;
        answer.map_err(|failed| refusal::of_call(failed, asked))
    }
}

#[tonic::async_trait]
impl InventoryService for Inventory {
    async fn adjust_stock(
        &self,
        request: Request<AdjustStockRequest>,
    ) -> Result<Response<AdjustStockResponse>, Status> {
        let (_, extensions, message) = request.into_parts();
        let adjustment = validate::adjust_stock(message)?;
        let caller = caller::of_call(&extensions, self.call_timeout);
        self.ask("adjust_stock", &caller, &adjustment, Asked::Command).await.map(answer::of)
    }

    async fn get_stock(&self, request: Request<GetStockRequest>) -> Result<Response<GetStockResponse>, Status> {
        validate::get_stock(request.get_ref())?;
        let caller = caller::of_call(request.extensions(), self.call_timeout);
        self.ask("get_stock", &caller, request.get_ref(), Asked::Question).await.map(answer::of)
    }

    async fn list_stock(&self, request: Request<ListStockRequest>) -> Result<Response<ListStockResponse>, Status> {
        let (_, extensions, mut message) = request.into_parts();
        message.page_size = validate::list_stock(&message)?;
        let caller = caller::of_call(&extensions, self.call_timeout);
        // Inventory's own token is the last SKU of a page.
        let question = Question::new("ListStock", &caller.shop, &[message.sku_prefix.as_bytes()]);
        let read = |position: &[u8]| String::from_utf8(position.to_vec()).ok().filter(|sku| !sku.is_empty());
        message.page_token = question.position(&message.page_token, read)?.unwrap_or_default();
        let mut page: ListStockResponse = self.ask("list_stock", &caller, &message, Asked::Question).await?;
        if !page.next_page_token.is_empty() {
            page.next_page_token = question.token(page.next_page_token.as_bytes());
        }
        Ok(answer::of(page))
    }
}
