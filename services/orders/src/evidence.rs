//! What orders shows to whoever checks it.

use spillway_shared::evidence::{Evidence, Kind};

/// Orders and their histories. Of a contact it is told whether there is one.
pub const EVIDENCE: &[Evidence] = &[
    Evidence {
        table: "orders",
        columns: &[
            "order_id",
            "shop",
            "customer_id",
            "state",
            "reason",
            "version",
            "placed_version",
            "create_us",
            "update_us",
            "deferred_us",
            "total_minor",
            "currency",
            "refunded_minor",
            "has_contact",
        ],
        key: &[Kind::Blob],
        page: "select order_id, shop, customer_id, state, reason, version, placed_version, create_us, update_us,
                      deferred_us, total_minor, currency, refunded_minor, email is not null
               from orders where order_id > $1 order by order_id limit $2",
        about: Some(
            "select order_id, shop, customer_id, state, reason, version, placed_version, create_us, update_us,
                    deferred_us, total_minor, currency, refunded_minor, email is not null
             from orders where order_id = $1",
        ),
        chunk: 500,
    },
    Evidence {
        table: "history",
        columns: &["order_id", "version", "event"],
        key: &[Kind::Blob, Kind::Int],
        page: "select order_id, version, event from history
               where (order_id, version) > ($1, $2) order by order_id, version limit $3",
        about: Some("select order_id, version, event from history where order_id = $1 order by version"),
        chunk: 64,
    },
];
