//! `spillway order place`.

use std::io::Read;
use std::path::Path;

use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{Contact, PlaceOrderRequest, PlaceOrderResponse};
use uuid::Uuid;

use super::follow::follow;
use super::shown::{end_line, print_order};
use super::watch::print_step;
use crate::cli::{Format, PlaceArgs};
use crate::client::Remote;
use crate::context::Context;
use crate::exit::{Exit, Failure};

pub async fn run(args: PlaceArgs, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.gateway()?;
    let wait = args.wait;
    let request = request(args, ctx)?;
    let request_id = request.request_id.clone();
    let answer = remote
        .call(request, |request| {
            let mut client = remote.orders();
            async move { client.place_order(request).await }
        })
        .await
        .map_err(|failure| failure.with_request_id(&request_id))?;
    if wait { wait_for_end(&remote, answer, ctx).await } else { print(&answer, ctx) }
}

/// The request that the flags or the file make, with a request id in any case.
fn request(args: PlaceArgs, ctx: &Context) -> Result<PlaceOrderRequest, Failure> {
    let mut request = match &args.json {
        Some(path) => ctx.output.from_proto_json("spillway.orders.v1.PlaceOrderRequest", &read(path)?)?,
        None => from_flags(&args),
    };
    if let Some(id) = args.request_id {
        request.request_id = id.to_string();
    }
    if request.request_id.is_empty() {
        request.request_id = Uuid::new_v4().to_string();
    }
    request.validate_only |= args.validate_only;
    if args.wait && request.validate_only {
        return Err(Failure::usage("--wait: the request asks to be checked only, so there is no end to wait for"));
    }
    Ok(request)
}

fn from_flags(args: &PlaceArgs) -> PlaceOrderRequest {
    PlaceOrderRequest {
        customer_id: args.customer.clone().unwrap_or_default(),
        lines: args.lines.iter().map(|line| line.to_wire(&args.currency)).collect(),
        payment_method: args.payment_method.clone().unwrap_or_default(),
        contact: args.email.clone().map(|email| Contact { email }),
        labels: args.labels.iter().map(|label| (label.key.clone(), label.value.clone())).collect(),
        ..PlaceOrderRequest::default()
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|error| Failure::usage(format!("--json {}: {error}", path.display())))
}

fn print(answer: &PlaceOrderResponse, ctx: &Context) -> Result<(), Failure> {
    match ctx.output.format() {
        Format::Json => ctx.output.message("spillway.orders.v1.PlaceOrderResponse", answer),
        Format::Table => answer.order.as_ref().map_or(Ok(()), |order| print_order(order, ctx)),
    }
}

/// Follows the order; prints its steps for people, and in JSON the one order that it became.
async fn wait_for_end(remote: &Remote, answer: PlaceOrderResponse, ctx: &Context) -> Result<(), Failure> {
    let placed = answer.order.ok_or_else(|| Failure::failed("the gateway answered without an order"))?;
    let format = ctx.output.format();
    if format == Format::Table {
        ctx.output.text(&format!("order {} is accepted\n", placed.order_id))?;
    }
    let order = follow(remote, &placed.order_id, 0, |step| match format {
        Format::Table => print_step(step, ctx),
        Format::Json => Ok(()),
    })
    .await
    .map_err(|failure| {
        let watch = format!("the order is accepted: follow it with `spillway order watch {}`", placed.order_id);
        failure.with("order_id", &placed.order_id, &watch)
    })?;
    let is_confirmed = order.state() == State::Confirmed;
    match format {
        Format::Table => ctx.output.text(&end_line(&order, &ctx.output))?,
        Format::Json => print(&PlaceOrderResponse { order: Some(order) }, ctx)?,
    }
    // How it ended is printed already.
    if is_confirmed { Ok(()) } else { Err(Failure::quiet(Exit::Failed)) }
}
