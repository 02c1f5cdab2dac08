//! What a ledger shows of itself to whoever checks it: fixed queries over its tables, named as data, answered a page at
//! a time. The same queries run on the file of a stopped system, so that there is one definition for both.

mod answer;
mod file;
mod machine;

pub use answer::{Page, answer};
pub use file::LedgerFile;
pub use machine::MACHINE;

use crate::ledger::{Row, StoreError, Value};

/// A table as evidence. The SQL names every column in the order of `columns`, which begin with the key.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    pub table: &'static str,
    pub columns: &'static [&'static str],
    /// The kinds of the columns that make the key, from the first column on.
    pub key: &'static [Kind],
    /// Rows after a key, in its order: `... where (a, b) > ($1, $2) order by a, b limit $3`.
    pub page: &'static str,
    /// Rows about one subject: `... where order_id = $1`; `None` where rows have none.
    pub about: Option<&'static str>,
    /// Rows that are read at a time: few where a row may be large.
    pub chunk: usize,
}

/// What a column of a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Text,
    Blob,
}

impl Kind {
    /// Nothing is less.
    fn least(self) -> Cell {
        match self {
            Kind::Int => Cell::Int(i64::MIN),
            Kind::Text => Cell::Text(String::new()),
            Kind::Blob => Cell::Blob(Vec::new()),
        }
    }
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl Cell {
    /// As SQL takes it.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Cell::Null => Value::Null,
            Cell::Int(value) => Value::Int(*value),
            Cell::Text(value) => Value::Text(value),
            Cell::Blob(value) => Value::Blob(value),
        }
    }

    /// Bytes that it takes, about.
    fn len(&self) -> usize {
        match self {
            Cell::Null | Cell::Int(_) => 8,
            Cell::Text(value) => value.len() + 8,
            Cell::Blob(value) => value.len() + 8,
        }
    }
}

impl Evidence {
    /// The key before every other.
    pub fn start(&self) -> Vec<Cell> {
        self.key.iter().map(|kind| kind.least()).collect()
    }

    /// The key of a row.
    pub fn key_of(&self, row: &[Cell]) -> Vec<Cell> {
        row.iter().take(self.key.len()).cloned().collect()
    }

    fn read_row(&self, row: &Row<'_>) -> Result<Vec<Cell>, StoreError> {
        (0..self.columns.len()).map(|column| row.cell(column)).collect()
    }
}

/// The evidence of a ledger under a name: the service's own, or what every ledger has.
pub fn find(own: &'static [Evidence], table: &str) -> Option<&'static Evidence> {
    own.iter().chain(MACHINE).find(|evidence| evidence.table == table)
}
