//! What audit shows to whoever checks it.

use spillway_shared::evidence::{Evidence, Kind};

/// The chain, with the bodies: whoever checks it recomputes the hashes.
pub const EVIDENCE: &[Evidence] = &[Evidence {
    table: "entry",
    columns: &["position", "source", "incarnation", "partition", "number", "record_us", "hash", "event_hashes", "body"],
    key: &[Kind::Int],
    page: "select position, source, incarnation, partition, number, record_us, hash, event_hashes, body from entry
           where position > $1 order by position limit $2",
    about: None,
    chunk: 8,
}];
