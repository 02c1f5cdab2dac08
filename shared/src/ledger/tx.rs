//! SQL as every store speaks it: statements with `$1`, values of four kinds, always over many rows at once.
//!
//! The shape fits PostgreSQL as well: load all states of a batch, decide in memory, write all.

use rusqlite::types::{ToSqlOutput, ValueRef};

use super::error::StoreError;
use crate::evidence::Cell;

/// What goes into a statement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Value::Blob(value)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Value::Blob(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Int(value) => ValueRef::Integer(value),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Blob(value) => ValueRef::Blob(value),
        }))
    }
}

/// What comes out of a statement.
pub struct Row<'r> {
    row: &'r rusqlite::Row<'r>,
}

impl Row<'_> {
    pub fn int(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.row.get(column)?)
    }

    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.row.get(column)?)
    }

    pub fn text(&self, column: usize) -> Result<String, StoreError> {
        Ok(self.row.get(column)?)
    }

    pub fn opt_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        Ok(self.row.get(column)?)
    }

    pub fn blob(&self, column: usize) -> Result<Vec<u8>, StoreError> {
        Ok(self.row.get(column)?)
    }

    pub fn opt_blob(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.row.get(column)?)
    }

    /// Whatever it holds.
    pub fn cell(&self, column: usize) -> Result<Cell, StoreError> {
        Ok(match self.row.get_ref(column)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Int(value),
            ValueRef::Real(_) => return Err(self.nonsense(&column.to_string())),
            ValueRef::Text(value) => Cell::Text(String::from_utf8_lossy(value).into_owned()),
            ValueRef::Blob(value) => Cell::Blob(value.to_vec()),
        })
    }

    /// A column that this build cannot make sense of.
    pub fn nonsense(&self, column: &str) -> StoreError {
        StoreError::Statement(format!("column {column} holds what this build cannot read"))
    }
}

/// One transaction, or one consistent view for a query.
pub struct Tx<'c> {
    connection: &'c rusqlite::Connection,
}

impl<'c> Tx<'c> {
    pub(crate) fn new(connection: &'c rusqlite::Connection) -> Self {
        Tx { connection }
    }

    /// SQLite takes `$1` for a name and numbers names as they come, PostgreSQL takes it for a number: both mean the
    /// same as long as the parameters first appear in order.
    fn prepare(&self, sql: &str) -> Result<rusqlite::CachedStatement<'c>, StoreError> {
        let statement = self.connection.prepare_cached(sql)?;
        debug_assert!(
            (1..=statement.parameter_count()).all(|n| statement.parameter_name(n) == Some(&format!("${n}"))),
            "parameters must first appear as $1, $2, $3: {sql}"
        );
        Ok(statement)
    }

    /// Runs a statement once. Answers how many rows it changed.
    pub fn write(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, StoreError> {
        let mut statement = self.prepare(sql)?;
        Ok(statement.execute(rusqlite::params_from_iter(values))?)
    }

    /// Runs a statement for every row. Answers how many rows it changed in all.
    pub fn write_each<'v, const N: usize>(
        &self,
        sql: &str,
        rows: impl IntoIterator<Item = [Value<'v>; N]>,
    ) -> Result<usize, StoreError> {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(0);
        }
        let mut statement = self.prepare(sql)?;
        let mut changed = 0;
        for row in rows {
            changed += statement.execute(rusqlite::params_from_iter(row.iter()))?;
        }
        Ok(changed)
    }

    /// All rows of a query.
    pub fn read<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut each: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(each(&Row { row })?);
        }
        Ok(found)
    }

    /// All rows of a query, for every key.
    pub fn read_each<'v, const N: usize, T>(
        &self,
        sql: &str,
        keys: impl IntoIterator<Item = [Value<'v>; N]>,
        mut each: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut keys = keys.into_iter().peekable();
        if keys.peek().is_none() {
            return Ok(Vec::new());
        }
        let mut statement = self.prepare(sql)?;
        let mut found = Vec::new();
        for key in keys {
            let mut rows = statement.query(rusqlite::params_from_iter(key.iter()))?;
            while let Some(row) = rows.next()? {
                found.push(each(&Row { row })?);
            }
        }
        Ok(found)
    }

    /// Runs a script of a migration.
    pub(super) fn script(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch(sql)?)
    }
}
