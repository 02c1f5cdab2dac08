//! `spillway payment list|settle`.

use spillway_proto::pb::ops::payment::State;
use spillway_proto::pb::ops::{
    ListPaymentsRequest, ListPaymentsResponse, Payment, SettleAs as Wire, SettlePaymentRequest,
};
use uuid::Uuid;

use crate::cli::{Format, PaymentListArgs, PaymentVerb, SettleArgs, SettleAs};
use crate::context::Context;
use crate::exit::Failure;
use crate::order::shown::{at, money};

const COLUMNS: [&str; 6] = ["ORDER", "STATE", "AMOUNT", "REFERENCE", "NEXT", "PROBLEM"];

pub async fn run(verb: PaymentVerb, ctx: &Context) -> Result<(), Failure> {
    match verb {
        PaymentVerb::List(args) => list(args, ctx).await,
        PaymentVerb::Settle(args) => settle(args, ctx).await,
    }
}

async fn list(args: PaymentListArgs, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.ops()?;
    let all = args.page.all;
    let mut request = ListPaymentsRequest {
        page_size: args.page.page_size,
        page_token: args.page.page_token,
        unknown: args.unknown,
        parked: args.parked,
        open: args.open,
    };
    loop {
        let page = remote
            .call(request.clone(), |request| {
                let mut client = remote.payments();
                async move { client.list_payments(request).await }
            })
            .await?;
        print(&page, all, ctx)?;
        if !all || page.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
}

fn print(page: &ListPaymentsResponse, all: bool, ctx: &Context) -> Result<(), Failure> {
    if ctx.output.format() == Format::Json {
        return ctx.output.message("spillway.ops.v1.ListPaymentsResponse", page);
    }
    ctx.output.table(&COLUMNS, page.payments.iter().map(row).collect())?;
    match (page.payments.is_empty(), page.next_page_token.is_empty() || all) {
        (true, _) => ctx.output.text("no payments\n"),
        (false, true) => Ok(()),
        (false, false) => {
            ctx.output.text(&format!("there are more: --all, or --page-token {}\n", page.next_page_token))
        }
    }
}

async fn settle(args: SettleArgs, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.ops()?;
    let request_id = args.request_id.unwrap_or_else(Uuid::new_v4).to_string();
    let settle_as = match args.settle_as {
        SettleAs::Captured => Wire::Captured,
        SettleAs::Absent => Wire::Absent,
        SettleAs::Refunded => Wire::Refunded,
    };
    let request = SettlePaymentRequest {
        request_id: request_id.clone(),
        order_id: args.order_id,
        settle_as: settle_as.into(),
        provider_reference: args.reference,
        reason: args.reason,
    };
    let answer = remote
        .call(request, |request| {
            let mut client = remote.payments();
            async move { client.settle_payment(request).await }
        })
        .await
        .map_err(|failure| failure.with_request_id(&request_id))?;
    match ctx.output.format() {
        Format::Json => ctx.output.message("spillway.ops.v1.SettlePaymentResponse", &answer),
        Format::Table => ctx.output.table(&COLUMNS, answer.payment.iter().map(row).collect()),
    }
}

fn row(payment: &Payment) -> Vec<String> {
    let next = match payment.next_step.as_str() {
        "" => String::new(),
        step => format!("{}: {step}", at(payment.next_time.as_ref())),
    };
    vec![
        payment.order_id.clone(),
        state(payment),
        money(payment.amount.as_ref()),
        payment.provider_reference.clone(),
        next,
        payment.problem.clone(),
    ]
}

fn state(payment: &Payment) -> String {
    let name = match State::try_from(payment.state) {
        Ok(state) => state.as_str_name().trim_start_matches("STATE_").to_owned(),
        Err(_) => payment.state.to_string(),
    };
    if payment.order_ended { format!("{name}, order over") } else { name }
}
