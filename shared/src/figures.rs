//! What the machine counts and measures, whatever its ledgers are of.

use crate::figure::{Figure, Label, PARTITION, SECONDS, SOURCE, Section, Unit, Values, bounded, one_of};
use crate::ledger::{CAUSES, INCIDENTS};

const LISTENER: Label = one_of("listener", &["grpc", "ops"]);

/// Of one catalogue.
pub const FIGURES: &[Section] = &[
    Section { title: "Calls and connections", figures: CALLS },
    Section { title: "Commits", figures: COMMITS },
    Section { title: "What waits", figures: WAITING },
    Section { title: "NATS and JetStream", figures: BUS },
    Section { title: "Dead letters", figures: DEAD_LETTERS },
    Section { title: "Disk", figures: MACHINE },
    Section { title: "Traces", figures: TRACES },
];

/// The codes of gRPC, by number.
pub const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const CALLS: &[Figure] = &[
    Figure::duration(
        "spillway_grpc_server_duration_seconds",
        SECONDS,
        "Calls of clients and operators, from their headers to their status. Of a stream: to the end of the stream, \
         however long a client watches; one that the client leaves is CANCELLED.",
    )
    .of("gateway")
    .by(&[
        LISTENER,
        bounded("method", "the methods that the listener serves, as `package.Service/Method`; `unknown` for all others"),
        one_of("code", &CODES),
    ]),
    Figure::duration(
        "spillway_refusal_seconds",
        SECONDS,
        "Calls refused with RESOURCE_EXHAUSTED, from their headers to their status: a refusal must be fast.",
    )
    .of("gateway")
    .by(&[LISTENER])
    .from_zero(),
    Figure::counter(
        "spillway_admission_refusals_total",
        "calls",
        "Calls refused for overload, by what showed it: all places for calls taken (`calls`), for messages that have not \
         arrived (`arriving`), for streams (`streams`); accepts waiting for their commit (`commit_wait`), or for the \
         services to hear them (`unheard`).",
    )
    .of("gateway")
    .by(&[LISTENER, one_of("signal", &["calls", "arriving", "streams", "commit_wait", "unheard"])]),
    Figure::gauge(
        "spillway_calls_in_flight",
        Unit::Count("calls"),
        "Calls being served, calls whose message has not arrived, and open streams. Read every second.",
    )
    .of("gateway")
    .by(&[LISTENER, one_of("kind", &["call", "arriving", "stream"])])
    .from_zero(),
    Figure::gauge("spillway_connections", Unit::Count("connections"), "Open connections of clients and operators.")
        .of("gateway")
        .by(&[LISTENER])
        .from_zero(),
    Figure::counter(
        "spillway_connections_refused_total",
        "connections",
        "Connections refused because as many were open as are taken.",
    )
    .of("gateway")
    .by(&[LISTENER]),
];

const COMMITS: &[Figure] = &[
    Figure::duration(
        "spillway_commit_duration_seconds",
        SECONDS,
        "Commits of the ledger that came about, from the first read to the end of the fsync, tries that met a lock \
         included.",
    )
    .from_zero(),
    Figure::sizes(
        "spillway_commit_inputs",
        "inputs",
        "What one commit took in: events, commands, results of due work, and the machine's own notes. 1 at rest, \
         hundreds under load.",
    )
    .from_zero(),
    Figure::counter(
        "spillway_commits_failed_total",
        "tries",
        "Commits that did not come about: tried `again` at once (a lock), or `refused` (a full or failing disk), with \
         nothing kept.",
    )
    .by(&[one_of("outcome", &["again", "refused"])]),
    Figure::counter(
        "spillway_duplicates_absorbed_total",
        "batches",
        "Batches heard that were heard before: told twice changes nothing.",
    ),
    Figure::counter(
        "spillway_messages_taken_alone_total",
        "messages",
        "Messages taken one at a time, because the process may have died with them in hand.",
    ),
    Figure::counter(
        "spillway_due_taken_alone_total",
        "rows",
        "Due rows worked off one at a time, because the process may have died with them in hand.",
    ),
];

const WAITING: &[Figure] = &[
    Figure::gauge(
        "spillway_outbox_backlog_batches",
        Unit::Count("batches"),
        "Batches committed and not yet acknowledged by JetStream.",
    )
    .by(&[PARTITION]),
    Figure::gauge(
        "spillway_outbox_oldest_age_seconds",
        Unit::Seconds,
        "Age of the oldest of them; 0 where there is none.",
    )
    .by(&[PARTITION]),
    Figure::gauge("spillway_head_batches", Unit::Count("batches"), "Number of the last batch that was committed.")
        .by(&[PARTITION]),
    Figure::gauge(
        "spillway_listener_lag_batches",
        Unit::Count("batches"),
        "Batches of this ledger that a listener has not said it has heard.",
    )
    .by(&[PARTITION, Label { name: "listener", values: Values::Hearer }]),
    Figure::gauge(
        "spillway_listener_lag_seconds",
        Unit::Seconds,
        "Age of the oldest of them; 0 where there is none. Listeners tell once a second while they move.",
    )
    .by(&[PARTITION, Label { name: "listener", values: Values::Hearer }]),
    Figure::gauge(
        "spillway_inbox_missing_batches",
        Unit::Count("batches"),
        "Batches not heard below one that was heard: they are asked for.",
    )
    .by(&[PARTITION]),
    Figure::gauge("spillway_due_rows", Unit::Count("rows"), "Work that waits for the world or for its time, by kind.")
        .by(&[PARTITION, bounded("kind", "the kinds of due work of the role")]),
    Figure::gauge(
        "spillway_due_oldest_age_seconds",
        Unit::Seconds,
        "How long the oldest of them has been overdue; 0 where nothing is due.",
    )
    .by(&[PARTITION, bounded("kind", "the kinds of due work of the role")]),
    Figure::gauge("spillway_pauses", Unit::Count("flows"), "Flows that an operator holds up.").by(&[PARTITION]),
];

const BUS: &[Figure] = &[
    Figure::gauge(
        "spillway_jetstream_connected",
        Unit::Level("1 connected, 0 not"),
        "Whether the role is connected to NATS.",
    ),
    Figure::gauge(
        "spillway_jetstream_carries",
        Unit::Level("1 carries, 0 does not"),
        "Whether JetStream answers and takes what is said, as far as the last answer shows.",
    ),
    Figure::counter(
        "spillway_jetstream_failures_total",
        "failures",
        "Times that JetStream stopped answering or taking what is said.",
    ),
    Figure::counter(
        "spillway_incidents_total",
        "incidents",
        "What went wrong around a ledger, by kind, and was healed, except `gone_for_good`: batches that nobody has any \
         more. `asked_for` counts batches that were missing and given again.",
    )
    .by(&[one_of("kind", INCIDENTS)]),
    Figure::counter("spillway_stream_incidents_total", "incidents", "What the relay found wrong with its own stream.")
        .by(&[one_of("kind", &["recreated", "behind", "sequence_reused", "holes", "emptied", "changed_back"])]),
    Figure::counter("spillway_streams_created_total", "streams", "Streams that were not there and were created."),
    Figure::counter("spillway_streams_changed_back_total", "streams", "Streams that somebody changed, changed back."),
    Figure::counter("spillway_consumers_created_total", "consumers", "Consumers that were not there and were created."),
    Figure::counter(
        "spillway_consumers_changed_back_total",
        "consumers",
        "Consumers that somebody changed, changed back.",
    ),
    Figure::counter("spillway_relay_published_total", "batches", "Batches that JetStream acknowledged."),
    Figure::counter(
        "spillway_relay_duplicates_total",
        "batches",
        "Of those, batches that the stream had already: said again after an acknowledgement was lost.",
    ),
    Figure::counter(
        "spillway_relay_failures_total",
        "publishes",
        "Publishes that were not acknowledged, by cause; they are said again.",
    )
    .by(&[one_of("cause", &["no_answer", "no_stream", "other_stream", "refused"])]),
    Figure::counter("spillway_redeliveries_total", "messages", "Messages that JetStream delivered more than once.")
        .by(&[SOURCE]),
    Figure::counter(
        "spillway_batches_asked_for_total",
        "batches",
        "Batches that were missing and that their ledger gave again.",
    )
    .by(&[SOURCE]),
    Figure::counter(
        "spillway_batches_gone_total",
        "answers",
        "Answers that what is missing is there no more: lost for good.",
    )
    .by(&[SOURCE]),
];

const DEAD_LETTERS: &[Figure] = &[
    Figure::gauge("spillway_dead_letters", Unit::Count("messages"), "Dead letters that nothing was done about yet.")
        .by(&[PARTITION, one_of("cause", CAUSES)]),
    Figure::gauge(
        "spillway_dead_letters_alarming",
        Unit::Count("messages"),
        "Of those, the ones that somebody should look at: all but what has waited less than a day for a newer build.",
    )
    .by(&[PARTITION]),
    Figure::counter("spillway_dead_letters_written_total", "messages", "Dead letters written.")
        .by(&[one_of("cause", CAUSES)]),
    Figure::counter("spillway_dead_letters_redriven_total", "messages", "Dead letters handed in again, by outcome.")
        .by(&[one_of("outcome", &["taken", "still_dead"])]),
    Figure::counter(
        "spillway_dead_letters_resolved_total",
        "messages",
        "Dead letters that a good copy of the same batch made up for.",
    ),
    Figure::counter("spillway_dead_letters_discarded_total", "messages", "Dead letters that an operator discarded."),
];

const TRACES: &[Figure] = &[Figure::counter(
    "spillway_trace_spans_total",
    "spans",
    "Spans of sampled traces: exported over OTLP, failed on the way, or dropped because too many waited. All 0 where \
     nothing is exported.",
)
.by(&[one_of("outcome", &["exported", "failed", "dropped"])])
.from_zero()];

const MACHINE: &[Figure] = &[
    Figure::gauge("spillway_disk_free_bytes", Unit::Bytes, "Free space where the ledger's file is.").by(&[PARTITION]),
    Figure::gauge("spillway_disk_size_bytes", Unit::Bytes, "Size of the file system where the ledger's file is.")
        .by(&[PARTITION]),
];
