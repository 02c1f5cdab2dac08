//! What a run moved and kept: batches and bytes of every ledger, from its file.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use spillway_proto::{Ledger, LedgerId};

use crate::exit::Failure;

/// What one ledger said and grew.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Volume {
    pub ledger: String,
    /// Batches said, which is messages published.
    pub batches: i64,
    pub events: i64,
    /// Bytes of the batches.
    pub bytes: i64,
    /// Who hears it.
    pub listeners: usize,
    /// Bytes of its database, the write-ahead log included.
    pub file_bytes: i64,
}

/// The volume of every ledger so far.
///
/// # Errors
/// Where a ledger's file cannot be read.
pub fn read(ledgers: &Path) -> Result<Vec<Volume>, Failure> {
    Ledger::ALL.into_iter().flat_map(|ledger| LedgerId::all(ledger, 1)).map(|id| one(ledgers, id)).collect()
}

fn one(ledgers: &Path, id: LedgerId) -> Result<Volume, Failure> {
    let path = ledgers.join(format!("{}.db", id.name()));
    let failed = |e: rusqlite::Error| Failure::failed(format!("{}: {e}", path.display()));
    let file = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let said = "select count(*), coalesce(sum(events), 0), coalesce(sum(length(body)), 0) from outbox";
    let (batches, events, bytes) =
        file.query_row(said, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(failed)?;
    let pages: i64 = file
        .query_row("select page_count * page_size from pragma_page_count, pragma_page_size", [], |row| row.get(0))
        .map_err(failed)?;
    let listeners = Ledger::ALL.into_iter().filter(|other| other.hears().contains(&id.ledger)).count();
    Ok(Volume { ledger: id.name(), batches, events, bytes, listeners, file_bytes: pages })
}

/// What came between two readings.
pub fn between(before: &[Volume], after: &[Volume]) -> Vec<Volume> {
    let pairs = before.iter().zip(after);
    pairs
        .map(|(before, after)| Volume {
            ledger: after.ledger.clone(),
            batches: after.batches - before.batches,
            events: after.events - before.events,
            bytes: after.bytes - before.bytes,
            listeners: after.listeners,
            file_bytes: after.file_bytes - before.file_bytes,
        })
        .collect()
}
