//! The evidence of the tables that every ledger has.

use super::{Evidence, Kind};

/// What every ledger has. No payload of due work is among it: mail addresses are in there.
pub const MACHINE: &[Evidence] = &[
    Evidence {
        table: "ledger",
        columns: &["one", "name", "incarnation", "partitions", "created_us"],
        key: &[Kind::Int],
        page: "select one, name, incarnation, partitions, created_us from ledger where one > $1 order by one limit $2",
        about: None,
        chunk: 500,
    },
    Evidence {
        table: "head",
        columns: &["incarnation", "partition", "number", "relayed"],
        key: &[Kind::Blob, Kind::Int],
        page: "select incarnation, partition, number, relayed from head
               where (incarnation, partition) > ($1, $2) order by incarnation, partition limit $3",
        about: None,
        chunk: 500,
    },
    Evidence {
        table: "inbox_mark",
        columns: &["source", "incarnation", "partition", "number", "time_us"],
        key: &[Kind::Text, Kind::Blob, Kind::Int],
        page: "select source, incarnation, partition, number, time_us from inbox_mark
               where (source, incarnation, partition) > ($1, $2, $3)
               order by source, incarnation, partition limit $4",
        about: None,
        chunk: 500,
    },
    Evidence {
        table: "due",
        columns: &["kind", "key", "due_us", "attempt"],
        key: &[Kind::Text, Kind::Blob],
        page: "select kind, key, due_us, attempt from due where (kind, key) > ($1, $2) order by kind, key limit $3",
        about: None,
        chunk: 500,
    },
    Evidence {
        table: "dead_letter",
        columns: &[
            "id",
            "source",
            "incarnation",
            "partition",
            "number",
            "cause",
            "fingerprint",
            "body",
            "count",
            "first_us",
            "last_us",
            "state",
        ],
        key: &[Kind::Blob],
        page: "select id, source, incarnation, partition, number, cause, fingerprint, body, count, first_us, last_us,
                      state
               from dead_letter where id > $1 order by id limit $2",
        about: None,
        chunk: 8,
    },
    Evidence {
        table: "outbox",
        columns: &["id", "incarnation", "partition", "number", "events", "time_us", "body"],
        key: &[Kind::Int],
        page: "select id, incarnation, partition, number, events, time_us, body from outbox
               where id > $1 order by id limit $2",
        about: None,
        chunk: 8,
    },
];
