use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::Sampler;
use spillway_proto::TraceContext;

use super::sampling::{Bucket, by_standard};
use super::{Tracer, Weight};

#[test]
fn at_rest_every_trace_is_kept_and_under_load_so_many_a_second() {
    let (bucket, begin) = (Bucket::new(50), Instant::now());
    let at = |ms: u64| begin + Duration::from_millis(ms);
    assert!((0..40).all(|n| bucket.take(at(n * 25), 0.0)), "40 a second for a second");
    let taken = (0..60_000).filter(|n| bucket.take(at(1000 + n / 6), 0.0)).count();
    assert!((490..=560).contains(&taken), "{taken} of 60,000 in ten seconds");
}

#[test]
fn reads_leave_half_to_what_changes_something() {
    let (bucket, now) = (Bucket::new(10), Instant::now());
    assert_eq!((0..100).filter(|_| bucket.take(now, 0.5)).count(), 5);
    assert_eq!((0..100).filter(|_| bucket.take(now, 0.0)).count(), 5);
}

#[test]
fn time_that_goes_backwards_gives_nothing() {
    let (bucket, now) = (Bucket::new(1), Instant::now());
    assert!(bucket.take(now, 0.0) && !bucket.take(now - Duration::from_millis(500), 0.0));
    assert!(!bucket.take(now + Duration::from_millis(600), 0.0));
}

#[test]
fn without_an_endpoint_ids_still_flow_and_nothing_is_raised() {
    let tracer = Tracer::off();
    let sampled = TraceContext::new(7, 9, true);
    let inside = tracer.begin(Some(sampled), Weight::Writes);
    assert!(inside.trace_id == 7 && inside.span_id != 9 && inside.is_sampled());
    assert!(!tracer.begin(Some(sampled.sampled(false)), Weight::Writes).is_sampled());
    let (one, other) = (tracer.begin(None, Weight::Writes), tracer.begin(None, Weight::Writes));
    assert!(!one.is_sampled() && one.trace_id != other.trace_id);
    assert!(!tracer.raise(None));
}

#[test]
fn standard_samplers_decide_as_the_sdk_does() {
    let parent = TraceContext::new(7, 9, false);
    let parent_based = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    assert!(by_standard(&parent_based, None, 7));
    assert!(!by_standard(&parent_based, Some(parent), 7));
    assert!(by_standard(&parent_based, Some(parent.sampled(true)), 7));
    assert!(by_standard(&Sampler::AlwaysOn, Some(parent), 7));
    assert!(!by_standard(&Sampler::TraceIdRatioBased(0.0), None, u128::MAX));
}
