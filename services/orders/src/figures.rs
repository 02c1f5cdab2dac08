//! What orders measures of its orders.

use spillway_shared::figure::{Figure, PARTITION, Section, Unit, one_of};

/// Of the catalogue.
pub const FIGURES: &[Section] = &[Section { title: "Orders", figures: ORDERS }];

/// In seconds. The objective is an end within 5 s.
const TO_THE_END: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0];

const ORDERS: &[Figure] = &[
    Figure::gauge(
        "spillway_orders",
        Unit::Count("orders"),
        "Orders that are not at their end, all shops together. Read every few seconds.",
    )
    .of("orders")
    .by(&[PARTITION, one_of("state", &["pending"])]),
    Figure::gauge(
        "spillway_orders_oldest_age_seconds",
        Unit::Seconds,
        "Time since the oldest of them was accepted; 0 where there is none.",
    )
    .of("orders")
    .by(&[PARTITION, one_of("state", &["pending"])]),
    Figure::duration(
        "spillway_order_end_seconds",
        TO_THE_END,
        "Orders that came to their end, from their acceptance to the commit of their end. `deferred` is true where the \
         order was told that it waits for the payment provider's outage.",
    )
    .of("orders")
    .by(&[one_of("state", &["confirmed", "rejected"]), one_of("deferred", &["false", "true"])])
    .from_zero(),
];
