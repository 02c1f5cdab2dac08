//! `spillway stock adjust|get|list`.

use spillway_proto::pb::inventory::{
    AdjustStockRequest, GetStockRequest, ListStockRequest, ListStockResponse, StockItem,
};
use uuid::Uuid;

use crate::cli::{Format, Page, StockVerb};
use crate::context::Context;
use crate::exit::Failure;

const COLUMNS: [&str; 5] = ["SKU", "AVAILABLE", "HELD", "SOLD", "RECEIVED"];

pub async fn run(verb: StockVerb, ctx: &Context) -> Result<(), Failure> {
    match verb {
        StockVerb::Adjust { sku, delta, reason, request_id } => {
            let request_id = request_id.unwrap_or_else(Uuid::new_v4).to_string();
            adjust(AdjustStockRequest { request_id, sku, delta, reason }, ctx).await
        }
        StockVerb::Get { sku } => get(sku, ctx).await,
        StockVerb::List { prefix, page } => list(prefix, page, ctx).await,
    }
}

async fn adjust(request: AdjustStockRequest, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.gateway()?;
    let request_id = request.request_id.clone();
    let answer = remote
        .call(request, |request| {
            let mut client = remote.stock();
            async move { client.adjust_stock(request).await }
        })
        .await
        .map_err(|failure| failure.with_request_id(&request_id))?;
    match ctx.output.format() {
        Format::Json => ctx.output.message("spillway.inventory.v1.AdjustStockResponse", &answer),
        Format::Table => ctx.output.table(&COLUMNS, answer.item.iter().map(row).collect()),
    }
}

async fn get(sku: String, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.gateway()?;
    let answer = remote
        .call(GetStockRequest { sku }, |request| {
            let mut client = remote.stock();
            async move { client.get_stock(request).await }
        })
        .await?;
    match ctx.output.format() {
        Format::Json => ctx.output.message("spillway.inventory.v1.GetStockResponse", &answer),
        Format::Table => ctx.output.table(&COLUMNS, answer.item.iter().map(row).collect()),
    }
}

async fn list(prefix: String, page: Page, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.gateway()?;
    let mut request = ListStockRequest { page_size: page.page_size, page_token: page.page_token, sku_prefix: prefix };
    loop {
        let answer = remote
            .call(request.clone(), |request| {
                let mut client = remote.stock();
                async move { client.list_stock(request).await }
            })
            .await?;
        print(&answer, page.all, ctx)?;
        if !page.all || answer.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = answer.next_page_token;
    }
}

fn print(page: &ListStockResponse, all: bool, ctx: &Context) -> Result<(), Failure> {
    if ctx.output.format() == Format::Json {
        return ctx.output.message("spillway.inventory.v1.ListStockResponse", page);
    }
    ctx.output.table(&COLUMNS, page.items.iter().map(row).collect())?;
    match (page.items.is_empty(), page.next_page_token.is_empty() || all) {
        (true, _) => ctx.output.text("no stock\n"),
        (false, true) => Ok(()),
        (false, false) => ctx.output.text(&format!("there is more: --all, or --page-token {}\n", page.next_page_token)),
    }
}

fn row(item: &StockItem) -> Vec<String> {
    let figures = [item.available, item.held, item.sold, item.received];
    std::iter::once(item.sku.clone()).chain(figures.map(|figure| figure.to_string())).collect()
}
