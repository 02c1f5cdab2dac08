//! Which ledger, where, and by whose clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Incarnation, LedgerId, Partition};

use super::outbox::Numbering;
use super::schema::Migration;
use crate::logs::LineRate;
use crate::telemetry::Tracer;

/// Where time comes from: passed in, so that tests can hand in another.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// What it takes to open a ledger.
#[derive(Clone)]
pub struct LedgerSpec {
    pub id: LedgerId,
    /// How many partitions there are; fixed at the first start.
    pub partitions: u16,
    /// The folder of its file.
    pub folder: PathBuf,
    pub numbering: Numbering,
    /// The tables of the service.
    pub migrations: &'static [Migration],
    pub clock: Arc<dyn Clock>,
    pub limits: Limits,
    /// Of the lines that it logs, with the other ledgers of its role.
    pub lines: Arc<LineRate>,
    /// What this build knows: another one may know kinds that were newer to the one before.
    pub build: String,
    pub tracer: Tracer,
}

/// Lines a second that a role logs about events, where nobody said otherwise.
pub const LINES_PER_SECOND: u32 = 200;

/// The bounds of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Inputs that may wait before the writer.
    pub queue: usize,
    /// Inputs that go into one commit, about.
    pub commit_inputs: usize,
    /// Connections that answer queries.
    pub readers: usize,
    /// How long a commit gathers at most, under full load, until what was said before is acknowledged: what comes
    /// meanwhile goes into one commit and one message. At rest nothing waits.
    pub gather: Duration,
    /// How long a commit that meets another's lock is tried again before its inputs are refused.
    pub busy_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            queue: 8192,
            commit_inputs: 4096,
            readers: 4,
            gather: Duration::from_millis(25),
            busy_for: Duration::from_secs(10),
        }
    }
}

impl LedgerSpec {
    /// One writer, the machine's clock.
    pub fn new(id: LedgerId, partitions: u16, folder: impl Into<PathBuf>, migrations: &'static [Migration]) -> Self {
        LedgerSpec {
            id,
            partitions,
            folder: folder.into(),
            numbering: Numbering::InCommit,
            migrations,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            lines: Arc::new(LineRate::new(id.ledger.name(), LINES_PER_SECOND)),
            build: this_build(),
            tracer: Tracer::off(),
        }
    }

    /// Its database file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.db", self.id.name()))
    }
}

/// The version of this build and a digest of its contract, in which every kind of event and every value stands.
fn this_build() -> String {
    let digest = Sha256::digest(spillway_proto::DESCRIPTOR_SET);
    let digest: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{}+{digest}", env!("CARGO_PKG_VERSION"))
}

/// Who an open ledger is.
#[derive(Clone, Debug)]
pub struct Identity {
    pub id: LedgerId,
    pub partitions: u16,
    /// The partitions in which it speaks.
    pub serves: Vec<Partition>,
    pub incarnation: Incarnation,
    /// Of the lease under which it writes.
    pub epoch: i64,
    pub numbering: Numbering,
    /// What this build knows.
    pub build: String,
}

/// The time, in whole microseconds, so that SQL gives back what it was given.
pub(super) fn now(clock: &dyn Clock) -> Timestamp {
    time::whole_micros(clock.now())
}
