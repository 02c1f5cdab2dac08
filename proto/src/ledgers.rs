//! The ledgers, whom each of them hears, and the streams and subjects in which they speak.

use std::fmt;
use std::str::FromStr;

use crate::ids::Partition;

/// A role that keeps a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ledger {
    Gateway,
    Inventory,
    Payments,
    Orders,
    Notifications,
    Audit,
}

impl Ledger {
    pub const ALL: [Ledger; 6] =
        [Ledger::Gateway, Ledger::Inventory, Ledger::Payments, Ledger::Orders, Ledger::Notifications, Ledger::Audit];

    /// The role's name, and the `source` of its events.
    pub fn name(self) -> &'static str {
        match self {
            Ledger::Gateway => "gateway",
            Ledger::Inventory => "inventory",
            Ledger::Payments => "payments",
            Ledger::Orders => "orders",
            Ledger::Notifications => "notifications",
            Ledger::Audit => "audit",
        }
    }

    /// Whose streams it hears.
    pub fn hears(self) -> &'static [Ledger] {
        match self {
            Ledger::Gateway => &[],
            Ledger::Inventory => &[Ledger::Gateway, Ledger::Orders],
            Ledger::Payments => &[Ledger::Inventory, Ledger::Orders],
            Ledger::Orders => &[Ledger::Gateway, Ledger::Inventory, Ledger::Payments],
            Ledger::Notifications => &[Ledger::Orders],
            // Itself too: what an operator does to audit's own dead letters belongs into the trail like any other act.
            Ledger::Audit => &Ledger::ALL,
        }
    }

    /// One ledger for each partition; where not, one ledger serves and speaks in all of them.
    pub fn is_partitioned(self) -> bool {
        match self {
            Ledger::Gateway | Ledger::Inventory => false,
            Ledger::Payments | Ledger::Orders | Ledger::Notifications | Ledger::Audit => true,
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Ledger {
    type Err = UnknownLedger;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ledger::ALL.into_iter().find(|l| l.name() == name).ok_or_else(|| UnknownLedger(name.to_owned()))
    }
}

/// No ledger has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no ledger is called {0:?}")]
pub struct UnknownLedger(pub String);

/// One ledger: a role, and its partition where the role has a ledger for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LedgerId {
    pub ledger: Ledger,
    /// The one partition it serves; for a ledger that serves all, 0.
    pub partition: Partition,
}

impl LedgerId {
    /// Every ledger of a role.
    pub fn all(ledger: Ledger, partitions: u16) -> Vec<LedgerId> {
        let count = if ledger.is_partitioned() { partitions } else { 1 };
        (0..count).map(|p| LedgerId { ledger, partition: Partition(p) }).collect()
    }

    /// "orders-1", "inventory": the name of its file, its schema and its consumers.
    pub fn name(&self) -> String {
        if self.ledger.is_partitioned() {
            format!("{}-{}", self.ledger, self.partition)
        } else {
            self.ledger.to_string()
        }
    }

    /// The partitions in which it speaks and is spoken to.
    pub fn serves(&self, partitions: u16) -> Vec<Partition> {
        if self.ledger.is_partitioned() { vec![self.partition] } else { (0..partitions).map(Partition).collect() }
    }
}

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A stream as JetStream should hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    pub name: String,
    pub subjects: Vec<String>,
}

/// The streams in which a ledger speaks: one, with a subject for each partition that it serves; the gateway's are
/// one for each partition.
pub fn streams_of(id: LedgerId, partitions: u16) -> Vec<StreamSpec> {
    match id.ledger {
        Ledger::Inventory => {
            let subjects = id.serves(partitions).into_iter().map(|p| subject(id.ledger, p)).collect();
            vec![StreamSpec { name: stream(id.ledger, Partition(0)), subjects }]
        }
        Ledger::Gateway | Ledger::Payments | Ledger::Orders | Ledger::Notifications | Ledger::Audit => id
            .serves(partitions)
            .into_iter()
            .map(|p| StreamSpec { name: stream(id.ledger, p), subjects: vec![subject(id.ledger, p)] })
            .collect(),
    }
}

/// The stream that holds what a ledger says in a partition.
pub fn stream(ledger: Ledger, partition: Partition) -> String {
    match ledger {
        Ledger::Inventory => "spillway-inventory".to_owned(),
        Ledger::Gateway | Ledger::Payments | Ledger::Orders | Ledger::Notifications | Ledger::Audit => {
            format!("spillway-{ledger}-{partition}")
        }
    }
}

/// The subject on which a ledger says what it says in a partition.
pub fn subject(ledger: Ledger, partition: Partition) -> String {
    format!("spillway.{ledger}.{partition}")
}

/// Where a ledger tells its head, on core NATS.
pub fn head_subject(ledger: Ledger, partition: Partition) -> String {
    format!("spillway.head.{ledger}.{partition}")
}

/// Where listeners tell a ledger how far they have heard it, on core NATS.
pub fn mark_subject(ledger: Ledger, partition: Partition) -> String {
    format!("spillway.mark.{ledger}.{partition}")
}

/// Where a ledger is asked, on core NATS: `heads`, `batches`, or a query or command of its own.
pub fn call_subject(ledger: Ledger, partition: Partition, endpoint: &str) -> String {
    format!("spillway.call.{ledger}.{partition}.{endpoint}")
}

/// Where ledgers tell which orders they raised: whose traces are exported from then on, on core NATS.
pub fn raised_subject(partition: Partition) -> String {
    format!("spillway.raised.{partition}")
}

/// Where orders hints which orders just changed, on core NATS.
pub fn changed_subject(partition: Partition) -> String {
    format!("spillway.changed.orders.{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_audit_hears_itself_and_every_name_is_read_back() {
        for ledger in Ledger::ALL {
            assert_eq!(ledger.hears().contains(&ledger), ledger == Ledger::Audit);
            assert_eq!(ledger.name().parse::<Ledger>().expect("its own name"), ledger);
        }
    }

    #[test]
    fn streams_of_all_ledgers_share_no_subject() {
        let mut subjects: Vec<String> = Ledger::ALL
            .into_iter()
            .flat_map(|l| LedgerId::all(l, 3))
            .flat_map(|id| streams_of(id, 3))
            .flat_map(|s| s.subjects)
            .collect();
        let count = subjects.len();
        subjects.sort();
        subjects.dedup();
        assert_eq!(subjects.len(), count);
        assert_eq!(count, 18);
    }
}
