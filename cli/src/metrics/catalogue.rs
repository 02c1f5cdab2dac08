//! All catalogues together, and the page that is made of them.

use std::fmt::Write as _;

use spillway_shared::figure::{Figure, Kind, Roles, Section, Unit, Values, bounded, one_of};

/// Of what belongs to no crate beneath this one.
const OWN: &[Section] =
    &[Section { title: "The check", figures: CHECK }, Section { title: "Processes", figures: PROCESSES }];

/// Upper bounds in seconds: a check looks at all that happened since the last one, the first at everything.
const CHECKED_WITHIN: &[f64] = &[0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];

const CHECK: &[Figure] = &[
    Figure::counter(
        "spillway_checks_total",
        "checks",
        "Checks that the role audit made of the whole system: nothing found (`clean`), invariants `violated`, something \
         not reached (`incomplete`), broken off (`failed`).",
    )
    .of("audit")
    .by(&[one_of("outcome", &["clean", "violated", "incomplete", "failed"])]),
    Figure::gauge(
        "spillway_check_violations",
        Unit::Count("violations"),
        "What the last check found against each invariant (docs/check.md). Anything over 0 is an alarm.",
    )
    .of("audit")
    .by(&[bounded("invariant", "the names in docs/check.md")]),
    Figure::gauge(
        "spillway_check_last_success_timestamp_seconds",
        Unit::Timestamp,
        "When the last check was made that reached everything. Not there before the first one.",
    )
    .of("audit"),
    Figure::duration("spillway_check_duration_seconds", CHECKED_WITHIN, "How long checks took.").of("audit").from_zero(),
    Figure::gauge(
        "spillway_check_orders_kept",
        Unit::Count("orders"),
        "Orders that the check keeps in mind because they are not at their end everywhere.",
    )
    .of("audit"),
];

const PROCESSES: &[Figure] = &[
    Figure::gauge("spillway_build_info", Unit::Level("always 1"), "The version that runs.")
        .by(&[bounded("version", "one for each build")]),
    Figure::counter(
        "spillway_log_lines_dropped_total",
        "lines",
        "Log lines that were not written: info lines about events over `log.max_lines_per_second` (`rate`); what found no \
         room because the log is not read, below `warn` (`unread`) and from `warn` on (`unread_warn`); what nobody takes \
         any more (`unwritable`). docs/logs.md.",
    )
    .of_everybody()
    .by(&[one_of("reason", &["rate", "unread", "unread_warn", "unwritable"])]),
    Figure::counter(
        "spillway_nats_server_restarts_total",
        "restarts",
        "Times that `up` started its own nats-server again.",
    )
    .of_process(),
    Figure::counter("spillway_process_cpu_seconds_total", "", "Processor time, user and system.")
        .of_process()
        .in_unit(Unit::Seconds),
    Figure::gauge("spillway_process_open_fds", Unit::Count("files"), "Open files, connections included.").of_process(),
    Figure::gauge("spillway_process_max_fds", Unit::Count("files"), "How many may be open.").of_process(),
    Figure::gauge("spillway_process_virtual_memory_bytes", Unit::Bytes, "Size of virtual memory.").of_process(),
    Figure::gauge("spillway_process_virtual_memory_max_bytes", Unit::Bytes, "How much of it there may be.")
        .of_process(),
    Figure::gauge("spillway_process_resident_memory_bytes", Unit::Bytes, "Memory in use.").of_process(),
    Figure::gauge("spillway_process_start_time_seconds", Unit::Timestamp, "When the process started.").of_process(),
    Figure::gauge("spillway_process_threads", Unit::Count("threads"), "Threads.").of_process(),
    Figure::gauge("spillway_runtime_workers", Unit::Count("threads"), "Threads that run tasks.").of_process(),
    Figure::gauge("spillway_runtime_alive_tasks", Unit::Count("tasks"), "Tasks that have not ended.").of_process(),
    Figure::gauge(
        "spillway_runtime_queued_tasks",
        Unit::Count("tasks"),
        "Tasks that are ready and wait in the queue that all threads share.",
    )
    .of_process(),
    Figure::gauge(
        "spillway_runtime_busy_ratio",
        Unit::Ratio,
        "Share of the last 5 s that these threads were busy, on average. Near 1, everything waits for them.",
    )
    .of_process(),
];

/// Every catalogue, in the order of the page.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    let all = [
        spillway_orders::FIGURES,
        spillway_payments::FIGURES,
        spillway_gateway::FIGURES,
        spillway_shared::figures::FIGURES,
        OWN,
    ];
    all.into_iter().flatten()
}

/// Every metric there is.
pub fn figures() -> impl Iterator<Item = &'static Figure> {
    sections().flat_map(|section| section.figures)
}

/// `docs/metrics.md`.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    for section in sections() {
        let head =
            "| metric | role | kind | unit | labels besides `role` | meaning |\n| --- | --- | --- | --- | --- | --- |";
        // Writing to a String does not fail.
        let _ = writeln!(page, "\n## {}\n\n{head}", section.title);
        for figure in section.figures {
            let (name, roles, kind) = (figure.name, roles(figure.roles), figure.kind.name());
            let (unit, labels, meaning) = (figure.unit.words(), labels(figure), figure.meaning);
            let _ = writeln!(page, "| `{name}` | {roles} | {kind} | {unit} | {labels} | {meaning} |");
        }
    }
    page.push_str(BUCKETS);
    for figure in figures() {
        if let Kind::Histogram(bounds) = figure.kind {
            let bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
            let _ = writeln!(page, "| `{}` | {} |", figure.name, bounds.join(", "));
        }
    }
    page
}

fn labels(figure: &Figure) -> String {
    let labels = figure.labels.iter().map(|label| {
        let values = match label.values {
            Values::Of(values) => values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "),
            Values::Heard => "a ledger that the role hears".to_owned(),
            Values::Hearer => "a ledger that hears the role".to_owned(),
            Values::Partition => "0, 1, ...".to_owned(),
            Values::Bounded(by) => by.to_owned(),
        };
        format!("`{}`: {values}", label.name)
    });
    labels.collect::<Vec<_>>().join("; ")
}

fn roles(roles: Roles) -> &'static str {
    match roles {
        Roles::Ledgers => "each",
        Roles::Only(role) => role,
        Roles::Everywhere => "each, and `up`",
        Roles::Process => "the process",
    }
}

const HEAD: &str = "# Metrics

This page is made of the code; a test compares it with what the processes really show.
`UPDATE_DOCS=1 cargo test -p spillway --test metrics page` writes it anew.

Every role shows its own series at `/metrics` of its admin port, in the text format of Prometheus, and labels them with
`role`. In `spillway up`, where all roles share one process, each port still shows its own role only; what belongs to the
process is shown once, at the gateway's port, as `role=\"up\"`. So all ports can be scraped and nothing is counted twice.
A scrape reads memory, never a ledger: what must be asked of a ledger is read every 5 s, or less often where that takes
long. Counters are there from the first scrape on, as 0. No metric has a label `service`, `job`, `instance`, `pod`,
`namespace` or `container`: those are the scraper's. All names begin with `spillway_`, but for
`payment_process_duration_seconds`.
";

const BUCKETS: &str = "
## Buckets

Upper bounds of the histograms, all of them cumulative, with `+Inf` besides.

| histogram | upper bounds |
| --- | --- |
";

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels that whoever scrapes sets.
    const FORBIDDEN: [&str; 6] = ["service", "job", "instance", "pod", "namespace", "container"];

    #[test]
    fn every_name_follows_the_conventions() {
        let mut names: Vec<&str> = figures().map(|figure| figure.name).collect();
        for figure in figures() {
            let name = figure.name;
            assert!(name.starts_with("spillway_") || name == "payment_process_duration_seconds", "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), matches!(figure.kind, Kind::Counter), "{name}");
            let bare = name.strip_suffix("_total").unwrap_or(name);
            for reserved in ["_bucket", "_count", "_sum"] {
                assert!(!bare.ends_with(reserved), "{name}");
            }
            if let Some(suffix) = figure.unit.suffix() {
                assert!(bare.ends_with(suffix), "{name} is in {}", figure.unit.words());
            }
            assert!(figure.meaning.ends_with('.'), "{name}: a sentence");
            let mut labels: Vec<&str> = figure.labels.iter().map(|label| label.name).collect();
            assert!(
                labels.iter().all(|label| !FORBIDDEN.contains(label) && *label != "role" && *label != "le"),
                "{name}"
            );
            labels.sort_unstable();
            labels.dedup();
            assert_eq!(labels.len(), figure.labels.len(), "{name} has a label twice");
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "a name stands twice");
    }

    #[test]
    fn bounds_of_histograms_rise() {
        for figure in figures() {
            if let Kind::Histogram(bounds) = figure.kind {
                assert!(!bounds.is_empty() && bounds.windows(2).all(|pair| pair[0] < pair[1]), "{}", figure.name);
            }
        }
    }
}
