//! `spillway dlq redrive`: progress as it comes, and at the end what still cannot be taken.

use indicatif::ProgressBar;
use spillway_proto::pb::ops::{RedriveDeadLettersRequest, RedriveDeadLettersResponse};

use super::{all_answered, choice, shown};
use crate::cli::{Format, RedriveArgs};
use crate::context::Context;
use crate::exit::Failure;

pub async fn run(args: RedriveArgs, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.ops()?;
    let dry_run = args.dry_run;
    let request = RedriveDeadLettersRequest {
        choice: Some(choice(&args.ids, args.fingerprint, args.all_of_cause, args.ledger)),
        dry_run,
        rate: args.rate,
        reason: args.reason,
    };
    let bar = if ctx.output.shows_progress() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let told = remote.dead_letters().redrive_dead_letters(request).await;
    let mut stream = told.map_err(|status| remote.failure(&status))?.into_inner();
    let (mut rows, mut last) = (Vec::new(), RedriveDeadLettersResponse::default());
    while let Some(told) = stream.message().await.map_err(|status| remote.failure(&status))? {
        bar.set_message(format!("{} gone through, {} taken", told.matched, told.taken));
        bar.tick();
        match ctx.output.format() {
            Format::Json => ctx.output.message("spillway.ops.v1.RedriveDeadLettersResponse", &told)?,
            Format::Table => rows.extend(told.results.iter().filter(|one| dry_run || !one.taken).map(shown::redriven)),
        }
        last = told;
    }
    bar.finish_and_clear();
    if ctx.output.format() == Format::Table {
        ctx.output.table(&shown::REDRIVEN_COLUMNS, rows)?;
        ctx.output.text(&if dry_run {
            format!("{} would be handed in again\n", last.matched)
        } else {
            format!("{} handed in again: {} taken, {} still dead\n", last.matched, last.taken, last.still_dead)
        })?;
    }
    if !last.done {
        return Err(Failure::missing(format!("cut off after {} dead letters: try again", last.matched)));
    }
    all_answered(&last.silent)?;
    match (last.matched, last.still_dead) {
        (0, _) => Err(Failure::failed("no such dead letter is dead")),
        (_, 0) => Ok(()),
        (_, still_dead) => Err(Failure::failed(format!("{still_dead} still cannot be taken"))),
    }
}
