//! `spillway order list`.

use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{ListOrdersRequest, ListOrdersResponse};
use spillway_proto::time;

use super::shown::{ORDER_COLUMNS, at, row};
use crate::cli::{self, Format, ListOrdersArgs};
use crate::context::Context;
use crate::exit::Failure;

pub async fn run(args: ListOrdersArgs, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.gateway()?;
    let all = args.page.all;
    let mut request = request(args);
    loop {
        let page = remote
            .call(request.clone(), |request| {
                let mut client = remote.orders();
                async move { client.list_orders(request).await }
            })
            .await?;
        print(&page, all, ctx)?;
        if !all || page.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
}

fn request(args: ListOrdersArgs) -> ListOrdersRequest {
    let state = match args.state {
        None => State::Unspecified,
        Some(cli::State::Pending) => State::Pending,
        Some(cli::State::Confirmed) => State::Confirmed,
        Some(cli::State::Rejected) => State::Rejected,
        Some(cli::State::Cancelled) => State::Cancelled,
        Some(cli::State::Refunded) => State::Refunded,
    };
    ListOrdersRequest {
        page_size: args.page.page_size,
        page_token: args.page.page_token,
        customer_id: args.customer,
        state: state.into(),
        created_from: args.created_from.map(time::to_wire),
        created_before: args.created_before.map(time::to_wire),
    }
}

fn print(page: &ListOrdersResponse, all: bool, ctx: &Context) -> Result<(), Failure> {
    if ctx.output.format() == Format::Json {
        return ctx.output.message("spillway.orders.v1.ListOrdersResponse", page);
    }
    ctx.output.table(&ORDER_COLUMNS, page.orders.iter().map(row).collect())?;
    if page.next_page_token.is_empty() {
        let count = if page.orders.is_empty() { "no orders, " } else { "" };
        return ctx.output.text(&format!("{count}as of {}\n", at(page.as_of.as_ref())));
    }
    if all {
        return Ok(());
    }
    ctx.output.text(&format!("there are more: --all, or --page-token {}\n", page.next_page_token))
}
