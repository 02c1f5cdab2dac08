//! `spillway order watch`.

use spillway_proto::pb::orders::WatchOrderResponse;

use super::follow::follow;
use super::shown::{end_line, step_line, without_unknown_payload};
use crate::cli::{Format, WatchArgs};
use crate::context::Context;
use crate::exit::Failure;

/// Prints every step as it comes; ends well however the order ends.
pub async fn run(args: WatchArgs, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.gateway()?;
    let order = follow(&remote, &args.order_id, args.cursor, |step| print_step(step, ctx)).await?;
    match ctx.output.format() {
        Format::Json => Ok(()),
        Format::Table => ctx.output.text(&end_line(&order, &ctx.output)),
    }
}

/// One step: a line of text, or a WatchOrderResponse.
pub fn print_step(step: &WatchOrderResponse, ctx: &Context) -> Result<(), Failure> {
    match ctx.output.format() {
        Format::Json => {
            let mut step = step.clone();
            if let Some(event) = &mut step.event {
                without_unknown_payload(event, &ctx.output);
            }
            ctx.output.message("spillway.orders.v1.WatchOrderResponse", &step)
        }
        Format::Table => ctx.output.text(&format!("{}\n", step_line(step, &ctx.output))),
    }
}
