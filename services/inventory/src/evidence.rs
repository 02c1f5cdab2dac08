//! What inventory shows to whoever checks it.

use spillway_shared::evidence::{Evidence, Kind};

/// Stock and holds; adjustments are in its events.
pub const EVIDENCE: &[Evidence] = &[
    Evidence {
        table: "stock",
        columns: &["shop", "sku", "received", "available", "held", "sold", "update_us"],
        key: &[Kind::Text, Kind::Text],
        page: "select shop, sku, received, available, held, sold, update_us from stock
               where (shop, sku) > ($1, $2) order by shop, sku limit $3",
        about: None,
        chunk: 500,
    },
    Evidence {
        table: "hold",
        columns: &["order_id", "shop", "state", "lines", "create_us", "update_us"],
        key: &[Kind::Blob],
        page: "select order_id, shop, state, lines, create_us, update_us from hold
               where order_id > $1 order by order_id limit $2",
        about: Some("select order_id, shop, state, lines, create_us, update_us from hold where order_id = $1"),
        chunk: 128,
    },
];
