//! What hashing costs: with six events an order, it is part of every order's price.

use std::hint::black_box;
use std::time::Instant;

use sha2::{Digest, Sha256};
use spillway_audit::Audit;
use spillway_proto::Ledger as Source;
use spillway_proto::batch::split;
use spillway_proto::time::Timestamp;
use spillway_shared::ledger::{Batch, Reader, Service};
use spillway_shared::telemetry::Tracer;

use crate::kit::{self, PARTITION};

/// Prints nanoseconds per event: `cargo test -p spillway-audit cost -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn cost_of_reading_a_batch_of_2000_events() {
    let texts: Vec<String> = (0..2000).map(|n| format!("a reason of some length, number {n}")).collect();
    let batch = Batch { body: kit::body(Source::Orders, &texts), ..kit::batch(Source::Orders, 1) };
    let (audit, tracer) = (Audit { partition: PARTITION }, Tracer::off());
    let reader = Reader { listener: Source::Audit, now: Timestamp::UNIX_EPOCH, tracer: &tracer, is_redriven: false };
    let rounds = 200;
    let began = Instant::now();
    for _ in 0..rounds {
        black_box(audit.read(&reader, black_box(&batch)).expect("a batch"));
    }
    let nanos = began.elapsed().as_nanos() / (rounds * 2000);
    let events = split(batch.body.clone()).expect("a batch");
    let began = Instant::now();
    for _ in 0..rounds {
        for event in &events {
            black_box(Sha256::digest(black_box(event)));
        }
    }
    let bare = began.elapsed().as_nanos() / (rounds * 2000);
    println!("{nanos} ns per event of {} bytes, of which SHA-256 {bare} ns", batch.body.len() / 2000);
}
