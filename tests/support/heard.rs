//! Whether every ledger has heard everything: read from the ledgers' files.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use spillway_proto::{Ledger, LedgerId};

use super::{PATIENCE, System};

impl System {
    /// Until every listener has heard every source up to its head, without a gap.
    pub async fn until_all_heard(&self) {
        let mut every = tokio::time::interval(Duration::from_millis(100));
        let mut missing = Vec::new();
        let heard = async {
            loop {
                every.tick().await;
                missing = self.unheard();
                if missing.is_empty() {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, heard).await.is_ok();
        assert!(in_time, "not everything is heard: {missing:?}");
    }

    /// What is not heard yet, in words.
    pub fn unheard(&self) -> Vec<String> {
        let partitions = self.partitions();
        let heads = self.heads();
        let mut missing = Vec::new();
        for listener in Ledger::ALL.into_iter().flat_map(|ledger| LedgerId::all(ledger, partitions)) {
            let marks = self.marks(&listener);
            for source in listener.ledger.hears() {
                for partition in listener.serves(partitions) {
                    let key = (source.name().to_owned(), i64::from(partition.0));
                    let (head, mark) = (heads.get(&key).copied().unwrap_or(0), marks.get(&key).copied().unwrap_or(0));
                    if head != mark {
                        missing.push(format!("{listener} has heard {source} {partition} up to {mark} of {head}"));
                    }
                }
            }
        }
        missing
    }

    fn partitions(&self) -> u16 {
        self.options.partitions.unwrap_or(1)
    }

    /// The last number of each source in each partition. What has no number yet counts as one more.
    pub fn heads(&self) -> BTreeMap<(String, i64), i64> {
        let mut heads = BTreeMap::new();
        for id in Ledger::ALL.into_iter().flat_map(|ledger| LedgerId::all(ledger, self.partitions())) {
            let sql = "select partition, coalesce(max(number), 0) + sum(number is null) from outbox group by partition";
            for (partition, number) in self.rows(&id, sql, |row| Ok((row.get(0)?, row.get(1)?))) {
                heads.insert((id.ledger.name().to_owned(), partition), number);
            }
        }
        heads
    }

    /// What ledgers noted of JetStream's failures so far, summed over all of them by kind.
    pub fn incidents(&self) -> BTreeMap<String, i64> {
        let mut all: BTreeMap<String, i64> = BTreeMap::new();
        for id in Ledger::ALL.into_iter().flat_map(|ledger| LedgerId::all(ledger, self.partitions())) {
            let rows: Vec<(String, i64)> =
                self.rows(&id, "select kind, count from incident", |row| Ok((row.get(0)?, row.get(1)?)));
            for (kind, count) in rows {
                *all.entry(kind).or_default() += count;
            }
        }
        all
    }

    /// Until so much more than before was noted of a kind.
    pub async fn until_noted(&self, before: &BTreeMap<String, i64>, kind: &str) {
        let mut every = tokio::time::interval(Duration::from_millis(100));
        let known = before.get(kind).copied().unwrap_or(0);
        let noted = async {
            while self.incidents().get(kind).copied().unwrap_or(0) <= known {
                every.tick().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, noted).await.is_ok();
        assert!(in_time, "{kind} is not noted: {:?}", self.incidents());
    }

    fn marks(&self, id: &LedgerId) -> BTreeMap<(String, i64), i64> {
        let sql = "select source, partition, number from inbox_mark";
        self.rows(id, sql, |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).into_iter().collect()
    }

    fn rows<T>(&self, id: &LedgerId, sql: &str, read: fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let ledger = Connection::open_with_flags(self.ledger(&id.name()), OpenFlags::SQLITE_OPEN_READ_ONLY);
        let ledger = ledger.expect("it is there");
        ledger.busy_timeout(PATIENCE).expect("set");
        let mut statement = ledger.prepare(sql).expect("valid");
        let rows = statement.query_map([], read).expect("read");
        rows.collect::<Result<_, _>>().expect("rows")
    }
}
