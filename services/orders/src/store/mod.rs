//! The store of orders: every order that a batch touches is read once and written once.

mod book;
mod reads;
mod rows;
mod schema;

pub use book::Book;
#[cfg(test)]
pub(crate) use reads::{PENDING_QUERIES, page_query};
pub use reads::{PageFilter, Shown, Story, history, oldest_waiting, page, pending, story};
pub use rows::{is_known, trace};
pub use schema::MIGRATIONS;

use spillway_proto::OrderId;
use spillway_shared::ledger::{StoreError, Tx};

use crate::hear::Heard;

/// Reads every order that was heard of.
pub fn load(tx: &Tx<'_>, inputs: &[&Heard]) -> Result<Book, StoreError> {
    let mut orders: Vec<OrderId> = inputs.iter().map(|heard| heard.order_id).collect();
    orders.sort_unstable();
    orders.dedup();
    Ok(Book::new(rows::read_orders(tx, &orders)?))
}

/// Writes what was changed, and what was recorded; in the order of the tables, which is cheapest.
pub fn save(tx: &Tx<'_>, mut book: Book) -> Result<(), StoreError> {
    rows::insert_orders(tx, book.new_orders())?;
    rows::update_progress(tx, book.progressed())?;
    rows::update_ended(tx, book.ended())?;
    rows::update_placed(tx, book.placed())?;
    rows::insert_history(tx, &book.take_history())
}
