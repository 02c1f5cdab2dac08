//! `spillway audit verify FILE`: recomputes the chains of an export, far from the system it came from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use spillway_audit::{Verifier, from_json};

use super::verify::{Broken, Chain, hex, report};
use crate::context::Context;
use crate::exit::Failure;

pub fn run(path: &Path, ctx: &Context) -> Result<(), Failure> {
    let unreadable = |error: io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let chains = if path == Path::new("-") {
        verify(io::stdin().lock(), unreadable)?
    } else {
        verify(BufReader::new(File::open(path).map_err(unreadable)?), unreadable)?
    };
    if chains.is_empty() {
        return Err(Failure::usage(format!("{} holds no entry", path.display())));
    }
    report(chains, ctx)
}

/// The chains of an export, each verified up to its end or to where it breaks.
fn verify(lines: impl BufRead, unreadable: impl Fn(io::Error) -> Failure) -> Result<Vec<Chain>, Failure> {
    let mut chains: BTreeMap<u32, (Verifier, Option<Broken>)> = BTreeMap::new();
    for (index, line) in lines.lines().enumerate() {
        let line = line.map_err(&unreadable)?;
        let number = index + 1;
        let entry = match from_json(&line) {
            Ok(entry) => entry,
            Err(error) if chains.is_empty() => return Err(Failure::usage(format!("line {number}: {error}"))),
            Err(error) => return Err(Failure::broken(format!("line {number}: {error}"))),
        };
        let (verifier, broken) = chains.entry(entry.partition).or_insert_with(|| (Verifier::new(), None));
        if broken.is_none()
            && let Err(found) = verifier.next(&entry)
        {
            *broken = Some(Broken { position: found.position, problem: found.problem.to_string() });
        }
    }
    let chain = |(partition, (verifier, broken)): (u32, (Verifier, Option<Broken>))| Chain {
        partition,
        entries: verifier.position(),
        events: verifier.events(),
        hash: hex(verifier.hash()),
        broken,
    };
    Ok(chains.into_iter().map(chain).collect())
}

#[cfg(test)]
mod tests;
