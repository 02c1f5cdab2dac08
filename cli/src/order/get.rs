//! `spillway order get`.

use spillway_proto::pb::orders::GetOrderRequest;

use super::shown::print_order;
use crate::cli::Format;
use crate::context::Context;
use crate::exit::Failure;

pub async fn run(order_id: String, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.gateway()?;
    let answer = remote
        .call(GetOrderRequest { order_id }, |request| {
            let mut client = remote.orders();
            async move { client.get_order(request).await }
        })
        .await?;
    match ctx.output.format() {
        Format::Json => ctx.output.message("spillway.orders.v1.GetOrderResponse", &answer),
        Format::Table => answer.order.as_ref().map_or(Ok(()), |order| print_order(order, ctx)),
    }
}
