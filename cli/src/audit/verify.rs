//! `spillway audit verify`: a running system recomputes its chains, and what it finds is shown.

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use serde::Serialize;
use spillway_proto::pb::ops::{VerifyAuditRequest, VerifyAuditResponse};

use crate::cli::Format;
use crate::context::Context;
use crate::exit::Failure;

/// What is known of one chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Chain {
    pub partition: u32,
    /// Entries verified.
    pub entries: i64,
    /// Events in them.
    pub events: i64,
    /// The chain's hash after them, in hexadecimal digits: to be noted, and compared with later.
    pub hash: String,
    pub broken: Option<Broken>,
}

/// Where a chain breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    pub position: i64,
    pub problem: String,
}

pub async fn run(ctx: &Context) -> Result<(), Failure> {
    let remote = ctx.ops()?;
    let bar = if ctx.output.shows_progress() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let mut chains: BTreeMap<u32, Told> = BTreeMap::new();
    let told = remote.audit().verify_audit(VerifyAuditRequest {}).await;
    let mut stream = told.map_err(|status| remote.failure(&status))?.into_inner();
    while let Some(answer) = stream.message().await.map_err(|status| remote.failure(&status))? {
        let told = chains.entry(answer.partition).or_default();
        told.is_done |= answer.done || answer.broken.is_some();
        told.chain = chain_of(answer);
        bar.set_message(format!("{} entries verified", chains.values().map(|told| told.chain.entries).sum::<i64>()));
        bar.tick();
    }
    bar.finish_and_clear();
    if let Some(cut) = chains.values().find(|told| !told.is_done) {
        let Chain { partition, entries, .. } = cut.chain;
        return Err(Failure::missing(format!(
            "the verification of partition {partition} was cut off after {entries} entries: try again"
        )));
    }
    report(chains.into_values().map(|told| told.chain).collect(), ctx)
}

#[derive(Default)]
struct Told {
    chain: Chain,
    is_done: bool,
}

fn chain_of(answer: VerifyAuditResponse) -> Chain {
    Chain {
        partition: answer.partition,
        entries: answer.entries,
        events: answer.events,
        hash: hex(&answer.hash),
        broken: answer.broken.map(|broken| Broken { position: broken.position, problem: broken.problem }),
    }
}

/// Prints the chains, one a line.
///
/// # Errors
/// That one is broken, with where and how.
pub fn report(chains: Vec<Chain>, ctx: &Context) -> Result<(), Failure> {
    match ctx.output.format() {
        Format::Json => chains.iter().try_for_each(|chain| ctx.output.json(chain))?,
        Format::Table => {
            ctx.output.table(&["PARTITION", "ENTRIES", "EVENTS", "HASH", "CHAIN"], chains.iter().map(row).collect())?;
            ctx.output.text("A chain cannot see that its end was cut: note entries and hash, and compare.\n")?;
        }
    }
    let broken = chains.iter().find_map(|chain| Some((chain.partition, chain.broken.as_ref()?)));
    match broken {
        None => Ok(()),
        Some((partition, broken)) => Err(Failure::broken(format!(
            "the audit trail of partition {partition} is broken at entry {}: {}; what stands before it is sound",
            broken.position, broken.problem
        ))),
    }
}

fn row(chain: &Chain) -> Vec<String> {
    let state = match &chain.broken {
        None => "sound".to_owned(),
        Some(broken) => format!("BROKEN at {}", broken.position),
    };
    vec![chain.partition.to_string(), chain.entries.to_string(), chain.events.to_string(), chain.hash.clone(), state]
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
