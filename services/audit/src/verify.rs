//! Recomputes a chain, entry by entry, from a ledger or from an export.

use spillway_proto::pb::ops::AuditEntry;

use crate::chain::{self, Entry, GENESIS, Hash};

/// An entry that does not fit the chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {position}: {problem}")]
pub struct Broken {
    /// The position at which the chain breaks.
    pub position: i64,
    pub problem: Problem,
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("it is missing; the next entry is {found}")]
    Missing { found: i64 },
    #[error("entry {found} stands in its place")]
    Misplaced { found: i64 },
    #[error("it belongs to partition {found}, the chain to partition {expected}")]
    OtherPartition { expected: u32, found: u32 },
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("its hash does not follow from the entry before it and its own fields")]
    Hash,
    #[error("its body is no batch of events: {0}")]
    NoBatch(String),
    #[error("its body holds {found} events where {expected} hashes are written down")]
    EventCount { expected: i64, found: i64 },
    #[error("event {number} of its body is not the one whose hash is written down")]
    Event { number: i64 },
    #[error("its body holds bytes that belong to no event")]
    Padded,
    #[error("it is gone: the chain ends before it")]
    Gone,
    #[error("its hash is not the one that was noted for it")]
    NotAsNoted,
}

/// Takes the entries of one partition in order of position.
///
/// It cannot see that the tail was cut, nor that the last entry was written anew with a hash to match: compare
/// [`Verifier::position`] and [`Verifier::hash`] with what was noted before.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    partition: Option<u32>,
    position: i64,
    hash: Hash,
    events: i64,
    erased: i64,
}

impl Verifier {
    /// From the first entry on.
    pub fn new() -> Self {
        Verifier { hash: GENESIS, ..Verifier::default() }
    }

    /// After an entry that was verified before, whose hash was noted.
    pub fn after(position: i64, hash: Hash) -> Self {
        Verifier { position, hash, ..Verifier::default() }
    }

    /// Verifies the next entry. An error leaves the verifier where it was.
    pub fn next(&mut self, entry: &AuditEntry) -> Result<(), Broken> {
        let position = self.position + 1;
        let entry = Entry::try_from(entry).map_err(|problem| Broken { position, problem })?;
        self.check(&entry)
    }

    /// Like [`Verifier::next`], for an entry that is read already.
    pub fn check(&mut self, entry: &Entry) -> Result<(), Broken> {
        let position = self.position + 1;
        self.fits(entry).and_then(|()| body_fits(entry)).map_err(|problem| Broken { position, problem })?;
        self.partition = Some(entry.partition);
        self.position = position;
        self.hash = entry.hash;
        self.events += entry.events();
        self.erased += i64::from(entry.body.is_empty() && entry.events() > 0);
        Ok(())
    }

    fn fits(&self, entry: &Entry) -> Result<(), Problem> {
        let (expected, found) = (self.position + 1, entry.position);
        if found > expected {
            return Err(Problem::Missing { found });
        }
        if found < expected {
            return Err(Problem::Misplaced { found });
        }
        if let Some(expected) = self.partition
            && entry.partition != expected
        {
            return Err(Problem::OtherPartition { expected, found: entry.partition });
        }
        if !entry.event_hashes.len().is_multiple_of(size_of::<Hash>()) {
            return Err(Problem::Unreadable("event_hashes is no sequence of whole hashes".to_owned()));
        }
        if entry.hash_after(&self.hash) != entry.hash {
            return Err(Problem::Hash);
        }
        Ok(())
    }

    /// The last position verified; 0 before the first.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The chain's hash there.
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Events in the entries verified.
    pub fn events(&self) -> i64 {
        self.events
    }

    /// Entries verified whose body was erased.
    pub fn erased(&self) -> i64 {
        self.erased
    }
}

/// Whether the body, unless it was erased, holds exactly the events whose hashes are written down.
fn body_fits(entry: &Entry) -> Result<(), Problem> {
    if entry.body.is_empty() {
        return Ok(());
    }
    let hashed = chain::hash_events(&entry.body).map_err(|bad| Problem::NoBatch(bad.0))?;
    let (expected, found) = (entry.event_hashes.as_slice(), hashed.event_hashes.as_slice());
    if expected != found {
        return Err(differing(expected, found));
    }
    if hashed.body != entry.body { Err(Problem::Padded) } else { Ok(()) }
}

/// How two lists of hashes differ.
fn differing(expected: &[u8], found: &[u8]) -> Problem {
    let count = |hashes: &[u8]| i64::try_from(hashes.len() / size_of::<Hash>()).expect("a length in memory");
    if expected.len() != found.len() {
        return Problem::EventCount { expected: count(expected), found: count(found) };
    }
    let each = |hashes: &[u8]| hashes.chunks(size_of::<Hash>()).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let same = each(expected).iter().zip(each(found)).take_while(|(a, b)| *a == b).count();
    Problem::Event { number: i64::try_from(same + 1).expect("a length in memory") }
}
