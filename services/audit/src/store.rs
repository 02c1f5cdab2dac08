//! The table of the chain.

use std::collections::HashSet;

use spillway_proto::batch::BatchNumber;
use spillway_proto::{Incarnation, Ledger, Partition};
use spillway_shared::ledger::{Migration, Row, StoreError, Tx, Value};
use uuid::Uuid;

use crate::chain::{Entry, GENESIS, Hash};

/// The tables of audit. A batch may hold events of many shops, so that an entry belongs to none.
pub const MIGRATIONS: &[Migration] = &[(
    "entry",
    "create table entry (
         position integer primary key,
         source text not null,
         incarnation blob not null,
         partition integer not null,
         number integer not null,
         record_us integer not null,
         hash blob not null,
         event_hashes blob not null,
         body blob not null
     );
     create unique index entry_batch on entry (source, incarnation, partition, number);",
)];

/// Where the chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Of the last entry; 0 where there is none.
    pub position: i64,
    pub hash: Hash,
}

/// The end of the chain.
pub fn tail(tx: &Tx<'_>) -> Result<Tail, StoreError> {
    let last = tx.read("select position, hash from entry order by position desc limit 1", &[], |row| {
        Ok(Tail { position: row.int(0)?, hash: hash(row, 1)? })
    })?;
    Ok(last.into_iter().next().unwrap_or(Tail { position: 0, hash: GENESIS }))
}

/// The hash of the entry at a position.
pub fn hash_at(tx: &Tx<'_>, position: i64) -> Result<Option<Vec<u8>>, StoreError> {
    let found = tx.read("select hash from entry where position = $1", &[position.into()], |row| row.blob(0))?;
    Ok(found.into_iter().next())
}

/// Those of these batches that have an entry.
pub fn known<'b>(
    tx: &Tx<'_>,
    batches: impl Iterator<Item = &'b (Ledger, BatchNumber)>,
) -> Result<HashSet<(Ledger, BatchNumber)>, StoreError> {
    let keys = batches.map(|(source, number)| {
        [
            source.name().into(),
            number.incarnation.as_bytes().into(),
            i64::from(number.partition.0).into(),
            number.number.into(),
        ]
    });
    let found = tx.read_each(
        "select source, incarnation, partition, number from entry
         where source = $1 and incarnation = $2 and partition = $3 and number = $4",
        keys,
        |row| {
            let source = row.text(0)?.parse().map_err(|_| row.nonsense("source"))?;
            let incarnation = Incarnation::from_bytes(&row.blob(1)?).ok_or_else(|| row.nonsense("incarnation"))?;
            let partition = u16::try_from(row.int(2)?).map(Partition).map_err(|_| row.nonsense("partition"))?;
            Ok((source, BatchNumber { incarnation, partition, number: row.int(3)? }))
        },
    )?;
    Ok(found.into_iter().collect())
}

/// Adds entries at the end of the chain.
pub fn append(tx: &Tx<'_>, entries: &[Entry]) -> Result<(), StoreError> {
    let rows: Vec<_> = entries.iter().map(|entry| (entry, entry.incarnation.as_bytes())).collect();
    tx.write_each(
        "insert into entry (position, source, incarnation, partition, number, record_us, hash, event_hashes, body)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        rows.iter().map(|(entry, incarnation)| {
            [
                entry.position.into(),
                entry.source.as_str().into(),
                Value::Blob(&incarnation[..]),
                i64::from(entry.partition).into(),
                entry.number.into(),
                entry.record_us.into(),
                (&entry.hash).into(),
                Value::Blob(&entry.event_hashes),
                Value::Blob(&entry.body),
            ]
        }),
    )?;
    Ok(())
}

/// Entries after a position, in order. Calls back with each; one whose row cannot be read is told as such.
pub fn after(
    tx: &Tx<'_>,
    position: i64,
    limit: i64,
    mut each: impl FnMut(i64, Result<Entry, StoreError>),
) -> Result<i64, StoreError> {
    let rows = tx.read(
        "select position, source, incarnation, partition, number, record_us, hash, event_hashes, body
         from entry where position > $1 order by position limit $2",
        &[position.into(), limit.into()],
        |row| {
            let position = row.int(0)?;
            each(position, entry(row, position));
            Ok(())
        },
    )?;
    Ok(i64::try_from(rows.len()).expect("a length in memory"))
}

fn entry(row: &Row<'_>, position: i64) -> Result<Entry, StoreError> {
    Ok(Entry {
        partition: row.int(3)?.try_into().map_err(|_| row.nonsense("partition"))?,
        position,
        source: row.text(1)?,
        incarnation: Uuid::from_slice(&row.blob(2)?).map_err(|_| row.nonsense("incarnation"))?,
        number: row.int(4)?,
        record_us: row.int(5)?,
        event_hashes: row.blob(7)?,
        hash: hash(row, 6)?,
        body: row.blob(8)?.into(),
    })
}

fn hash(row: &Row<'_>, column: usize) -> Result<Hash, StoreError> {
    row.blob(column)?.try_into().map_err(|_| row.nonsense("hash"))
}
