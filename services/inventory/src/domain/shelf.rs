//! The SKUs of one shop that a commit touches, as loaded and as decided.

use std::collections::HashMap;

use spillway_proto::time::Timestamp;

use super::hold::Line;
use super::stock::Stock;

/// The SKUs of one shop that a commit touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    items: HashMap<String, Item>,
}

/// A SKU that has, or had, stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    stock: Stock,
    /// When its units last moved.
    updated: Timestamp,
    /// It is to be written.
    changed: bool,
}

impl Shelf {
    /// As it is in the store.
    pub fn loaded(&mut self, sku: String, stock: Stock, updated: Timestamp) {
        self.items.insert(sku, Item { stock, updated, changed: false });
    }

    /// The units of a SKU; none of any where it never had stock.
    pub fn stock(&self, sku: &str) -> Stock {
        self.items.get(sku).map(|item| item.stock).unwrap_or_default()
    }

    /// When the units of a SKU last moved. `None` where it never had stock.
    pub fn updated(&self, sku: &str) -> Option<Timestamp> {
        self.items.get(sku).map(|item| item.updated)
    }

    /// Sets the units of a SKU.
    pub fn put(&mut self, sku: &str, stock: Stock, updated: Timestamp) {
        let item = Item { stock, updated, changed: true };
        match self.items.get_mut(sku) {
            Some(known) => *known = item,
            None => drop(self.items.insert(sku.to_owned(), item)),
        }
    }

    /// Moves the units of all lines, or of none. Answers the lines that cannot be moved. A SKU is in one line at most.
    pub fn move_all<'l>(
        &mut self,
        lines: &'l [Line],
        at: Timestamp,
        how: impl Fn(Stock, i64) -> Option<Stock>,
    ) -> Vec<&'l Line> {
        let moved: Vec<_> = lines.iter().map(|line| how(self.stock(&line.sku), line.quantity)).collect();
        let stuck: Vec<_> = lines.iter().zip(&moved).filter(|(_, to)| to.is_none()).map(|(line, _)| line).collect();
        if stuck.is_empty() {
            for (line, to) in lines.iter().zip(moved) {
                to.into_iter().for_each(|stock| self.put(&line.sku, stock, at));
            }
        }
        stuck
    }

    /// What is to be written: each SKU once.
    pub fn changed(&self) -> impl Iterator<Item = (&str, Stock, Timestamp)> {
        let changed = self.items.iter().filter(|(_, item)| item.changed);
        changed.map(|(sku, item)| (sku.as_str(), item.stock, item.updated))
    }

    /// Every SKU.
    pub fn all(&self) -> impl Iterator<Item = (&str, Stock)> {
        self.items.iter().map(|(sku, item)| (sku.as_str(), item.stock))
    }
}
