//! Every order that one commit touches, in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use spillway_proto::OrderId;

use crate::domain::{Order, State};
use crate::hear::Heard;

/// Every order that one commit touches, and what it records.
#[derive(Debug, Default)]
pub struct Book {
    orders: BTreeMap<OrderId, Slot>,
    history: Vec<Record>,
}

/// One event of the history of an order.
#[derive(Debug)]
pub(super) struct Record {
    pub order_id: OrderId,
    pub version: i64,
    /// As it was said.
    pub event: Bytes,
}

#[derive(Debug)]
struct Slot {
    order: Order,
    /// As it was in the store; `None` where it was not.
    was: Option<Was>,
    changed: bool,
}

/// What decides which columns are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Was {
    state: State,
    placed_version: i64,
}

impl Book {
    /// As loaded.
    pub fn new(orders: Vec<(OrderId, Order)>) -> Self {
        let loaded = orders.into_iter().map(|(order_id, order)| {
            let was = Some(Was { state: order.state, placed_version: order.placed_version });
            (order_id, Slot { order, was, changed: false })
        });
        Book { orders: loaded.collect(), history: Vec::new() }
    }

    /// The order of which something was heard.
    pub fn order(&mut self, heard: &Heard) -> &mut Order {
        let unheard = || Slot { order: Order::unheard(&heard.shop, heard.time), was: None, changed: false };
        &mut self.orders.entry(heard.order_id).or_insert_with(unheard).order
    }

    /// One more event is in the history of an order.
    pub fn recorded(&mut self, order_id: OrderId, version: i64, event: Bytes) {
        self.history.push(Record { order_id, version, event });
    }

    /// The order is to be written. True where it was not before.
    pub fn changed_now(&mut self, order_id: OrderId) -> bool {
        let slot = self.orders.get_mut(&order_id);
        slot.is_some_and(|slot| !std::mem::replace(&mut slot.changed, true))
    }

    fn changed(&self) -> impl Iterator<Item = (&OrderId, &Order, Option<Was>)> {
        self.orders.iter().filter(|(_, slot)| slot.changed).map(|(id, slot)| (id, &slot.order, slot.was))
    }

    /// Of which nothing was known.
    pub(super) fn new_orders(&self) -> impl Iterator<Item = (&OrderId, &Order)> {
        self.changed().filter(|(_, _, was)| was.is_none()).map(|(id, order, _)| (id, order))
    }

    /// Of which `OrderPlaced` was heard after something else.
    pub(super) fn placed(&self) -> impl Iterator<Item = (&OrderId, &Order)> {
        let placed = |order: &Order, was: Was| order.placed_version != was.placed_version;
        self.stored(move |order, was| placed(order, was))
    }

    /// That came to an end.
    pub(super) fn ended(&self) -> impl Iterator<Item = (&OrderId, &Order)> {
        self.stored(|order, was| order.placed_version == was.placed_version && order.state != was.state)
    }

    /// That are placed and ended, or not, as they were before.
    pub(super) fn progressed(&self) -> impl Iterator<Item = (&OrderId, &Order)> {
        self.stored(|order, was| order.placed_version == was.placed_version && order.state == was.state)
    }

    fn stored(&self, which: impl Fn(&Order, Was) -> bool) -> impl Iterator<Item = (&OrderId, &Order)> {
        let chosen = move |order: &Order, was: Option<Was>| was.is_some_and(|was| which(order, was));
        self.changed().filter(move |(_, order, was)| chosen(order, *was)).map(|(id, order, _)| (id, order))
    }

    /// By order and version.
    pub(super) fn take_history(&mut self) -> Vec<Record> {
        let mut history = std::mem::take(&mut self.history);
        history.sort_unstable_by_key(|record| (record.order_id, record.version));
        history
    }
}
