//! The outbox: one row for each batch, numbered without gaps for each (incarnation, partition).

use std::collections::BTreeMap;

use bytes::Bytes;
use spillway_proto::batch::BatchWriter;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Incarnation, Partition};

use super::error::StoreError;
use super::tx::{Tx, Value};

/// Who gives the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// The commit that makes the batch: there is one writer.
    InCommit,
    /// The relay, in a commit of its own before it publishes: several may insert (the gateways).
    ByRelay,
}

/// A batch of this ledger's outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxBatch {
    pub partition: Partition,
    pub number: i64,
    /// Unix time of the commit in microseconds.
    pub time_us: i64,
    pub body: Bytes,
}

/// The last number of each partition, and how far the relay has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    pub numbers: BTreeMap<Partition, i64>,
    /// Published and acknowledged up to this number, as last written down.
    pub relayed: BTreeMap<Partition, i64>,
}

impl Heads {
    pub(super) fn load(tx: &Tx<'_>, incarnation: Incarnation, partitions: &[Partition]) -> Result<Self, StoreError> {
        let mut heads = Heads::default();
        for partition in partitions {
            heads.numbers.insert(*partition, 0);
            heads.relayed.insert(*partition, 0);
        }
        let rows = tx.read(
            "select partition, number, relayed from head where incarnation = $1",
            &[incarnation.as_bytes().into()],
            |row| Ok((row.int(0)?, row.int(1)?, row.int(2)?)),
        )?;
        for (partition, number, relayed) in rows {
            let Ok(partition) = u16::try_from(partition).map(Partition) else { continue };
            heads.numbers.insert(partition, number);
            heads.relayed.insert(partition, relayed);
        }
        Ok(heads)
    }

    pub(super) fn write(&self, tx: &Tx<'_>, incarnation: Incarnation) -> Result<(), StoreError> {
        tx.write_each(
            "insert into head (incarnation, partition, number, relayed) values ($1, $2, $3, $4)
             on conflict (incarnation, partition)
             do update set number = excluded.number, relayed = excluded.relayed",
            self.numbers.iter().map(|(partition, number)| {
                let relayed = self.relayed.get(partition).copied().unwrap_or(0);
                [incarnation.as_bytes().into(), i64::from(partition.0).into(), (*number).into(), relayed.into()]
            }),
        )?;
        Ok(())
    }
}

/// Adds the batches of a commit; gives them numbers where the commit is to.
pub(super) fn append(
    tx: &Tx<'_>,
    incarnation: Incarnation,
    numbering: Numbering,
    heads: &mut Heads,
    batches: &BTreeMap<Partition, Vec<BatchWriter>>,
    at: Timestamp,
) -> Result<(), StoreError> {
    for (partition, writers) in batches {
        for writer in writers.iter().filter(|writer| !writer.is_empty()) {
            let number = match numbering {
                Numbering::ByRelay => None,
                Numbering::InCommit => Some(next(heads, *partition)),
            };
            tx.write(
                "insert into outbox (incarnation, partition, number, events, time_us, body)
                 values ($1, $2, $3, $4, $5, $6)",
                &[
                    incarnation.as_bytes().into(),
                    i64::from(partition.0).into(),
                    number.into(),
                    writer.events().into(),
                    time::to_micros(at).into(),
                    writer.as_bytes().into(),
                ],
            )?;
        }
    }
    Ok(())
}

/// Numbers every batch that has no number yet, whatever its id: an id may commit after a greater one.
pub(super) fn number_all(tx: &Tx<'_>, heads: &mut Heads) -> Result<(), StoreError> {
    let rows = tx.read("select id, partition from outbox where number is null order by id", &[], |row| {
        let partition = u16::try_from(row.int(1)?).map_err(|_| row.nonsense("partition"))?;
        Ok((row.int(0)?, Partition(partition)))
    })?;
    let numbered: Vec<(i64, i64)> = rows.into_iter().map(|(id, p)| (next(heads, p), id)).collect();
    tx.write_each(
        "update outbox set number = $1 where id = $2",
        numbered.iter().map(|(number, id)| [Value::Int(*number), Value::Int(*id)]),
    )?;
    Ok(())
}

fn next(heads: &mut Heads, partition: Partition) -> i64 {
    let head = heads.numbers.entry(partition).or_insert(0);
    *head += 1;
    *head
}

/// When the oldest batch of a partition that is not published was committed, whether or not it has a number.
pub(super) fn unsaid_since(
    tx: &Tx<'_>,
    incarnation: Incarnation,
    partition: Partition,
    relayed: i64,
) -> Result<Option<Timestamp>, StoreError> {
    let numbered = tx.read(
        "select time_us from outbox where partition = $1 and number > $2 and incarnation = $3 order by number limit 1",
        &[i64::from(partition.0).into(), relayed.into(), incarnation.as_bytes().into()],
        |row| row.int(0),
    )?;
    let unnumbered = tx.read(
        "select time_us from outbox where number is null and partition = $1 order by id limit 1",
        &[i64::from(partition.0).into()],
        |row| row.int(0),
    )?;
    Ok(numbered.into_iter().chain(unnumbered).min().map(time::from_micros))
}

/// Batches from a number on, up to so many bytes (at least one batch, if there is one).
pub(super) fn from(
    tx: &Tx<'_>,
    incarnation: Incarnation,
    partition: Partition,
    from: i64,
    to: i64,
    max_bytes: usize,
) -> Result<Vec<OutboxBatch>, StoreError> {
    let mut batches: Vec<OutboxBatch> = Vec::new();
    let mut bytes = 0;
    let mut next = from;
    while next <= to {
        let page = tx.read(
            "select number, time_us, body from outbox
             where partition = $1 and number between $2 and $3 and incarnation = $4 order by number limit 8",
            &[i64::from(partition.0).into(), next.into(), to.into(), incarnation.as_bytes().into()],
            |row| {
                let (number, time_us, body) = (row.int(0)?, row.int(1)?, Bytes::from(row.blob(2)?));
                Ok(OutboxBatch { partition, number, time_us, body })
            },
        )?;
        let Some(last) = page.last() else { break };
        next = last.number + 1;
        for batch in page {
            bytes += batch.body.len();
            if bytes > max_bytes && !batches.is_empty() {
                return Ok(batches);
            }
            batches.push(batch);
        }
    }
    Ok(batches)
}
