//! `spillway audit export`: every entry as a line of JSON, with all that it takes to verify the chains elsewhere.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use indicatif::ProgressBar;
use serde_json::json;
use spillway_audit::JsonLines;
use spillway_proto::pb::ops::ExportAuditRequest;

use crate::cli::{ExportArgs, Format};
use crate::context::Context;
use crate::exit::Failure;

pub async fn run(args: ExportArgs, ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.ops()?;
    let request = ExportAuditRequest { partition: args.partition, after: 0 };
    let told = remote.audit().export_audit(request).await;
    let mut stream = told.map_err(|status| remote.failure(&status))?.into_inner();
    let mut out = Target::open(args.file.as_deref())?;
    let bar = if ctx.output.shows_progress() && args.file.is_some() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    let lines = JsonLines::default();
    let mut entries: u64 = 0;
    while let Some(answer) = stream.message().await.map_err(|status| remote.failure(&status))? {
        let Some(entry) = &answer.entry else { continue };
        out.line(&lines.to_json(entry).to_string())?;
        entries += 1;
        bar.set_message(format!("{entries} entries"));
        bar.tick();
    }
    out.finish()?;
    bar.finish_and_clear();
    match (&args.file, ctx.output.format()) {
        (None, _) => Ok(()),
        (Some(file), Format::Table) => ctx.output.text(&format!("{entries} entries in {}\n", file.display())),
        (Some(file), Format::Json) => ctx.output.json(&json!({ "entries": entries, "file": file })),
    }
}

/// Where the lines go.
enum Target<'a> {
    Out(BufWriter<io::Stdout>),
    File { path: &'a Path, file: BufWriter<File> },
}

impl Target<'_> {
    fn open(path: Option<&Path>) -> Result<Target<'_>, Failure> {
        Ok(match path {
            None => Target::Out(BufWriter::new(io::stdout())),
            Some(path) => {
                Target::File { path, file: BufWriter::new(File::create(path).map_err(|error| cannot(path, &error))?) }
            }
        })
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        match self {
            Target::Out(out) => Ok(writeln!(out, "{line}")?),
            Target::File { path, file } => writeln!(file, "{line}").map_err(|error| cannot(path, &error)),
        }
    }

    /// Everything is on its way, and in a file on the disk.
    fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Target::Out(out) => Ok(out.flush()?),
            Target::File { path, file } => {
                file.flush().and_then(|()| file.get_ref().sync_all()).map_err(|error| cannot(path, &error))
            }
        }
    }
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}
