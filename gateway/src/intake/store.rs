//! The intake in SQL.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use spillway_proto::OrderId;
use spillway_proto::pb::events::OrderPlaced;
use spillway_proto::time::{self, Timestamp};
use spillway_shared::ledger::{Migration, Row, StoreError, Tx, Value};
use uuid::Uuid;

use super::service::{Key, New};
use crate::fingerprint::Fingerprint;

/// Rows are found by a random id, but lie in order of their arrival: a commit touches the end of the table and of the
/// index by order, and only the index by request at random. `placed` is the OrderPlaced without what the other columns
/// say; the order's partition is in its id.
pub const MIGRATIONS: &[Migration] = &[(
    "intake",
    "create table intake (
         shop text not null,
         request_id blob not null,
         order_id blob not null,
         fingerprint blob not null,
         fingerprint_version integer not null,
         create_us integer not null,
         placed blob,
         primary key (shop, request_id)
     );
     create unique index intake_order on intake (order_id);",
)];

/// What is kept under a request id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub order_id: OrderId,
    pub fingerprint: Fingerprint,
    pub create_us: i64,
}

/// An accepted order, as the gateway knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub order_id: OrderId,
    pub fingerprint: Fingerprint,
    pub create_time: Timestamp,
    /// As it was said. `None` where it is no longer kept.
    pub placed: Option<OrderPlaced>,
}

pub(super) fn known<'a>(tx: &Tx<'_>, keys: impl Iterator<Item = &'a Key>) -> Result<HashMap<Key, Known>, StoreError> {
    let found = tx.read_each(
        "select shop, request_id, order_id, fingerprint, fingerprint_version, create_us
         from intake where shop = $1 and request_id = $2",
        keys.map(|key| [Value::Text(&key.shop), key.request_id.as_bytes().into()]),
        |row| {
            let request_id = Uuid::from_slice(&row.blob(1)?).map_err(|_| row.nonsense("request_id"))?;
            let key = Key { shop: Arc::from(row.text(0)?), request_id };
            let (order_id, fingerprint) = (order_id(row, 2)?, fingerprint(row, 3)?);
            Ok((key, Known { order_id, fingerprint, create_us: row.int(5)? }))
        },
    )?;
    Ok(found.into_iter().collect())
}

pub(super) fn insert(tx: &Tx<'_>, new: &[New]) -> Result<(), StoreError> {
    tx.write_each(
        "insert into intake (shop, request_id, order_id, fingerprint, fingerprint_version, create_us, placed)
         values ($1, $2, $3, $4, $5, $6, $7)",
        new.iter().map(|row| {
            [
                Value::Text(&row.key.shop),
                row.key.request_id.as_bytes().into(),
                row.order_id.as_bytes().into(),
                (&row.fingerprint.digest).into(),
                i64::from(row.fingerprint.version).into(),
                row.create_us.into(),
                Value::Blob(&row.content),
            ]
        }),
    )?;
    Ok(())
}

/// The order of this id.
///
/// # Errors
/// [`StoreError`] where the database cannot answer.
pub fn by_order(tx: &Tx<'_>, shop: &str, order_id: OrderId) -> Result<Option<Entry>, StoreError> {
    let found = tx.read(
        "select request_id, order_id, fingerprint, fingerprint_version, create_us, placed
         from intake where order_id = $1 and shop = $2",
        &[order_id.as_bytes().into(), Value::Text(shop)],
        entry,
    )?;
    Ok(found.into_iter().next())
}

/// The order that this request id stands for.
///
/// # Errors
/// [`StoreError`] where the database cannot answer.
pub fn by_request(tx: &Tx<'_>, shop: &str, request_id: Uuid) -> Result<Option<Entry>, StoreError> {
    let found = tx.read(
        "select request_id, order_id, fingerprint, fingerprint_version, create_us, placed
         from intake where shop = $1 and request_id = $2",
        &[Value::Text(shop), request_id.as_bytes().into()],
        entry,
    )?;
    Ok(found.into_iter().next())
}

fn entry(row: &Row<'_>) -> Result<Entry, StoreError> {
    let request_id = Uuid::from_slice(&row.blob(0)?).map_err(|_| row.nonsense("request_id"))?;
    let placed = row.opt_blob(5)?.map(|content| OrderPlaced::decode(Bytes::from(content)));
    let mut placed = placed.transpose().map_err(|_| row.nonsense("placed"))?;
    if let Some(placed) = &mut placed {
        placed.request_id = request_id.to_string();
    }
    Ok(Entry {
        order_id: order_id(row, 1)?,
        fingerprint: fingerprint(row, 2)?,
        create_time: time::from_micros(row.int(4)?),
        placed,
    })
}

fn order_id(row: &Row<'_>, column: usize) -> Result<OrderId, StoreError> {
    OrderId::from_bytes(&row.blob(column)?).ok_or_else(|| row.nonsense("order_id"))
}

/// From the digest's column and the version's, which follows it.
fn fingerprint(row: &Row<'_>, column: usize) -> Result<Fingerprint, StoreError> {
    let digest = row.blob(column)?.try_into().map_err(|_| row.nonsense("fingerprint"))?;
    let version = u8::try_from(row.int(column + 1)?).map_err(|_| row.nonsense("fingerprint_version"))?;
    Ok(Fingerprint { version, digest })
}
