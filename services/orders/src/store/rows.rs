//! The rows of orders, and the statements that read and write them.

use spillway_proto::pb::orders::Reason;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Currency, Money, OrderId};
use spillway_shared::ledger::{Row, StoreError, Tx, Value};

use super::book::Record;
use crate::domain::{Facts, Order, State};

/// What [`read_order`] reads, in this order.
macro_rules! select_order {
    ($rest:literal) => {
        concat!(
            "select order_id, shop, customer_id, state, reason, facts, version, placed_version, deadline_us, create_us,
             update_us, held_us, deferred_us, total_minor, currency, refunded_minor, email, seen from orders ",
            $rest
        )
    };
}
pub(super) use select_order;

pub(super) fn read_orders(tx: &Tx<'_>, orders: &[OrderId]) -> Result<Vec<(OrderId, Order)>, StoreError> {
    let keys = orders.iter().map(|order_id| [order_id.as_bytes().into()]);
    tx.read_each(select_order!("where order_id = $1"), keys, read_order)
}

pub(super) fn read_order(row: &Row<'_>) -> Result<(OrderId, Order), StoreError> {
    let order_id = OrderId::from_bytes(&row.blob(0)?).ok_or_else(|| row.nonsense("order_id"))?;
    let currency = row.text(14)?;
    let total = match currency.as_str() {
        "" => None,
        code => Some(Money::new(row.int(13)?, Currency::parse(code).ok_or_else(|| row.nonsense("currency"))?)),
    };
    let order = Order {
        shop: row.text(1)?,
        customer_id: row.text(2)?,
        state: State::parse(&row.text(3)?).ok_or_else(|| row.nonsense("state"))?,
        reason: parse_reason(&row.text(4)?).ok_or_else(|| row.nonsense("reason"))?,
        facts: Facts(row.int(5)?),
        version: row.int(6)?,
        placed_version: row.int(7)?,
        deadline: time::from_micros(row.int(8)?),
        created: time::from_micros(row.int(9)?),
        updated: time::from_micros(row.int(10)?),
        held: row.opt_int(11)?.map(time::from_micros),
        deferred_since: row.opt_int(12)?.map(time::from_micros),
        total,
        refunded_minor: row.int(15)?,
        email: row.opt_text(16)?,
        seen: row.opt_blob(17)?.unwrap_or_default(),
    };
    Ok((order_id, order))
}

/// The contract's name without what every reason begins with.
fn reason_name(reason: Reason) -> &'static str {
    reason.as_str_name().trim_start_matches("REASON_")
}

fn parse_reason(name: &str) -> Option<Reason> {
    Reason::from_str_name(&format!("REASON_{name}"))
}

fn opt_micros(at: Option<Timestamp>) -> Value<'static> {
    at.map(time::to_micros).into()
}

fn seen(order: &Order) -> Value<'_> {
    Some(order.seen.as_slice()).filter(|seen| !seen.is_empty()).into()
}

/// Total and currency: 0 and empty until the order is heard of.
fn total(order: &Order) -> (Value<'_>, Value<'_>) {
    let minor = order.total.map_or(0, |total| total.minor).into();
    (minor, Value::Text(order.total.as_ref().map_or("", |total| total.currency.code())))
}

pub(super) fn insert_orders<'b>(
    tx: &Tx<'_>,
    orders: impl Iterator<Item = (&'b OrderId, &'b Order)>,
) -> Result<(), StoreError> {
    tx.write_each(
        "insert into orders (order_id, shop, customer_id, state, reason, facts, version, placed_version, deadline_us,
             create_us, update_us, held_us, deferred_us, total_minor, currency, refunded_minor, email, seen)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        orders.map(|(order_id, order)| {
            let (total_minor, currency) = total(order);
            [
                order_id.as_bytes().into(),
                Value::Text(&order.shop),
                Value::Text(&order.customer_id),
                Value::Text(order.state.name()),
                Value::Text(reason_name(order.reason)),
                order.facts.0.into(),
                order.version.into(),
                order.placed_version.into(),
                time::to_micros(order.deadline).into(),
                time::to_micros(order.created).into(),
                time::to_micros(order.updated).into(),
                opt_micros(order.held),
                opt_micros(order.deferred_since),
                total_minor,
                currency,
                order.refunded_minor.into(),
                order.email.as_deref().into(),
                seen(order),
            ]
        }),
    )?;
    Ok(())
}

/// Only columns that no index has: both indexes stay untouched.
pub(super) fn update_progress<'b>(
    tx: &Tx<'_>,
    orders: impl Iterator<Item = (&'b OrderId, &'b Order)>,
) -> Result<(), StoreError> {
    tx.write_each(
        "update orders set facts = $1, version = $2, deadline_us = $3, create_us = $4, update_us = $5, held_us = $6,
             deferred_us = $7, refunded_minor = $8, seen = $9
         where order_id = $10",
        orders.map(|(order_id, order)| {
            [
                order.facts.0.into(),
                order.version.into(),
                time::to_micros(order.deadline).into(),
                time::to_micros(order.created).into(),
                time::to_micros(order.updated).into(),
                opt_micros(order.held),
                opt_micros(order.deferred_since),
                order.refunded_minor.into(),
                seen(order),
                order_id.as_bytes().into(),
            ]
        }),
    )?;
    Ok(())
}

/// As above, and the state: the index by customer stays untouched.
pub(super) fn update_ended<'b>(
    tx: &Tx<'_>,
    orders: impl Iterator<Item = (&'b OrderId, &'b Order)>,
) -> Result<(), StoreError> {
    tx.write_each(
        "update orders set state = $1, reason = $2, facts = $3, version = $4, deadline_us = $5, update_us = $6,
             held_us = $7, deferred_us = $8, refunded_minor = $9, seen = $10
         where order_id = $11",
        orders.map(|(order_id, order)| {
            [
                Value::Text(order.state.name()),
                Value::Text(reason_name(order.reason)),
                order.facts.0.into(),
                order.version.into(),
                time::to_micros(order.deadline).into(),
                time::to_micros(order.updated).into(),
                opt_micros(order.held),
                opt_micros(order.deferred_since),
                order.refunded_minor.into(),
                seen(order),
                order_id.as_bytes().into(),
            ]
        }),
    )?;
    Ok(())
}

/// Everything: the order was heard of after something else of it.
pub(super) fn update_placed<'b>(
    tx: &Tx<'_>,
    orders: impl Iterator<Item = (&'b OrderId, &'b Order)>,
) -> Result<(), StoreError> {
    tx.write_each(
        "update orders set customer_id = $1, state = $2, reason = $3, facts = $4, version = $5, placed_version = $6,
             deadline_us = $7, create_us = $8, update_us = $9, held_us = $10, deferred_us = $11, total_minor = $12,
             currency = $13, refunded_minor = $14, email = $15, seen = $16
         where order_id = $17",
        orders.map(|(order_id, order)| {
            let (total_minor, currency) = total(order);
            [
                Value::Text(&order.customer_id),
                Value::Text(order.state.name()),
                Value::Text(reason_name(order.reason)),
                order.facts.0.into(),
                order.version.into(),
                order.placed_version.into(),
                time::to_micros(order.deadline).into(),
                time::to_micros(order.created).into(),
                time::to_micros(order.updated).into(),
                opt_micros(order.held),
                opt_micros(order.deferred_since),
                total_minor,
                currency,
                order.refunded_minor.into(),
                order.email.as_deref().into(),
                seen(order),
                order_id.as_bytes().into(),
            ]
        }),
    )?;
    Ok(())
}

pub(super) fn insert_history(tx: &Tx<'_>, history: &[Record]) -> Result<(), StoreError> {
    tx.write_each(
        "insert into history (order_id, version, event) values ($1, $2, $3)",
        history
            .iter()
            .map(|record| [record.order_id.as_bytes().into(), record.version.into(), Value::Blob(&record.event)]),
    )?;
    Ok(())
}

/// Whether this order was ever heard of.
pub fn is_known(tx: &Tx<'_>, order_id: OrderId) -> Result<bool, StoreError> {
    let known = tx.read("select 1 from orders where order_id = $1", &[order_id.as_bytes().into()], |row| row.int(0))?;
    Ok(!known.is_empty())
}

/// From now on the trace of this order is exported. Answers its version; `None` where it was so before, or the order was
/// never heard of.
pub fn trace(tx: &Tx<'_>, order_id: OrderId) -> Result<Option<i64>, StoreError> {
    let known =
        tx.read("select facts, version from orders where order_id = $1", &[order_id.as_bytes().into()], |row| {
            Ok((Facts(row.int(0)?), row.int(1)?))
        })?;
    let Some((facts, version)) = known.into_iter().next().filter(|(facts, _)| !facts.has(Facts::TRACED)) else {
        return Ok(None);
    };
    let facts = facts | Facts::TRACED;
    tx.write("update orders set facts = $1 where order_id = $2", &[facts.0.into(), order_id.as_bytes().into()])?;
    Ok(Some(version))
}
