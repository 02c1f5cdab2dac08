//! `spillway flow [get|set]`, `spillway pause`, `spillway resume`.

pub mod shown;

use spillway_proto::pb::ops::{GetFlowRequest, GetFlowResponse, PauseRequest, ResumeRequest, SetSettingRequest};
use uuid::Uuid;

use crate::cli::{ActArgs, FlowArgs, FlowVerb, Format, LeverArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};

pub async fn run(args: FlowArgs, ctx: &Context) -> Result<(), Failure> {
    match args.verb.unwrap_or(FlowVerb::Get) {
        FlowVerb::Get => get(ctx).await,
        FlowVerb::Set { name, value, act } => set(name, value, act, ctx).await,
    }
}

/// What all ledgers tell, without another try.
///
/// # Errors
/// Where the port for operators does not answer.
pub async fn ask_once(ctx: &Context) -> Result<GetFlowResponse, Failure> {
    let remote = ctx.ops()?;
    let answer = remote.flow().get_flow(GetFlowRequest {}).await;
    answer.map(tonic::Response::into_inner).map_err(|status| remote.failure(&status))
}

/// What all ledgers tell.
///
/// # Errors
/// Where the port for operators does not answer.
pub async fn ask(ctx: &Context) -> Result<GetFlowResponse, Failure> {
    let remote = ctx.ops()?;
    remote
        .call(GetFlowRequest {}, |request| {
            let mut client = remote.flow();
            async move { client.get_flow(request).await }
        })
        .await
}

async fn get(ctx: &Context) -> Result<(), Failure> {
    let flow = ask(ctx).await?;
    match ctx.output.format() {
        Format::Json => ctx.output.message("spillway.ops.v1.GetFlowResponse", &flow)?,
        Format::Table => shown::print(&flow, ctx)?,
    }
    let all_answer = flow.ledgers.iter().all(|ledger| ledger.silent.is_empty());
    if all_answer { Ok(()) } else { Err(Failure::quiet(Exit::Missing)) }
}

/// Holds a flow up.
///
/// # Errors
/// Where it is not in force everywhere.
pub async fn pause(args: LeverArgs, ctx: &Context) -> Result<(), Failure> {
    let (flow, request_id, ActArgs { reason, by, .. }) = (args.flow.name(), request_id(&args.act), args.act);
    let remote = ctx.ops()?;
    let request = PauseRequest { request_id: request_id.clone(), flow: flow.to_owned(), reason, by };
    let answer = remote
        .call(request, |request| {
            let mut client = remote.flow();
            async move { client.pause(request).await }
        })
        .await
        .map_err(|failure| failure.with_request_id(&request_id))?;
    if ctx.output.format() == Format::Json {
        return ctx.output.message("spillway.ops.v1.PauseResponse", &answer);
    }
    ctx.output.text(&match (&answer.pause, answer.changed) {
        (Some(_), true) => format!("paused: {flow}; `spillway resume {flow}` ends it\n"),
        (Some(pause), false) => format!("paused before, nothing was done: {}\n", shown::pause(pause)),
        (None, _) => format!("paused by this request before, and resumed since: {flow}; nothing was done\n"),
    })
}

/// Lets a flow go on.
///
/// # Errors
/// Where it is not in force everywhere.
pub async fn resume(args: LeverArgs, ctx: &Context) -> Result<(), Failure> {
    let (flow, request_id, ActArgs { reason, by, .. }) = (args.flow.name(), request_id(&args.act), args.act);
    let remote = ctx.ops()?;
    let request = ResumeRequest { request_id: request_id.clone(), flow: flow.to_owned(), reason, by };
    let answer = remote
        .call(request, |request| {
            let mut client = remote.flow();
            async move { client.resume(request).await }
        })
        .await
        .map_err(|failure| failure.with_request_id(&request_id))?;
    if ctx.output.format() == Format::Json {
        return ctx.output.message("spillway.ops.v1.ResumeResponse", &answer);
    }
    ctx.output.text(&match answer.changed {
        true => format!("resumed: {flow}\n"),
        false => format!("not paused: {flow}; nothing was done\n"),
    })
}

async fn set(name: String, value: String, act: ActArgs, ctx: &Context) -> Result<(), Failure> {
    let request_id = request_id(&act);
    let remote = ctx.ops()?;
    let ActArgs { reason, by, .. } = act;
    let request =
        SetSettingRequest { request_id: request_id.clone(), name: name.clone(), value: value.clone(), reason, by };
    let answer = remote
        .call(request, |request| {
            let mut client = remote.flow();
            async move { client.set_setting(request).await }
        })
        .await
        .map_err(|failure| failure.with_request_id(&request_id))?;
    if ctx.output.format() == Format::Json {
        return ctx.output.message("spillway.ops.v1.SetSettingResponse", &answer);
    }
    let value = if value.is_empty() { "as configured".to_owned() } else { value };
    let so = if answer.changed { "is" } else { "was already" };
    ctx.output.text(&format!("{name} {so} {value}\n"))
}

fn request_id(act: &ActArgs) -> String {
    act.request_id.unwrap_or_else(Uuid::new_v4).to_string()
}
