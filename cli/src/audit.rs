//! `spillway audit verify|export`.

mod export;
mod offline;
mod verify;

use crate::cli::AuditVerb;
use crate::context::Context;
use crate::exit::Failure;

pub async fn run(verb: AuditVerb, ctx: &Context) -> Result<(), Failure> {
    match verb {
        AuditVerb::Verify(args) => match args.file {
            Some(file) => offline::run(&file, ctx),
            None => verify::run(ctx).await,
        },
        AuditVerb::Export(args) => export::run(args, ctx).await,
    }
}
