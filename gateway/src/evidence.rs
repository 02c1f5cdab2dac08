//! What the gateway shows to whoever checks it.

use spillway_shared::evidence::{Evidence, Kind};

/// The intake; what was ordered is in its events.
pub const EVIDENCE: &[Evidence] = &[Evidence {
    table: "intake",
    columns: &["shop", "request_id", "order_id", "fingerprint", "create_us"],
    key: &[Kind::Text, Kind::Blob],
    page: "select shop, request_id, order_id, fingerprint, create_us from intake
           where (shop, request_id) > ($1, $2) order by shop, request_id limit $3",
    about: Some("select shop, request_id, order_id, fingerprint, create_us from intake where order_id = $1"),
    chunk: 500,
}];
