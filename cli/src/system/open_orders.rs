//! How many orders are still open when everything has stopped: read from the ledgers' files.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// Orders accepted and not at their end; `None` where a ledger cannot be read.
pub fn count(folder: &Path, partitions: u16) -> Option<u64> {
    let gateway = open(folder, "gateway")?;
    let mut total = 0;
    for partition in 0..partitions {
        let orders = open(folder, &format!("orders-{partition}"))?;
        // Known to orders and undecided: the index on states holds all but the confirmed.
        let pending = number(&orders, "select count(*) from orders where state = 'PENDING'", &[])?;
        let heard = "select coalesce(max(number), 0) from inbox_mark where source = 'gateway' and partition = ?1";
        let heard = number(&orders, heard, &[&i64::from(partition)])?;
        // Accepted and not yet heard by orders.
        let unheard = "select coalesce(sum(events), 0) from outbox
                       where partition = ?1 and (number is null or number > ?2)";
        total += pending + number(&gateway, unheard, &[&i64::from(partition), &heard])?;
    }
    u64::try_from(total).ok()
}

fn open(folder: &Path, name: &str) -> Option<Connection> {
    Connection::open_with_flags(folder.join(format!("{name}.db")), OpenFlags::SQLITE_OPEN_READ_ONLY).ok()
}

fn number(ledger: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Option<i64> {
    ledger.query_row(sql, values, |row| row.get(0)).ok()
}
