//! The rows of inventory, and the statements that read and write them.

use std::collections::HashSet;

use prost::Message;
use spillway_proto::OrderId;
use spillway_shared::ledger::{Row, StoreError, Tx, Value};
use uuid::Uuid;

use crate::domain::{AdjustStock, Hold, HoldState, Line, Stock};

/// A row of `stock`, without its shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRow {
    pub sku: String,
    pub stock: Stock,
    /// Unix time in microseconds.
    pub update_us: i64,
}

/// A row of `hold`.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldRow {
    pub order_id: OrderId,
    pub shop: String,
    pub hold: Hold,
    /// Unix time in microseconds.
    pub create_us: i64,
    /// Unix time in microseconds.
    pub update_us: i64,
}

/// A row of `adjustment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdjustmentRow {
    pub shop: String,
    pub command: AdjustStock,
    pub fingerprint: Vec<u8>,
    /// Unix time in microseconds.
    pub create_us: i64,
}

/// How `hold.lines` is written, so that it can grow.
#[derive(Clone, PartialEq, Message)]
struct HoldLines {
    #[prost(message, repeated, tag = "1")]
    lines: Vec<Line>,
}

/// The lines of a hold, from its column.
///
/// # Errors
/// Where they cannot be read.
pub fn decode_lines(column: &[u8]) -> Result<Vec<Line>, prost::DecodeError> {
    Ok(HoldLines::decode(column)?.lines)
}

fn encode_lines(lines: &[Line]) -> Vec<u8> {
    let mut bytes = Vec::new();
    lines.iter().for_each(|line| prost::encoding::message::encode(1, line, &mut bytes));
    bytes
}

pub(super) fn read_holds(tx: &Tx<'_>, orders: &[OrderId]) -> Result<Vec<HoldRow>, StoreError> {
    tx.read_each(
        "select order_id, shop, state, lines, create_us, update_us from hold where order_id = $1",
        orders.iter().map(|order_id| [order_id.as_bytes().into()]),
        |row| {
            let order_id = OrderId::from_bytes(&row.blob(0)?).ok_or_else(|| row.nonsense("order_id"))?;
            let state = HoldState::parse(&row.text(2)?).ok_or_else(|| row.nonsense("state"))?;
            let lines = HoldLines::decode(&row.blob(3)?[..]).map_err(|_| row.nonsense("lines"))?.lines;
            let (create_us, update_us) = (row.int(4)?, row.int(5)?);
            Ok(HoldRow { order_id, shop: row.text(1)?, hold: Hold { state, lines }, create_us, update_us })
        },
    )
}

pub(super) fn read_stock(tx: &Tx<'_>, skus: &HashSet<(&str, &str)>) -> Result<Vec<(String, ItemRow)>, StoreError> {
    tx.read_each(
        "select sku, received, available, held, sold, update_us, shop from stock where shop = $1 and sku = $2",
        skus.iter().map(|(shop, sku)| [Value::Text(shop), Value::Text(sku)]),
        |row| Ok((row.text(6)?, read_item(row)?)),
    )
}

pub(super) fn read_adjustments(
    tx: &Tx<'_>,
    adjustments: &HashSet<(&str, Uuid)>,
) -> Result<Vec<(String, Uuid, Vec<u8>)>, StoreError> {
    tx.read_each(
        "select shop, request_id, fingerprint from adjustment where shop = $1 and request_id = $2",
        adjustments.iter().map(|(shop, request_id)| [Value::Text(shop), request_id.as_bytes().into()]),
        |row| {
            let request_id = Uuid::from_slice(&row.blob(1)?).map_err(|_| row.nonsense("request_id"))?;
            Ok((row.text(0)?, request_id, row.blob(2)?))
        },
    )
}

/// One SKU, as committed.
pub fn item(tx: &Tx<'_>, shop: &str, sku: &str) -> Result<Option<ItemRow>, StoreError> {
    let rows = tx.read(
        "select sku, received, available, held, sold, update_us from stock where shop = $1 and sku = $2",
        &[Value::Text(shop), Value::Text(sku)],
        read_item,
    )?;
    Ok(rows.into_iter().next())
}

/// Up to `limit` SKUs by name, of those that begin with `prefix` and come after `after`.
pub fn items(tx: &Tx<'_>, shop: &str, prefix: &str, after: &str, limit: usize) -> Result<Vec<ItemRow>, StoreError> {
    // One lower bound, so that the index leads straight to it: what begins with the prefix stands together.
    let (sql, from) = if after < prefix {
        (
            "select sku, received, available, held, sold, update_us from stock
             where shop = $1 and sku >= $2 order by sku limit $3",
            prefix,
        )
    } else {
        (
            "select sku, received, available, held, sold, update_us from stock
             where shop = $1 and sku > $2 order by sku limit $3",
            after,
        )
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = tx.read(sql, &[Value::Text(shop), Value::Text(from), limit.into()], read_item)?;
    Ok(rows.into_iter().take_while(|item| item.sku.starts_with(prefix)).collect())
}

fn read_item(row: &Row<'_>) -> Result<ItemRow, StoreError> {
    let stock = Stock { received: row.int(1)?, available: row.int(2)?, held: row.int(3)?, sold: row.int(4)? };
    Ok(ItemRow { sku: row.text(0)?, stock, update_us: row.int(5)? })
}

pub(super) fn write_stock<'b>(
    tx: &Tx<'_>,
    stock: impl Iterator<Item = (&'b str, &'b str, Stock, i64)>,
) -> Result<(), StoreError> {
    tx.write_each(
        "insert into stock (shop, sku, received, available, held, sold, update_us)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (shop, sku)
         do update set received = excluded.received, available = excluded.available, held = excluded.held,
             sold = excluded.sold, update_us = excluded.update_us",
        stock.map(|(shop, sku, stock, update_us)| {
            let Stock { received, available, held, sold } = stock;
            let (shop, sku) = (Value::Text(shop), Value::Text(sku));
            [shop, sku, received.into(), available.into(), held.into(), sold.into(), update_us.into()]
        }),
    )?;
    Ok(())
}

pub(super) fn insert_holds<'b>(tx: &Tx<'_>, holds: impl Iterator<Item = &'b HoldRow>) -> Result<(), StoreError> {
    let rows: Vec<_> = holds.map(|row| (row, encode_lines(&row.hold.lines))).collect();
    tx.write_each(
        "insert into hold (order_id, shop, state, lines, create_us, update_us) values ($1, $2, $3, $4, $5, $6)",
        rows.iter().map(|(row, lines)| {
            [
                row.order_id.as_bytes().into(),
                Value::Text(&row.shop),
                Value::Text(row.hold.state.name()),
                Value::Blob(lines),
                row.create_us.into(),
                row.update_us.into(),
            ]
        }),
    )?;
    Ok(())
}

pub(super) fn update_holds<'b>(tx: &Tx<'_>, holds: impl Iterator<Item = &'b HoldRow>) -> Result<(), StoreError> {
    tx.write_each(
        "update hold set state = $1, update_us = $2 where order_id = $3",
        holds.map(|row| [Value::Text(row.hold.state.name()), row.update_us.into(), row.order_id.as_bytes().into()]),
    )?;
    Ok(())
}

pub(super) fn insert_adjustments(tx: &Tx<'_>, adjustments: &[AdjustmentRow]) -> Result<(), StoreError> {
    tx.write_each(
        "insert into adjustment (shop, request_id, fingerprint, sku, delta, reason, create_us)
         values ($1, $2, $3, $4, $5, $6, $7)",
        adjustments.iter().map(|row| {
            [
                Value::Text(&row.shop),
                row.command.request_id.as_bytes().into(),
                Value::Blob(&row.fingerprint),
                Value::Text(&row.command.sku),
                row.command.delta.into(),
                Value::Text(&row.command.reason),
                row.create_us.into(),
            ]
        }),
    )?;
    Ok(())
}
