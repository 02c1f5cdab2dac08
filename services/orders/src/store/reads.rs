//! What is read for queries: an order with its history, a page of orders.

use bytes::Bytes;
use spillway_proto::OrderId;
use spillway_shared::ledger::{StoreError, Tx, Value};

use super::rows::{self, read_order, select_order};
use crate::domain::{Order, State};

/// Events of an order that are read at once, at most.
const MAX_HISTORY: i64 = 1000;

/// An order that may be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub order_id: OrderId,
    pub order: Order,
    /// Its `OrderPlaced`, as it was said; `None` where that was not heard.
    pub placed: Option<Bytes>,
}

/// An order and a part of its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    pub shown: Shown,
    /// Version and event, oldest first.
    pub events: Vec<(i64, Bytes)>,
}

/// An order, and at most `limit` events after a version. `None` where the shop has no such order, or where it is not
/// to be shown yet: not placed, and not ended.
pub fn story(
    tx: &Tx<'_>,
    shop: &str,
    order_id: OrderId,
    after: i64,
    limit: usize,
) -> Result<Option<Story>, StoreError> {
    let found = rows::read_orders(tx, &[order_id])?.into_iter().next();
    let Some((_, order)) = found.filter(|(_, order)| order.shop == shop && is_shown(order)) else {
        return Ok(None);
    };
    let shown = show(tx, order_id, order)?;
    let events = if limit == 0 {
        vec![]
    } else {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        tx.read(
            "select version, event from history where order_id = $1 and version > $2 order by version limit $3",
            &[order_id.as_bytes().into(), after.into(), limit.into()],
            |row| Ok((row.int(0)?, row.blob(1)?.into())),
        )?
    };
    Ok(Some(Story { shown, events }))
}

/// The events of an order up to a version, oldest first, whatever is known of it.
pub fn history(tx: &Tx<'_>, order_id: OrderId, up_to: i64) -> Result<Vec<(i64, Bytes)>, StoreError> {
    tx.read(
        "select version, event from history where order_id = $1 and version <= $2 order by version limit $3",
        &[order_id.as_bytes().into(), up_to.into(), MAX_HISTORY.into()],
        |row| Ok((row.int(0)?, row.blob(1)?.into())),
    )
}

fn is_shown(order: &Order) -> bool {
    order.placed_version > 0 || order.state.is_finished()
}

/// Adds the event that holds what the row does not.
fn show(tx: &Tx<'_>, order_id: OrderId, order: Order) -> Result<Shown, StoreError> {
    let placed = tx.read(
        "select event from history where order_id = $1 and version = $2",
        &[order_id.as_bytes().into(), order.placed_version.into()],
        |row| Ok(row.blob(0)?.into()),
    )?;
    Ok(Shown { order_id, order, placed: placed.into_iter().next() })
}

/// Which orders, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFilter {
    pub shop: String,
    pub customer_id: Option<String>,
    /// As SQL has it.
    pub state: Option<String>,
    /// Unix times in microseconds: at or after the first, before the second.
    pub created_us: (i64, i64),
    /// Ids: at or above the first, below the second.
    pub order_ids: ([u8; 16], [u8; 16]),
}

/// At most `limit` orders. Stops early, and says so by what `take` answers: false for one that does not fit any more.
pub fn page(
    tx: &Tx<'_>,
    filter: &PageFilter,
    limit: usize,
    mut take: impl FnMut(Shown) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (sql, mut values) = page_query(filter);
    values.push(limit.into());
    for (order_id, order) in tx.read(&sql, &values, read_order)? {
        if !take(show(tx, order_id, order)?)? {
            break;
        }
    }
    Ok(())
}

/// The statement and its values, all but the limit.
pub(crate) fn page_query(filter: &PageFilter) -> (String, Vec<Value<'_>>) {
    // What leads to the orders. A list of all, or of the confirmed, which are most, goes by id: the planner would rather
    // take an index by shop and sort. The index by state leaves the confirmed out, and serves where that is said.
    let lead = match (&filter.customer_id, filter.state.as_deref()) {
        (Some(_), _) => select_order!("where shop = $1"),
        (None, Some(state)) if state != State::Confirmed.name() => {
            select_order!("where shop = $1 and state <> 'CONFIRMED'")
        }
        (None, Some(_) | None) => select_order!("where shop || '' = $1"),
    };
    let mut sql = String::from(lead);
    sql += " and order_id >= $2 and order_id < $3 and create_us >= $4 and create_us < $5
             and (placed_version > 0 or state <> 'PENDING')";
    let (from, below) = &filter.order_ids;
    let mut values = vec![
        Value::Text(&filter.shop),
        from.into(),
        below.into(),
        filter.created_us.0.into(),
        filter.created_us.1.into(),
    ];
    for (column, wanted) in [("customer_id", &filter.customer_id), ("state", &filter.state)] {
        if let Some(wanted) = wanted {
            values.push(Value::Text(wanted));
            sql += &format!(" and {column} = ${}", values.len());
        }
    }
    sql += &format!(" order by order_id desc limit ${}", values.len() + 1);
    (sql, values)
}

/// The order that has waited longest, and when it was accepted in Unix microseconds. Ids go by time.
pub fn oldest_waiting(tx: &Tx<'_>, shop: &str) -> Result<Option<(OrderId, i64)>, StoreError> {
    let found = tx.read(
        // The second condition is what the index by state serves.
        "select order_id, create_us from orders where shop = $1 and state = 'PENDING' and state <> 'CONFIRMED'
         order by order_id limit 1",
        &[Value::Text(shop)],
        |row| {
            let order_id = OrderId::from_bytes(&row.blob(0)?).ok_or_else(|| row.nonsense("order_id"))?;
            Ok((order_id, row.int(1)?))
        },
    )?;
    Ok(found.into_iter().next())
}

const COUNT_PENDING: &str =
    "select count(*) from orders where shop = $1 and state = 'PENDING' and state <> 'CONFIRMED'";

const NEXT_SHOP: &str = "select shop from orders where shop > $1 and state <> 'CONFIRMED' order by shop limit 1";

#[cfg(test)]
pub(crate) const PENDING_QUERIES: [&str; 2] = [COUNT_PENDING, NEXT_SHOP];

/// How many orders are not at their end, all shops together, and when the oldest of them was accepted in Unix
/// microseconds. Costs a step along an index for each of them.
pub fn pending(tx: &Tx<'_>) -> Result<(i64, Option<i64>), StoreError> {
    let (mut count, mut oldest, mut after) = (0, None, None::<String>);
    while let Some(shop) = next_shop(tx, after.as_deref())? {
        let there = tx.read(COUNT_PENDING, &[Value::Text(&shop)], |row| row.int(0))?;
        count += there.into_iter().sum::<i64>();
        let waiting = oldest_waiting(tx, &shop)?.map(|(_, created_us)| created_us);
        oldest = [oldest, waiting].into_iter().flatten().min();
        after = Some(shop);
    }
    Ok((count, oldest))
}

/// The first shop after another that has an order which is not confirmed: one step into the index by state.
fn next_shop(tx: &Tx<'_>, after: Option<&str>) -> Result<Option<String>, StoreError> {
    let found = tx.read(NEXT_SHOP, &[Value::Text(after.unwrap_or(""))], |row| row.text(0))?;
    Ok(found.into_iter().next())
}
