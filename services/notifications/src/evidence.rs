//! What notifications shows to whoever checks it.

use spillway_shared::evidence::{Evidence, Kind};

/// Deliveries. No address is among it.
pub const EVIDENCE: &[Evidence] = &[Evidence {
    table: "delivery",
    columns: &["order_id", "event_id", "channel", "shop", "kind", "state", "attempt", "told_us", "ended_us"],
    key: &[Kind::Blob, Kind::Blob, Kind::Text],
    page: "select order_id, event_id, channel, shop, kind, state, attempt, told_us, ended_us from delivery
           where (order_id, event_id, channel) > ($1, $2, $3) order by order_id, event_id, channel limit $4",
    about: Some(
        "select order_id, event_id, channel, shop, kind, state, attempt, told_us, ended_us from delivery
         where order_id = $1",
    ),
    chunk: 500,
}];
