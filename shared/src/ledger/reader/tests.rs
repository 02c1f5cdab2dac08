use spillway_proto::pb::events::StockAdjusted;
use spillway_proto::{NewEvent, envelope, time};

use super::*;

const SAID_US: i64 = 1_800_000_000_000_000;

/// What a service is handed of an event that waited so long, and whether its step is told of here.
fn entered(traceparent: &str, waited_us: i64, is_redriven: bool) -> (String, bool) {
    let event = NewEvent {
        shop: "default".into(),
        subject: Subject::Sku("tea".into()),
        occurrence: "r1".into(),
        traceparent: traceparent.into(),
        event: StockAdjusted { delta: 5, ..Default::default() }.into(),
    };
    let mut raw = Vec::new();
    envelope::write(&event, Source::Inventory, time::from_micros(SAID_US), &mut raw);
    let mut heard = envelope::read(raw.into()).expect("an event");
    let tracer = Tracer::off();
    let now = time::from_micros(SAID_US + waited_us);
    let reader = Reader { listener: Source::Audit, now, tracer: &tracer, is_redriven };
    let is_told = reader.enter(&mut heard).is_some();
    assert_eq!(heard.raw, envelope::read(heard.raw.clone()).expect("an event").raw, "what was said stays as it was");
    assert!(
        heard.raw.windows(traceparent.len().max(1)).any(|part| part == traceparent.as_bytes())
            || traceparent.is_empty()
    );
    (heard.traceparent, is_told)
}

/// The step "audit takes that event" in the trace of this cause.
fn step(cause: TraceContext) -> TraceContext {
    let id = EventId::of("default", &Subject::Sku("tea".into()), spillway_proto::EventKind::StockAdjusted, "r1");
    cause.at(step_span(Source::Audit, id))
}

#[test]
fn a_service_is_handed_the_step_that_takes_the_event_and_its_flag_as_it_was() {
    for is_sampled in [false, true] {
        let cause = TraceContext::new(7, 9, is_sampled);
        for waited_us in [0, 2_000_000] {
            let (handed, _) = entered(&cause.to_string(), waited_us, false);
            assert_eq!(handed, step(cause).to_string(), "{waited_us}");
        }
    }
}

#[test]
fn after_an_hour_and_when_handed_in_again_a_trace_of_its_own_begins() {
    let cause = TraceContext::new(7, 9, true);
    for (waited_us, is_redriven) in [(3_601_000_000, false), (0, true)] {
        let (handed, _) = entered(&cause.to_string(), waited_us, is_redriven);
        assert_eq!(handed, step(cause).renewed().to_string());
        assert_ne!(step(cause).renewed().trace_id, cause.trace_id);
    }
}

#[test]
fn what_has_no_trace_gets_none_and_where_nothing_is_exported_nothing_is_told() {
    assert_eq!(entered("", 0, false), (String::new(), false));
    assert_eq!(entered("", 0, true), (String::new(), false));
    assert!(!entered(&TraceContext::new(7, 9, true).to_string(), 0, false).1);
}
