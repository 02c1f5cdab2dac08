//! Attempts as rows, and the queries for them.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Statement, named_params, params};

use crate::code::Code;
use crate::entry::{Create, Entry, Kind, Status};

/// The columns in the order in which [`entry`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, time_ms, attempt, kind, idempotency_key, reference, asked_amount, amount, currency, \
             source, status, decline_code, error_code, http, answered, stored_id, settles_ms FROM attempts ",
            $rest
        )
    };
}

/// The most recent attempt with a key.
pub(super) const LATEST_OF_KEY: &str = select!("WHERE idempotency_key = ?1 ORDER BY id DESC LIMIT 1");
pub(super) const BY_ID: &str = select!("WHERE id = ?1");
/// What was refunded of a charge, in minor units.
pub(super) const REFUNDED: &str = "SELECT coalesce(sum(amount), 0) FROM attempts \
     WHERE source = ?1 AND kind = 'refund' AND effect = 1";
/// A `stored_id` of 0 is the row itself, whose id is not known before.
pub(super) const INSERT: &str = "INSERT INTO attempts \
     (time_ms, attempt, kind, idempotency_key, reference, asked_amount, amount, currency, source, status, \
      decline_code, error_code, http, effect, answered, stored_id, settles_ms) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get(0)?,
        time_ms: row.get(1)?,
        attempt: row.get(2)?,
        asked: Create {
            kind: named(row, 3, Kind::from_name)?,
            idempotency_key: Arc::from(row.get_ref(4)?.as_str()?),
            reference: row.get(5)?,
            amount: row.get(6)?,
            currency: row.get(8)?,
            source: row.get(9)?,
        },
        amount: row.get(7)?,
        status: named(row, 10, Status::from_name)?,
        decline: code(row, 11)?,
        error: code(row, 12)?,
        http: row.get(13)?,
        answered: row.get(14)?,
        stored_id: row.get(15)?,
        settles_ms: row.get(16)?,
    })
}

fn named<T>(row: &Row<'_>, column: usize, from: fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let name = row.get_ref(column)?.as_str()?;
    from(name).ok_or_else(|| unknown_name(column, name))
}

fn code(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Code>> {
    let Some(name) = row.get_ref(column)?.as_str_or_null()? else {
        return Ok(None);
    };
    Code::from_name(name).map(Some).ok_or_else(|| unknown_name(column, name))
}

fn unknown_name(column: usize, name: &str) -> rusqlite::Error {
    let why = format!("{name:?} is a name that this build does not know");
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into())
}

pub(super) fn insert(statement: &mut Statement<'_>, entry: &Entry) -> rusqlite::Result<i64> {
    statement.insert(params![
        entry.time_ms,
        entry.attempt,
        entry.asked.kind.name(),
        &*entry.asked.idempotency_key,
        entry.asked.reference,
        entry.asked.amount,
        entry.amount,
        entry.asked.currency,
        entry.asked.source,
        entry.status.name(),
        entry.decline.map(Code::name),
        entry.error.map(Code::name),
        entry.http,
        entry.status.has_effect(),
        entry.answered,
        entry.stored_id,
        entry.settles_ms,
    ])
}

pub(super) fn by_id(reading: &Connection, id: i64) -> rusqlite::Result<Option<Entry>> {
    reading.prepare_cached(BY_ID)?.query_row([id], entry).optional()
}

pub(super) fn has_stored_answer(reading: &Connection, key: &str) -> rusqlite::Result<bool> {
    reading
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM attempts WHERE idempotency_key = ?1 AND stored_id IS NOT NULL)")?
        .query_row([key], |row| row.get(0))
}

pub(super) fn by_reference(
    reading: &Connection,
    kind: Kind,
    reference: &str,
    made_until_ms: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    reading
        .prepare_cached(select!(
            "WHERE reference = :reference AND kind = :kind AND time_ms <= :until \
             AND status NOT IN ('replayed', 'not_executed') ORDER BY id LIMIT :limit"
        ))?
        .query_map(
            named_params! {
                ":reference": reference,
                ":kind": kind.name(),
                ":until": made_until_ms,
                ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
            },
            entry,
        )?
        .collect()
}

pub(super) fn after(reading: &Connection, after: i64, limit: usize) -> rusqlite::Result<Vec<Entry>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    reading.prepare_cached(select!("WHERE id > ?1 ORDER BY id LIMIT ?2"))?.query_map([after, limit], entry)?.collect()
}

/// `ch_<name of the ledger>_<row>`, `re_...` for a refund: found by the row, without an index.
pub(super) fn public_id(ledger: &str, kind: Kind, id: i64) -> String {
    format!("{}_{ledger}_{id}", kind.id_prefix())
}

/// The row of a public id of this ledger.
pub(super) fn row_id(ledger: &str, kind: Kind, public_id: &str) -> Option<i64> {
    let rest = public_id.strip_prefix(kind.id_prefix())?.strip_prefix('_')?;
    rest.strip_prefix(ledger)?.strip_prefix('_')?.parse().ok()
}
