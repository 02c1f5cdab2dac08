//! `spillway check`: whether everything that must always hold does, told from all ledgers, the streams, the provider,
//! the mail and the clients' history. `docs/check.md` says what each invariant means and what to do.

mod decode;
mod gather;
pub mod history;
mod invariants;
mod judge;
mod looking;
mod mail;
mod print;
mod provider;
mod report;
mod schedule;
mod source;
mod streams;
mod work;

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use sha2::{Digest, Sha256};
use spillway_proto::time::Timestamp;

pub use invariants::{ALL, Invariant, Violation};
pub use looking::{Looking, PAUSE, Part, Place, Provider};
pub use report::{Counts, Judged, Orders, Report, Row, Unreachable};
pub use schedule::{CheckConfig, keep};

use crate::cli::CheckArgs;
use crate::context::Context;
use crate::exit::Failure;
use gather::Gatherer;
use report::Input;
use spillway_shared::config::Flag;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Checks, and prints the report.
///
/// # Errors
/// Exit 4 where something does not hold, 3 where something could not be reached.
pub async fn verb(args: CheckArgs, ctx: &Context) -> Result<(), Failure> {
    let mut flags = Vec::new();
    flags.extend(args.nats_url.clone().map(|url| Flag::new("--nats-url", "nats.url", url)));
    let config = ctx.load_config(flags)?.config;
    let looking = Looking::by(&args, &config).await?;
    let report = run(looking).await?;
    print::print(ctx, &report)?;
    report.outcome()
}

/// Makes a check. A violation in a live system is told only if a second look shows it as well.
///
/// # Errors
/// Where there is nothing to look at, or no room to work in. What cannot be reached is in the report.
pub async fn run(looking: Looking) -> Result<Report, Failure> {
    let began = Instant::now();
    let mut report = Report { place: place_name(&looking), ..Report::default() };
    report.inputs = inputs(&looking)?;
    let mut gatherer = Gatherer::new(looking)?;
    gatherer.first().await;
    let found = settle(&mut gatherer, &mut report).await?;
    report.judge(&found, gatherer.looking.rows);
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// Judges what was gathered; where that finds something and the system may have moved meanwhile, once more.
async fn settle(gatherer: &mut Gatherer, report: &mut Report) -> Result<judge::Found, Failure> {
    report.looks = 1;
    let mut found = judged(gatherer)?;
    let is_suspicious = found.values().any(|violations| !violations.is_empty());
    if is_suspicious && gatherer.is_live() && gatherer.unread.is_empty() {
        tokio::time::sleep(gatherer.looking.pause).await;
        gatherer.again(&judge::orders_of(&found)).await;
        found = judge::in_both(&found, judged(gatherer)?);
        report.looks = 2;
    }
    fill(gatherer, report).map_err(|e| Failure::failed(format!("the report cannot be made: {e}")))?;
    Ok(found)
}

/// Nothing can be said as long as a ledger is missing: its silence would look like loss.
fn judged(gatherer: &Gatherer) -> Result<judge::Found, Failure> {
    if !gatherer.unread.is_empty() {
        return Ok(judge::Found::new());
    }
    let judge = || judge::judge(&gatherer.work, &gatherer.looking, &gatherer.seen, Timestamp::now());
    blocking(judge).map_err(|e| Failure::failed(format!("an invariant cannot be judged: {e}")))
}

/// Does what takes a while without holding up the tasks beside it.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        Ok(_) | Err(_) => work(),
    }
}

fn fill(gatherer: &Gatherer, report: &mut Report) -> rusqlite::Result<()> {
    report.orders = judge::orders(&gatherer.work)?;
    report.waiting = judge::waiting(&gatherer.work)?;
    report.counts = judge::counts(&gatherer.work)?;
    report.unreachable.clear();
    for unread in &gatherer.unread {
        report.unreachable(unread);
    }
    for (part, why) in &gatherer.unseen {
        report.unreachable(&source::Unread { what: part.name().to_owned(), why: why.clone() });
    }
    Ok(())
}

fn place_name(looking: &Looking) -> String {
    match &looking.place {
        Place::Asked { .. } => "over NATS".to_owned(),
        Place::Files { data } => data.display().to_string(),
    }
}

/// The files that go in, by their hashes.
fn inputs(looking: &Looking) -> Result<Vec<Input>, Failure> {
    let mut inputs = Vec::new();
    if let Some(path) = &looking.history {
        let sha256 = hash(path).map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?;
        inputs.push(Input { name: path.display().to_string(), sha256 });
    }
    Ok(inputs)
}

fn hash(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
