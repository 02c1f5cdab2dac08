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
         was said of it (`unheard`).",
    )
    .of("gateway")
    .by(&[one_of("signal", &["commit_wait", "unheard"])]),
    Figure::gauge("spillway_admission_waiting_accepts", Unit::Count("orders"), "Orders that wait for their commit.")
        .of("gateway"),
];
