//! What the checker works on: everything that was gathered, in one temporary SQLite database.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, params};
use spillway_proto::{Ledger, LedgerId};
use spillway_shared::evidence::{Cell, Evidence, Page};

use crate::exit::Failure;

const SCHEMA: &str = include_str!("sql/schema.sql");

/// KiB that are kept in memory; the rest is on disk. Memory stays flat however much is gathered.
const CACHE_KIB: i64 = 32 * 1024;

/// The working database; gone with this, and with the process however that ends: for one without a name SQLite makes a
/// file without a name.
pub struct Work {
    pub connection: Connection,
}

impl Work {
    /// An empty one. What does not fit into memory goes to the folder for temporary files: `SQLITE_TMPDIR`, else `TMPDIR`.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn new() -> Result<Self, Failure> {
        let connection = open().map_err(|e| Failure::failed(format!("the checker's database: {e}")))?;
        Ok(Work { connection })
    }

    /// Everything until [`Work::commit`] is one transaction: nothing here has to survive a crash, all has to be fast.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn begin(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("begin")
    }

    /// # Errors
    /// Where the file cannot be written.
    pub fn commit(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("commit")
    }

    /// Takes the rows of a page as they are, in place of those with the same key.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn put(&self, id: LedgerId, evidence: &Evidence, page: &Page) -> rusqlite::Result<()> {
        let columns = evidence.columns.join(", ");
        let places: Vec<String> = (4..evidence.columns.len() + 4).map(|n| format!("?{n}")).collect();
        let sql = format!(
            "insert or replace into {} (role, ledger, as_of, {columns}) values (?1, ?2, ?3, {})",
            evidence.table,
            places.join(", ")
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let (role, name) = (id.ledger.name(), id.name());
        for row in &page.rows {
            let own: [&dyn ToSql; 3] = [&role, &name, &page.as_of];
            let row: Vec<Shown<'_>> = row.iter().map(Shown).collect();
            let all: Vec<&dyn ToSql> = own.into_iter().chain(row.iter().map(|cell| cell as &dyn ToSql)).collect();
            statement.execute(&all[..])?;
        }
        Ok(())
    }

    /// A figure that queries go by.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn set(&self, name: &str, value: i64) -> rusqlite::Result<()> {
        let sql = "insert or replace into known (name, value) values (?1, ?2)";
        self.connection.execute(sql, params![name, value]).map(|_| ())
    }

    /// The one number that a query answers; 0 where there is none.
    ///
    /// # Errors
    /// Where the query cannot be run.
    pub fn number(&self, sql: &str) -> rusqlite::Result<i64> {
        self.connection.query_row(sql, [], |row| Ok(row.get::<_, Option<i64>>(0)?.unwrap_or(0)))
    }
}

fn open() -> rusqlite::Result<Connection> {
    let connection = Connection::open("")?;
    connection.pragma_update(None, "journal_mode", "off")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // What it sorts by, and tables of one question.
    connection.pragma_update(None, "temp_store", "file")?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(SCHEMA)?;
    for taker in Ledger::ALL {
        for source in taker.hears() {
            let sql = "insert into listens (taker, source) values (?1, ?2)";
            connection.execute(sql, [taker.name(), source.name()])?;
        }
    }
    Ok(connection)
}

struct Shown<'a>(&'a Cell);

impl ToSql for Shown<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Cell::Null => ValueRef::Null,
            Cell::Int(value) => ValueRef::Integer(*value),
            Cell::Text(value) => ValueRef::Text(value.as_bytes()),
            Cell::Blob(value) => ValueRef::Blob(value),
        }))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// Bytes of the largest file that is open here and has no name.
    fn nameless() -> u64 {
        let open = std::fs::read_dir("/proc/self/fd").expect("this process").flatten().map(|entry| entry.path());
        let has_none =
            |file: &PathBuf| std::fs::read_link(file).is_ok_and(|to| to.to_string_lossy().ends_with("(deleted)"));
        open.filter(has_none).filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).max().unwrap_or(0)
    }

    #[test]
    fn what_does_not_fit_into_memory_lies_in_a_file_without_a_name() {
        let work = Work::new().expect("made");
        work.begin().expect("begun");
        let mb = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 96)
            insert into cursor select i, randomblob(1000000) from n";
        work.connection.execute(mb, []).expect("written");
        work.commit().expect("committed");
        assert!(nameless() > 48 << 20, "{} bytes", nameless());
        assert_eq!(work.number("select sum(length(value)) from cursor").expect("read"), 96_000_000);
    }
}
