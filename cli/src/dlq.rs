//! `spillway dlq list|show|redrive|discard`.

mod redrive;
mod shown;

use spillway_proto::pb::ops::dead_letter::{Cause, State};
use spillway_proto::pb::ops::{
    DeadLetterChoice, DiscardDeadLetterRequest, GetDeadLetterRequest, ListDeadLettersRequest, ListDeadLettersResponse,
    SilentLedger,
};
use uuid::Uuid;

use crate::cli::{DiscardArgs, DlqListArgs, DlqVerb, Format, LetterCause, LetterState};
use crate::context::Context;
use crate::exit::Failure;

pub async fn run(verb: DlqVerb, ctx: &Context) -> Result<(), Failure> {
    match verb {
        DlqVerb::List(args) => list(args, ctx).await,
        DlqVerb::Show { id } => show(id, ctx).await,
        DlqVerb::Redrive(args) => redrive::run(args, ctx).await,
        DlqVerb::Discard(args) => discard(args, ctx).await,
    }
}

async fn list(args: DlqListArgs, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.ops()?;
    let state = match args.state {
        LetterState::Dead => State::Dead,
        LetterState::Redriven => State::Redriven,
        LetterState::Resolved => State::Resolved,
        LetterState::Discarded => State::Discarded,
    };
    let mut request = ListDeadLettersRequest {
        ledger: args.ledger,
        fingerprint: args.fingerprint,
        subject: args.subject,
        state: state as i32,
        page_size: args.page.page_size,
        page_token: args.page.page_token,
    };
    let mut silent = Vec::new();
    loop {
        let answer = remote
            .call(request.clone(), |request| {
                let mut client = remote.dead_letters();
                async move { client.list_dead_letters(request).await }
            })
            .await?;
        print(&answer, args.page.all, ctx)?;
        silent.extend(answer.silent);
        if !args.page.all || answer.next_page_token.is_empty() {
            return all_answered(&silent);
        }
        request.page_token = answer.next_page_token;
    }
}

fn print(page: &ListDeadLettersResponse, all: bool, ctx: &Context) -> Result<(), Failure> {
    if ctx.output.format() == Format::Json {
        return ctx.output.message("spillway.ops.v1.ListDeadLettersResponse", page);
    }
    ctx.output.table(&shown::GROUP_COLUMNS, page.groups.iter().map(shown::group).collect())?;
    ctx.output.table(&shown::LETTER_COLUMNS, page.dead_letters.iter().map(shown::letter).collect())?;
    let is_empty = page.groups.is_empty() && page.dead_letters.is_empty();
    match (is_empty, page.next_page_token.is_empty() || all) {
        (true, true) => ctx.output.text("no dead letters\n"),
        (_, true) => Ok(()),
        (_, false) => ctx.output.text(&format!("there is more: --all, or --page-token {}\n", page.next_page_token)),
    }
}

/// What was printed is not all there is where a ledger did not answer.
fn all_answered(silent: &[SilentLedger]) -> Result<(), Failure> {
    let Some(first) = silent.first() else { return Ok(()) };
    let mut names: Vec<String> =
        silent.iter().map(|silent| format!("{}/{}", silent.ledger, silent.partition)).collect();
    names.sort();
    names.dedup();
    Err(Failure::missing(format!("{} did not answer: {}; the rest is complete", names.join(", "), first.problem)))
}

async fn show(id: Uuid, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.ops()?;
    let answer = remote
        .call(GetDeadLetterRequest { dead_letter_id: id.to_string() }, |request| {
            let mut client = remote.dead_letters();
            async move { client.get_dead_letter(request).await }
        })
        .await?;
    match ctx.output.format() {
        Format::Json => ctx.output.message("spillway.ops.v1.GetDeadLetterResponse", &answer),
        Format::Table => {
            ctx.output.table(&[], shown::whole(&answer))?;
            ctx.output.text(&shown::content(&answer))
        }
    }
}

async fn discard(args: DiscardArgs, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.ops()?;
    let choice = choice(&args.ids, args.fingerprint, None, args.ledger);
    let answer = remote
        .call(DiscardDeadLetterRequest { choice: Some(choice), reason: args.reason }, |request| {
            let mut client = remote.dead_letters();
            async move { client.discard_dead_letter(request).await }
        })
        .await?;
    match ctx.output.format() {
        Format::Json => ctx.output.message("spillway.ops.v1.DiscardDeadLetterResponse", &answer)?,
        Format::Table => ctx.output.text(&format!("{} put away\n", answer.discarded))?,
    }
    all_answered(&answer.silent)?;
    if answer.discarded == 0 {
        return Err(Failure::failed("nothing was put away: no such dead letter is dead"));
    }
    Ok(())
}

fn choice(ids: &[Uuid], fingerprint: String, cause: Option<LetterCause>, ledger: String) -> DeadLetterChoice {
    let cause = match cause {
        None => Cause::Unspecified,
        Some(LetterCause::Undecodable) => Cause::Undecodable,
        Some(LetterCause::Newer) => Cause::Newer,
        Some(LetterCause::Panic) => Cause::Panic,
        Some(LetterCause::Constraint) => Cause::Constraint,
        Some(LetterCause::Unnumbered) => Cause::Unnumbered,
        Some(LetterCause::Crash) => Cause::Crash,
    };
    DeadLetterChoice {
        dead_letter_ids: ids.iter().map(Uuid::to_string).collect(),
        fingerprint,
        cause: cause as i32,
        ledger,
    }
}
