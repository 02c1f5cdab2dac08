//! The table of deliveries.

use std::collections::{BTreeSet, HashMap};

use spillway_proto::time;
use spillway_proto::{EventId, OrderId};
use spillway_shared::ledger::{Migration, Row, StoreError, Tx, Value};

use crate::domain::{Delivery, Key, State};

/// The tables of notifications. The key begins with the order, whose ids are ordered by time, so that new rows lie
/// side by side; the event alone would scatter them. No address is in it: that is in the due row alone.
pub const MIGRATIONS: &[Migration] = &[(
    "delivery",
    "create table delivery (
         order_id blob not null,
         event_id blob not null,
         channel text not null,
         shop text not null,
         kind text not null,
         state text not null,
         attempt integer not null,
         told_us integer not null,
         ended_us integer,
         error text,
         primary key (order_id, event_id, channel)
     ) without rowid;",
)];

/// A delivery as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub shop: String,
    /// The name of the event that it tells of.
    pub kind: String,
    pub delivery: Delivery,
}

/// The deliveries of a channel with these keys, where there are any.
pub fn load(tx: &Tx<'_>, channel: &str, keys: &BTreeSet<Key>) -> Result<HashMap<Key, Stored>, StoreError> {
    let rows = tx.read_each(
        "select order_id, event_id, shop, kind, state, attempt, told_us, ended_us, error from delivery
         where order_id = $1 and event_id = $2 and channel = $3",
        keys.iter().map(|key| [key.order.as_bytes().into(), event_bytes(key).into(), Value::Text(channel)]),
        |row| Ok((key(row)?, stored(row)?)),
    )?;
    Ok(rows.into_iter().collect())
}

/// Every delivery of an order of this shop.
pub fn of_order(tx: &Tx<'_>, shop: &str, order: OrderId) -> Result<Vec<(Key, Stored)>, StoreError> {
    tx.read(
        "select order_id, event_id, shop, kind, state, attempt, told_us, ended_us, error from delivery
         where order_id = $1 and shop = $2 order by told_us",
        &[order.as_bytes().into(), Value::Text(shop)],
        |row| Ok((key(row)?, stored(row)?)),
    )
}

/// Writes deliveries that are new or changed.
pub fn save<'d>(
    tx: &Tx<'_>,
    channel: &str,
    deliveries: impl Iterator<Item = (&'d Key, &'d Stored)>,
) -> Result<(), StoreError> {
    tx.write_each(
        "insert into delivery (order_id, event_id, channel, shop, kind, state, attempt, told_us, ended_us, error)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict (order_id, event_id, channel)
         do update set state = excluded.state, attempt = excluded.attempt, ended_us = excluded.ended_us,
                       error = excluded.error",
        deliveries.map(|(key, stored)| {
            let delivery = &stored.delivery;
            [
                key.order.as_bytes().into(),
                event_bytes(key).into(),
                Value::Text(channel),
                stored.shop.as_str().into(),
                stored.kind.as_str().into(),
                delivery.state.name().into(),
                delivery.attempt.into(),
                time::to_micros(delivery.told_at).into(),
                delivery.ended_at.map(time::to_micros).into(),
                delivery.error.as_deref().into(),
            ]
        }),
    )?;
    Ok(())
}

fn event_bytes(key: &Key) -> &[u8; 16] {
    key.event.0.as_bytes()
}

fn key(row: &Row<'_>) -> Result<Key, StoreError> {
    let order = OrderId::from_bytes(&row.blob(0)?).ok_or_else(|| row.nonsense("order_id"))?;
    let event = event_id(&row.blob(1)?).ok_or_else(|| row.nonsense("event_id"))?;
    Ok(Key { order, event })
}

fn stored(row: &Row<'_>) -> Result<Stored, StoreError> {
    let delivery = Delivery {
        state: State::parse(&row.text(4)?).ok_or_else(|| row.nonsense("state"))?,
        attempt: row.int(5)?,
        told_at: time::from_micros(row.int(6)?),
        ended_at: row.opt_int(7)?.map(time::from_micros),
        error: row.opt_text(8)?,
    };
    Ok(Stored { shop: row.text(2)?, kind: row.text(3)?, delivery })
}

/// The key of a notice's due row: its order, then its event.
pub fn due_key(key: &Key) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(key.order.as_bytes());
    bytes[16..].copy_from_slice(event_bytes(key));
    bytes
}

/// From a due row's key.
pub fn read_due_key(bytes: &[u8]) -> Option<Key> {
    let (order, event) = bytes.split_at_checked(16)?;
    Some(Key { order: OrderId::from_bytes(order)?, event: event_id(event)? })
}

fn event_id(bytes: &[u8]) -> Option<EventId> {
    uuid::Uuid::from_slice(bytes).ok().map(EventId)
}
