//! The store of inventory: every row that a batch touches is read once and written once.

mod book;
mod rows;
mod schema;

pub use book::Book;
pub use rows::{HoldRow, ItemRow, decode_lines, item, items};
pub use schema::MIGRATIONS;

use std::collections::HashSet;

use spillway_proto::OrderId;
use spillway_shared::ledger::{StoreError, Tx};
use uuid::Uuid;

use crate::service::Input;

/// Reads the holds and adjustments that the inputs name, then the stock of every SKU among them: many orders share few
/// SKUs.
pub fn load(tx: &Tx<'_>, inputs: &[&Input]) -> Result<Book, StoreError> {
    let mut orders: Vec<OrderId> = Vec::with_capacity(inputs.len());
    let mut adjustments: HashSet<(&str, Uuid)> = HashSet::new();
    let mut skus: HashSet<(&str, &str)> = HashSet::new();
    for input in inputs {
        match input {
            Input::Heard(heard) => {
                orders.push(heard.order_id);
                skus.extend(heard.fact.lines().iter().map(|line| (heard.shop.as_str(), line.sku.as_str())));
            }
            Input::Adjust(adjust) => {
                adjustments.insert((&adjust.shop, adjust.command.request_id));
                skus.insert((&adjust.shop, &adjust.command.sku));
            }
        }
    }
    orders.sort_unstable();
    orders.dedup();
    let holds = rows::read_holds(tx, &orders)?;
    // Only what is held can still move.
    let held = holds.iter().filter(|row| row.hold.state == crate::domain::HoldState::Held);
    skus.extend(held.flat_map(|row| row.hold.lines.iter().map(|line| (row.shop.as_str(), line.sku.as_str()))));
    let stock = rows::read_stock(tx, &skus)?;
    let adjustments = rows::read_adjustments(tx, &adjustments)?;
    Ok(Book::new(stock, holds, adjustments))
}

/// The hold of an order of this shop, as committed.
pub fn hold(tx: &Tx<'_>, shop: &str, order_id: OrderId) -> Result<Option<HoldRow>, StoreError> {
    Ok(rows::read_holds(tx, &[order_id])?.into_iter().find(|row| row.shop == shop))
}

/// Writes what was changed; in the order of the tables, which is cheapest.
pub fn save(tx: &Tx<'_>, book: &Book) -> Result<(), StoreError> {
    rows::write_stock(tx, book.changed_stock())?;
    rows::insert_holds(tx, book.new_holds())?;
    rows::update_holds(tx, book.changed_holds())?;
    rows::insert_adjustments(tx, book.new_adjustments())
}
