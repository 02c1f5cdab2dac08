use std::collections::HashSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::batch::BatchWriter;
use crate::pb::events::StockAdjusted;
use crate::time::Timestamp;
use crate::{NewEvent, Subject};

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

proptest! {
    #[test]
    fn what_is_written_is_read_again(trace_id: u128, span_id: u64, is_sampled: bool, other: u64) {
        let context = TraceContext::new(trace_id, span_id, is_sampled);
        let mut text = context.to_string();
        prop_assert_eq!(TraceContext::parse(&text), Some(context));
        prop_assert_eq!(super::is_sampled(&text), is_sampled);
        prop_assert!(put_span(&mut text, other.max(1)));
        prop_assert_eq!(TraceContext::parse(&text), Some(context.at(other)));
        prop_assert_eq!(context.sampled(true).sampled(is_sampled), context);
    }

    #[test]
    fn ids_that_follow_are_never_zero_and_never_the_same(event: u128, other: u128) {
        let (event, other) = (EventId(Uuid::from_u128(event)), EventId(Uuid::from_u128(other)));
        let mut seen = HashSet::new();
        for ledger in Ledger::ALL {
            let step = step_span(ledger, event);
            let parts = [Part::Queue, Part::Commit, Part::Wait(1), Part::Wait(2), Part::Retry(2), Part::Call(1)];
            for span in parts.map(|part| part_span(step, part)).into_iter().chain([step]) {
                prop_assert!(span != 0 && seen.insert(span));
            }
            prop_assert_eq!(step == step_span(ledger, other), event == other);
        }
    }
}

/// Spans that some backend keeps are found again by a later build.
#[test]
fn derived_ids_are_the_same_in_every_build() {
    let event = EventId(Uuid::from_u128(0x0190_0000_0000_5000_8000_0000_0000_0001));
    let step = step_span(Ledger::Payments, event);
    let renewed = TraceContext::parse(GOOD).expect("valid").renewed();
    let all = format!("{step:016x} {:016x} {renewed}", part_span(step, Part::Call(2)));
    assert_eq!(all, "9c6e6da8ba1c9004 092c4136e9e75fa4 00-450c0288bb170b9f3de35fe7613ba8b4-00f067aa0ba902b7-01");
}

#[test]
fn what_the_specification_allows_is_kept() {
    assert_eq!(TraceContext::parse(GOOD).expect("valid").to_string(), GOOD);
    let later = format!("01{}-what-comes-later", &GOOD[2..]);
    assert_eq!(TraceContext::parse(&later).expect("valid").to_string(), GOOD);
    let random = format!("{}03", &GOOD[..53]);
    assert_eq!(TraceContext::parse(&random).expect("valid").to_string(), random);
    let unknown = format!("{}f9", &GOOD[..53]);
    assert_eq!(TraceContext::parse(&unknown).expect("valid").to_string(), GOOD, "flags nobody knows are not passed on");
}

#[test]
fn what_it_forbids_is_not() {
    let wrong = [
        String::new(),
        GOOD.to_uppercase(),
        format!("ff{}", &GOOD[2..]),
        format!("{GOOD}-more"),
        format!("01{}more", &GOOD[2..]),
        GOOD.replace('4', "g"),
        GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
        GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
        GOOD.replace("-00f067aa", "00-f067aa"),
        "ä".repeat(40),
    ];
    for header in wrong {
        assert_eq!(TraceContext::parse(&header), None, "{header:?}");
        let mut same = header.clone();
        if header.len() != LENGTH {
            assert!(!put_span(&mut same, 7) && same == header, "{header:?}");
        }
    }
}

#[test]
fn sampled_events_of_a_batch_are_found_without_decoding_it() {
    let mut writer = BatchWriter::default();
    for (sku, traceparent) in [("tea", GOOD), ("cup", ""), ("pot", &format!("{}00", &GOOD[..53])), ("can", GOOD)] {
        let event = NewEvent {
            shop: "default".into(),
            subject: Subject::Sku(sku.into()),
            occurrence: sku.into(),
            traceparent: traceparent.into(),
            event: StockAdjusted { delta: 5, ..Default::default() }.into(),
        };
        writer.push(&event, Ledger::Inventory, Timestamp::UNIX_EPOCH);
    }
    assert_eq!(sampled_in(writer.as_bytes()), [TraceContext::parse(GOOD).expect("valid")]);
    assert_eq!(sampled_in(b"traceparent"), []);
}
