//! Everything that one commit of inventory touches, in memory.

use std::collections::{BTreeMap, HashMap};

use spillway_proto::OrderId;
use spillway_proto::time::{self, Timestamp};
use uuid::Uuid;

use super::rows::{AdjustmentRow, HoldRow, ItemRow};
use crate::domain::{Hold, HoldState, Shelf, Stock};
use crate::hear::Heard;
use crate::service::Adjust;

/// Everything that one commit touches.
#[derive(Debug, Default)]
pub struct Book {
    /// By shop.
    shelves: HashMap<String, Shelf>,
    holds: BTreeMap<OrderId, Slot>,
    /// By shop and request.
    adjustments: HashMap<String, HashMap<Uuid, Vec<u8>>>,
    new_adjustments: Vec<AdjustmentRow>,
}

#[derive(Debug)]
struct Slot {
    row: HoldRow,
    /// In the store before this commit.
    stored: bool,
    changed: bool,
}

impl Book {
    /// As loaded.
    pub fn new(stock: Vec<(String, ItemRow)>, holds: Vec<HoldRow>, adjustments: Vec<(String, Uuid, Vec<u8>)>) -> Self {
        let mut book = Book::default();
        for (shop, item) in stock {
            let shelf = entry(&mut book.shelves, &shop);
            shelf.loaded(item.sku, item.stock, time::from_micros(item.update_us));
        }
        for row in holds {
            book.holds.insert(row.order_id, Slot { row, stored: true, changed: false });
        }
        for (shop, request_id, fingerprint) in adjustments {
            entry(&mut book.adjustments, &shop).insert(request_id, fingerprint);
        }
        book
    }

    /// The hold of an order, and the stock of its shop.
    pub fn order(&mut self, shop: &str, order_id: OrderId) -> (Option<&Hold>, &mut Shelf) {
        let hold = self.holds.get(&order_id).map(|slot| &slot.row.hold);
        (hold, entry(&mut self.shelves, shop))
    }

    /// The fingerprint of an adjustment that is known, and the stock of its shop.
    pub fn adjustment(&mut self, shop: &str, request_id: Uuid) -> (Option<&[u8]>, &mut Shelf) {
        let known = self.adjustments.get(shop).and_then(|known| known.get(&request_id));
        (known.map(Vec::as_slice), entry(&mut self.shelves, shop))
    }

    /// The hold of an order is now in this state.
    pub fn hold_becomes(&mut self, heard: &Heard, state: HoldState, at: Timestamp) {
        let update_us = time::to_micros(at);
        if let Some(slot) = self.holds.get_mut(&heard.order_id) {
            slot.row.hold.state = state;
            slot.row.update_us = update_us;
            slot.changed = true;
            return;
        }
        // What was refused holds nothing.
        let lines = if state == HoldState::Held { heard.fact.lines().to_vec() } else { vec![] };
        let row = HoldRow {
            order_id: heard.order_id,
            shop: heard.shop.clone(),
            hold: Hold { state, lines },
            create_us: update_us,
            update_us,
        };
        self.holds.insert(heard.order_id, Slot { row, stored: false, changed: true });
    }

    /// The adjustment was made.
    pub fn adjusted(&mut self, adjust: &Adjust, at: Timestamp) {
        let Adjust { shop, command, .. } = adjust;
        let fingerprint = command.fingerprint();
        entry(&mut self.adjustments, shop).insert(command.request_id, fingerprint.clone());
        self.new_adjustments.push(AdjustmentRow {
            shop: shop.clone(),
            command: command.clone(),
            fingerprint,
            create_us: time::to_micros(at),
        });
    }

    pub(super) fn changed_stock(&self) -> impl Iterator<Item = (&str, &str, Stock, i64)> {
        let shelves = self.shelves.iter();
        shelves.flat_map(|(shop, shelf)| {
            shelf.changed().map(|(sku, stock, at)| (shop.as_str(), sku, stock, time::to_micros(at)))
        })
    }

    pub(super) fn new_holds(&self) -> impl Iterator<Item = &HoldRow> {
        self.holds.values().filter(|slot| !slot.stored && slot.changed).map(|slot| &slot.row)
    }

    pub(super) fn changed_holds(&self) -> impl Iterator<Item = &HoldRow> {
        self.holds.values().filter(|slot| slot.stored && slot.changed).map(|slot| &slot.row)
    }

    pub(super) fn new_adjustments(&self) -> &[AdjustmentRow] {
        &self.new_adjustments
    }
}

/// The entry of a shop; no text is copied where it is there already.
fn entry<'m, T: Default>(map: &'m mut HashMap<String, T>, shop: &str) -> &'m mut T {
    if !map.contains_key(shop) {
        map.insert(shop.to_owned(), T::default());
    }
    map.get_mut(shop).expect("it was just put there")
}
