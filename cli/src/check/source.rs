//! Where the ledgers are: on the bus, each role answering for its own; or the files of a stopped system.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use spillway_proto::LedgerId;
use spillway_proto::pb::internal::{EvidenceRequest, EvidenceResponse, EvidenceValue};
use spillway_shared::bus::{Bus, CallFailed, Caller};
use spillway_shared::evidence::{Cell, Evidence, LedgerFile, Page};

use crate::exit::Failure;
use crate::system;

/// How long one page may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Rows of one page; the ledger sends fewer where they are large.
const ROWS: i32 = 2000;

/// How often a ledger that does not answer is asked, and how long after.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// Where the ledgers are.
pub enum Source {
    Live(Box<Bus>),
    Files { folder: PathBuf, open: HashMap<String, LedgerFile> },
}

/// A ledger that cannot be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub what: String,
    pub why: String,
}

impl Source {
    /// The ledgers of a stopped system.
    ///
    /// # Errors
    /// Where there are none, or something still writes them.
    pub fn files(data: &Path) -> Result<Self, Failure> {
        let folder = system::ledgers(data);
        let entries = std::fs::read_dir(&folder)
            .map_err(|e| Failure::missing(format!("no ledgers in {}: {e}", folder.display())))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "lock") && is_locked(&path) {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                return Err(Failure::usage(format!(
                    "{name} is running on {}: stop it first, or ask it: `spillway check` without --data",
                    data.display()
                )));
            }
        }
        Ok(Source::Files { folder, open: HashMap::new() })
    }

    pub fn is_live(&self) -> bool {
        match self {
            Source::Live(_) => true,
            Source::Files { .. } => false,
        }
    }

    /// The rows after a key.
    ///
    /// # Errors
    /// Where the ledger does not answer or cannot be read.
    pub async fn page(&mut self, id: LedgerId, evidence: &Evidence, after: Vec<Cell>) -> Result<Page, Unread> {
        match self {
            Source::Files { folder, open } => {
                opened(folder, open, id)?.page(evidence, after, ROWS).map_err(|e| unread(id, e.to_string()))
            }
            Source::Live(bus) => {
                let after = after.into_iter().map(EvidenceValue::from).collect();
                let table = evidence.table.to_owned();
                ask(bus, id, EvidenceRequest { table, after, limit: ROWS, subjects: vec![] }).await
            }
        }
    }

    /// The rows about some of these subjects, from the first; the page says how many.
    ///
    /// # Errors
    /// Where the ledger does not answer or cannot be read.
    pub async fn about(&mut self, id: LedgerId, evidence: &Evidence, subjects: &[Bytes]) -> Result<Page, Unread> {
        match self {
            Source::Files { folder, open } => {
                opened(folder, open, id)?.about(evidence, subjects).map_err(|e| unread(id, e.to_string()))
            }
            Source::Live(bus) => {
                let (table, subjects) = (evidence.table.to_owned(), subjects.to_vec());
                ask(bus, id, EvidenceRequest { table, subjects, ..EvidenceRequest::default() }).await
            }
        }
    }
}

async fn ask(bus: &Bus, id: LedgerId, request: EvidenceRequest) -> Result<Page, Unread> {
    let caller = Caller::background(PATIENCE);
    let mut last = String::new();
    // A role that is just starting, or a moment without NATS, is no reason to give up.
    for _ in 0..TRIES {
        let asked = bus.call::<EvidenceResponse>(id.ledger, id.partition, "evidence", &caller, &request).await;
        match asked {
            Ok(answer) => return Ok(Page::from(answer)),
            Err(CallFailed::Refused(refusal)) if refusal.retry_after_ms == 0 => {
                return Err(unread(id, refusal.message));
            }
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(unread(id, last))
}

fn unread(id: LedgerId, why: String) -> Unread {
    Unread { what: id.name(), why }
}

fn opened<'o>(
    folder: &Path,
    open: &'o mut HashMap<String, LedgerFile>,
    id: LedgerId,
) -> Result<&'o LedgerFile, Unread> {
    let path = folder.join(format!("{}.db", id.name()));
    match open.entry(id.name()) {
        std::collections::hash_map::Entry::Occupied(file) => Ok(file.into_mut()),
        std::collections::hash_map::Entry::Vacant(place) => {
            let file = LedgerFile::open(&path).map_err(|e| unread(id, format!("{}: {e}", path.display())))?;
            Ok(place.insert(file))
        }
    }
}

/// Whether a process holds a ledger's lock.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}
