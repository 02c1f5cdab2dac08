//! What audit answers: it verifies its chain, and gives out its entries, a stretch at a time.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::{
    Call, ExportStretchRequest, ExportStretchResponse, Refusal, VerifyStretchRequest, VerifyStretchResponse,
};
use spillway_proto::pb::ops::{AuditEntry, BrokenEntry};
use spillway_shared::bus::refusal::{self, Code};
use spillway_shared::ledger::{Ledger, ReadError, StoreError, Tx};

use crate::chain::{Entry, GENESIS, Hash};
use crate::service::Audit;
use crate::store;
use crate::verify::{Broken, Problem, Verifier};

/// Bytes of an answer after which no further entry is added: half of the `max_payload` that servers have by default.
const ANSWER_BYTES: usize = 512 * 1024;

/// Entries of one stretch at most, and where none or less than one is asked for.
const STRETCH_ENTRIES: i32 = 4096;

/// Bytes of bodies that one stretch verifies, about: some 100 ms of hashing.
const STRETCH_BYTES: usize = 32 * 1024 * 1024;

/// Entries read at a time: bounds what is held in memory, as a body may be as large as a batch.
const PAGE_ENTRIES: i64 = 8;

/// Verifies a stretch of the chain: [`VerifyStretchRequest`] to [`VerifyStretchResponse`].
///
/// # Errors
/// INVALID_ARGUMENT where the request cannot be read or its hash is none; UNAVAILABLE where the ledger cannot be read.
/// A broken chain is an answer.
pub async fn verify(ledger: Ledger<Audit>, call: Call) -> Result<Bytes, Refusal> {
    let request: VerifyStretchRequest = refusal::read(&call)?;
    let after = Noted::read(&request)?;
    let limit = at_most(request.limit);
    let stretch = ledger.query(move |tx| verify_stretch(tx, after, limit)).await.map_err(not_read)?;
    Ok(stretch.encode_to_vec().into())
}

/// Gives out a stretch of entries: [`ExportStretchRequest`] to [`ExportStretchResponse`]. There is at least one entry
/// in the answer, if there is one, and about 512 KiB at most beyond it.
///
/// # Errors
/// INVALID_ARGUMENT where the request cannot be read; DATA_LOSS where the next entry cannot; UNAVAILABLE where the
/// ledger cannot be read.
pub async fn export(ledger: Ledger<Audit>, call: Call) -> Result<Bytes, Refusal> {
    let request: ExportStretchRequest = refusal::read(&call)?;
    let limit = at_most(request.limit);
    let stretch = ledger.query(move |tx| export_stretch(tx, request.after, limit)).await.map_err(not_read)?;
    Ok(stretch.encode_to_vec().into())
}

fn at_most(limit: i32) -> i64 {
    let limit = if limit < 1 { STRETCH_ENTRIES } else { limit.min(STRETCH_ENTRIES) };
    i64::from(limit)
}

/// Where the chain was verified to, and its hash there.
#[derive(Clone, Copy, Debug)]
struct Noted {
    position: i64,
    hash: Hash,
}

impl Noted {
    fn read(request: &VerifyStretchRequest) -> Result<Self, Refusal> {
        let start = Noted { position: 0, hash: GENESIS };
        match (request.after, Hash::try_from(&request.hash[..])) {
            (0, _) if request.hash.is_empty() => Ok(start),
            (0, Ok(GENESIS)) => Ok(start),
            (position @ 1.., Ok(hash)) => Ok(Noted { position, hash }),
            (_, Ok(_) | Err(_)) => {
                let message = "after is 0 without a hash, or above 0 with the hash of 32 bytes at that position";
                Err(refusal::new(Code::InvalidArgument, "INVALID_HASH", message))
            }
        }
    }

    /// What is wrong with the chain at the noted position.
    fn problem(&self, tx: &Tx<'_>) -> Result<Option<Problem>, StoreError> {
        if self.position == 0 {
            return Ok(None);
        }
        Ok(match store::hash_at(tx, self.position)? {
            None => Some(Problem::Gone),
            Some(hash) if hash != self.hash => Some(Problem::NotAsNoted),
            Some(_) => None,
        })
    }
}

fn verify_stretch(tx: &Tx<'_>, noted: Noted, limit: i64) -> Result<VerifyStretchResponse, StoreError> {
    let mut verifier = Verifier::after(noted.position, noted.hash);
    let mut broken = noted.problem(tx)?.map(|problem| Broken { position: noted.position, problem });
    let (mut end, mut entries, mut bytes) = (false, 0, 0);
    while broken.is_none() && !end && entries < limit && bytes < STRETCH_BYTES {
        let page = PAGE_ENTRIES.min(limit - entries);
        let found = store::after(tx, verifier.position(), page, |_, entry| {
            if broken.is_none() {
                bytes += entry.as_ref().map_or(0, |entry| entry.body.len());
                broken = check(&mut verifier, entry).err();
            }
        })?;
        entries += found;
        end = found < page;
    }
    Ok(VerifyStretchResponse {
        position: broken.as_ref().map_or(verifier.position(), |broken| broken.position),
        events: verifier.events(),
        hash: verifier.hash().to_vec().into(),
        end,
        broken: broken.map(|b| BrokenEntry { position: b.position, problem: b.problem.to_string() }),
    })
}

fn check(verifier: &mut Verifier, entry: Result<Entry, StoreError>) -> Result<(), Broken> {
    let position = verifier.position() + 1;
    let unreadable = |error: StoreError| Broken { position, problem: Problem::Unreadable(error.to_string()) };
    verifier.check(&entry.map_err(unreadable)?)
}

fn export_stretch(tx: &Tx<'_>, after: i64, limit: i64) -> Result<ExportStretchResponse, StoreError> {
    let mut answer = ExportStretchResponse::default();
    let (mut position, mut bytes, mut taken) = (after, 0, 0);
    while taken < limit {
        let page = PAGE_ENTRIES.min(limit - taken);
        let mut entries = Vec::new();
        let found = store::after(tx, position, page, |at, entry| {
            position = at;
            entries.push(entry.map(AuditEntry::from));
        })?;
        for entry in entries {
            let entry: AuditEntry = match entry {
                Ok(entry) => entry,
                Err(_) if !answer.entries.is_empty() => return Ok(answer),
                Err(error) => return Err(error),
            };
            bytes += entry.encoded_len();
            if bytes > ANSWER_BYTES && !answer.entries.is_empty() {
                return Ok(answer);
            }
            answer.entries.push(entry);
        }
        taken += found;
        if found < page {
            answer.end = true;
            return Ok(answer);
        }
    }
    Ok(answer)
}

fn not_read(error: ReadError) -> Refusal {
    tracing::warn!(%error, "query refused");
    match error {
        ReadError::Store(StoreError::Statement(_)) => refusal::new(
            Code::DataLoss,
            "ENTRY_DAMAGED",
            "the next entry is damaged; verify the chain to learn its position",
        ),
        ReadError::Store(_) | ReadError::Closed => {
            refusal::new(Code::Unavailable, "AUDIT_UNAVAILABLE", "audit cannot read its ledger now; try again")
        }
    }
}
