//! `spillway order events`.

use spillway_proto::pb::orders::{ListOrderEventsRequest, ListOrderEventsResponse};

use super::shown::{event_line, without_unknown_payload};
use crate::cli::Format;
use crate::context::Context;
use crate::exit::Failure;

/// Prints the whole history, page by page.
pub async fn run(order_id: String, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.gateway()?;
    let mut request = ListOrderEventsRequest { order_id, ..ListOrderEventsRequest::default() };
    loop {
        let page = remote
            .call(request.clone(), |request| {
                let mut client = remote.orders();
                async move { client.list_order_events(request).await }
            })
            .await?;
        request.page_token = page.next_page_token.clone();
        print(page, ctx)?;
        if request.page_token.is_empty() {
            return Ok(());
        }
    }
}

fn print(mut page: ListOrderEventsResponse, ctx: &Context) -> Result<(), Failure> {
    match ctx.output.format() {
        Format::Json => {
            page.events.iter_mut().for_each(|event| without_unknown_payload(event, &ctx.output));
            page.events.iter().try_for_each(|event| ctx.output.message("spillway.orders.v1.OrderEvent", event))
        }
        Format::Table => {
            page.events.iter().try_for_each(|event| ctx.output.text(&format!("{}\n", event_line(event, &ctx.output))))
        }
    }
}
