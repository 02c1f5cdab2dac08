//! The tables of inventory.

use spillway_shared::ledger::Migration;

/// Steps are only ever added at the end.
pub const MIGRATIONS: &[Migration] = &[(
    "stock, holds, adjustments",
    "create table stock (
         shop text not null,
         sku text not null,
         received bigint not null,
         available bigint not null check (available >= 0),
         held bigint not null check (held >= 0),
         sold bigint not null check (sold >= 0),
         update_us bigint not null,
         primary key (shop, sku),
         check (available + held + sold = received)
     ) without rowid;
     create table hold (
         order_id blob primary key,
         shop text not null,
         state text not null,
         lines blob not null,
         create_us bigint not null,
         update_us bigint not null
     ) without rowid;
     create table adjustment (
         shop text not null,
         request_id blob not null,
         fingerprint blob not null,
         sku text not null,
         delta bigint not null,
         reason text not null,
         create_us bigint not null,
         primary key (shop, request_id)
     ) without rowid;",
)];
