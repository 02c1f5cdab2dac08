//! What the gateway measures, besides what every ledger and every listener does.

use spillway_shared::figure::{Figure, Section, Unit, one_of};

/// Of the catalogue.
pub const FIGURES: &[Section] = &[Section { title: "Admission", figures: ADMISSION }];

const ADMISSION: &[Figure] = &[
    Figure::gauge(
        "spillway_admission_share_ratio",
        Unit::Ratio,
        "Share of the orders placed that is let in; 1 at rest. Set ten times a second.",
    )
    .of("gateway"),
    Figure::gauge(
        "spillway_admission_wait_seconds",
        Unit::Seconds,
        "How long an order placed now would wait: for its own commit (`commit_wait`), and until the services hear what \
         was said of it and have a hand for it (`unheard`).",
    )
    .of("gateway")
    .by(&[one_of("signal", &["commit_wait", "unheard"])]),
    Figure::gauge("spillway_admission_waiting_accepts", Unit::Count("orders"), "Orders that wait for their commit.")
        .of("gateway"),
    Figure::gauge(
        "spillway_admission_arrivals_per_second",
        Unit::Count("orders a second"),
        "Orders placed, let in or not, as the regulator sees them: smoothed over some 0.2 s.",
    )
    .of("gateway"),
    Figure::gauge(
        "spillway_admission_served_per_second",
        Unit::Count("orders a second"),
        "Orders that came to the end of the way, over the last second, as the services tell.",
    )
    .of("gateway"),
    Figure::gauge(
        "spillway_admission_capacity_per_second",
        Unit::Count("orders a second"),
        "What can be served, as far as the regulator knows it; from when there was pressure last, 0 where there was none.",
    )
    .of("gateway"),
    Figure::gauge(
        "spillway_admission_best_per_second",
        Unit::Count("orders a second"),
        "The best rate that was served lately. Clearly less than it is not refused, unless the wait is long.",
    )
    .of("gateway"),
    Figure::gauge(
        "spillway_admission_limit_per_second",
        Unit::Count("orders a second"),
        "What may be let in, under pressure; 0 where there is no limit.",
    )
    .of("gateway"),
];
