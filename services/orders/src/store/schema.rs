//! The tables of orders.

use spillway_shared::ledger::Migration;

/// Steps are only ever added at the end.
///
/// `orders.facts` are the bits of `domain::Facts`. Most orders end confirmed: a list of those is a scan by id, which is
/// by time, so the index by state leaves them out.
pub const MIGRATIONS: &[Migration] = &[(
    "orders, history",
    "create table orders (
         order_id blob primary key,
         shop text not null,
         customer_id text not null,
         state text not null,
         reason text not null,
         facts bigint not null,
         version bigint not null,
         placed_version bigint not null,
         deadline_us bigint not null,
         create_us bigint not null,
         update_us bigint not null,
         held_us bigint,
         deferred_us bigint,
         total_minor bigint not null,
         currency text not null,
         refunded_minor bigint not null,
         email text,
         seen blob
     ) without rowid;
     create index orders_customer on orders (shop, customer_id, order_id);
     create index orders_state on orders (shop, state, order_id) where state <> 'CONFIRMED';
     create table history (
         order_id blob not null,
         version bigint not null,
         event blob not null,
         primary key (order_id, version)
     ) without rowid;",
)];
