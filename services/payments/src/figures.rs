//! What payments measures of the provider and of its payments.

use spillway_shared::figure::{Figure, Label, PARTITION, SECONDS, Section, Unit, one_of};

/// Of the catalogue.
pub const FIGURES: &[Section] =
    &[Section { title: "The payment provider", figures: PROVIDER }, Section { title: "Payments", figures: PAYMENTS }];

/// What is asked of the provider.
pub(crate) const KINDS: [&str; 4] = ["charge", "refund", "charge_lookup", "refund_lookup"];

/// How a call can end.
pub(crate) const CLASSES: [&str; 11] = [
    "approved",
    "declined",
    "action_required",
    "pending",
    "rejected",
    "throttled",
    "unavailable",
    "in_flight",
    "unknown",
    "absent",
    "several",
];

const KIND: Label = one_of("kind", &KINDS);

const CLASS: Label = one_of("class", &CLASSES);

/// Upper bounds in seconds: how long a customer waits for a charge.
const CHARGED_WITHIN: &[f64] = &[0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// What is counted of a charge's answers.
pub(crate) const STATUSES: [&str; 6] = ["captured", "declined", "unavailable", "unknown", "throttled", "rejected"];

const PROVIDER: &[Figure] = &[
    Figure::duration(
        "payment_process_duration_seconds",
        CHARGED_WITHIN,
        "Answers to charges, from the first call for the charge to the answer, the waits and calls in between included. \
         A charge that needed several calls is in it once for each answer, and `captured` or `declined` once: \
         `declined` also where the customer would have to act, `unavailable` and `throttled` where it was surely not \
         carried out, `unknown` where that is not known, the provider has not decided, or a lookup does not settle it, \
         `rejected` where the provider calls the request invalid. Calls that the breaker held back are not in it.",
    )
    .of("payments")
    .by(&[one_of("status", &STATUSES)])
    .from_zero(),
    Figure::counter("spillway_provider_calls_total", "calls", "Calls to the provider, by the class of their answer.")
        .of("payments")
        .by(&[KIND, CLASS]),
    Figure::duration(
        "spillway_provider_call_duration_seconds",
        SECONDS,
        "The same calls, from the request to the end of the answer or of the patience.",
    )
    .of("payments")
    .by(&[KIND, CLASS]),
    Figure::gauge(
        "spillway_provider_breaker_state",
        Unit::Level("0 closed, 1 probing, 2 open"),
        "The breaker before the provider.",
    )
    .of("payments")
    .from_zero(),
    Figure::counter("spillway_provider_breaker_openings_total", "openings", "Times that the breaker opened.")
        .of("payments"),
    Figure::counter(
        "spillway_provider_breaker_rejections_total",
        "looks",
        "Times that a worker wanted to call and the breaker turned it away. Its work stays due and spends no try.",
    )
    .of("payments"),
    Figure::counter(
        "spillway_provider_breaker_probes_total",
        "calls",
        "Calls that find out whether the provider is well again.",
    )
    .of("payments"),
    Figure::gauge(
        "spillway_payments_drain_rate",
        Unit::Count("calls per second"),
        "Calls that are let through while the backlog of an outage is worked off; 0 where nothing holds them back.",
    )
    .of("payments")
    .from_zero(),
    Figure::gauge(
        "spillway_certificate_expiry_timestamp_seconds",
        Unit::Timestamp,
        "When the certificate ends that the peer showed when it was connected to last: `provider`, the payment \
         provider over https. Not there before the first connection, and without TLS.",
    )
    .of("payments")
    .by(&[one_of("certificate", &["provider"])]),
];

const PAYMENTS: &[Figure] = &[
    Figure::counter(
        "spillway_payments_deferred_total",
        "orders",
        "Orders told that they wait for the provider: once for each order and outage.",
    )
    .of("payments"),
    Figure::gauge(
        "spillway_payments_unknown",
        Unit::Count("payments"),
        "Payments of which a call went out whose end is not known: charged, or refunded, or not.",
    )
    .of("payments")
    .by(&[PARTITION]),
    Figure::gauge(
        "spillway_payments_unknown_oldest_age_seconds",
        Unit::Seconds,
        "Time since the oldest of them became unknown; 0 where there is none.",
    )
    .of("payments")
    .by(&[PARTITION]),
    Figure::gauge(
        "spillway_payments_parked",
        Unit::Count("payments"),
        "Payments that wait for a person to settle them.",
    )
    .of("payments")
    .by(&[PARTITION]),
    Figure::counter("spillway_payments_unknown_total", "payments", "Payments that became unknown.").of("payments"),
    Figure::counter(
        "spillway_payments_unknown_settled_total",
        "payments",
        "Unknown payments that became known: by the same key sent again, by a lookup, by being parked, by a person.",
    )
    .of("payments")
    .by(&[one_of("how", &["same_key", "lookup", "parked", "human"])]),
    Figure::counter("spillway_payments_parked_total", "payments", "Payments that were parked, by reason.")
        .of("payments")
        .by(&[one_of(
            "reason",
            &[
                "WRONG_AMOUNT",
                "REJECTED",
                "ABSENT",
                "SEVERAL",
                "REFUND_WRONG_AMOUNT",
                "REFUND_REJECTED",
                "REFUND_ABSENT",
                "REFUND_SEVERAL",
                "REFUND_DECLINED",
                "TRIES_SPENT",
                "REFUND_TRIES_SPENT",
            ],
        )]),
];
