//! What payments shows to whoever checks it.

use spillway_shared::evidence::{Evidence, Kind};

/// Payments, and every answer of the provider. No token of a means of payment is among it.
pub const EVIDENCE: &[Evidence] = &[
    Evidence {
        table: "payment",
        columns: &[
            "order_id",
            "shop",
            "state",
            "ended_us",
            "amount_minor",
            "currency",
            "attempt",
            "provider_reference",
            "reason",
            "sent_us",
            "captured_minor",
            "refunded_minor",
            "create_us",
            "update_us",
        ],
        key: &[Kind::Blob],
        page: "select order_id, shop, state, ended_us, amount_minor, currency, attempt, provider_reference, reason,
                      sent_us, captured_minor, refunded_minor, create_us, update_us
               from payment where order_id > $1 order by order_id limit $2",
        about: Some(
            "select order_id, shop, state, ended_us, amount_minor, currency, attempt, provider_reference, reason,
                    sent_us, captured_minor, refunded_minor, create_us, update_us
             from payment where order_id = $1",
        ),
        chunk: 500,
    },
    Evidence {
        table: "answer",
        columns: &[
            "order_id",
            "charge_id",
            "outcome",
            "provider_reference",
            "amount_minor",
            "currency",
            "code",
            "answer_us",
        ],
        key: &[Kind::Blob, Kind::Blob, Kind::Text, Kind::Text],
        page: "select order_id, charge_id, outcome, provider_reference, amount_minor, currency, code, answer_us
               from answer
               where (order_id, charge_id, outcome, provider_reference) > ($1, $2, $3, $4)
               order by order_id, charge_id, outcome, provider_reference limit $5",
        about: Some(
            "select order_id, charge_id, outcome, provider_reference, amount_minor, currency, code, answer_us
             from answer where order_id = $1",
        ),
        chunk: 500,
    },
];
