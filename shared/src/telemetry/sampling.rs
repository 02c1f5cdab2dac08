//! Which traces are kept.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanKind, TraceContextExt, TraceFlags, TraceState};
use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample};
use spillway_proto::TraceContext;

/// So many a second, and after a rest as many at once.
pub(super) struct Bucket {
    per_second: f64,
    level: Mutex<Level>,
}

struct Level {
    tokens: f64,
    at: Option<Instant>,
}

impl Bucket {
    pub fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Bucket { per_second, level: Mutex::new(Level { tokens: per_second, at: None }) }
    }

    /// Takes one, unless less than this share of all would be left.
    pub fn take(&self, now: Instant, left: f64) -> bool {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let since = level.at.map(|at| now.saturating_duration_since(at).as_secs_f64()).unwrap_or_default();
        level.tokens = (level.tokens + since * self.per_second).min(self.per_second);
        level.at = Some(level.at.map_or(now, |at| at.max(now)));
        let takes = level.tokens - 1.0 >= left * self.per_second;
        if takes {
            level.tokens -= 1.0;
        }
        takes
    }
}

/// What a standard sampler says.
pub(super) fn by_standard(sampler: &dyn ShouldSample, parent: Option<TraceContext>, trace_id: u128) -> bool {
    let context = parent.map(|parent| Context::new().with_remote_span_context(remote(parent)));
    let sampled = sampler.should_sample(context.as_ref(), trace_id.into(), "", &SpanKind::Server, &[], &[]);
    sampled.decision == SamplingDecision::RecordAndSample
}

/// As OpenTelemetry has it, from elsewhere.
pub(super) fn remote(context: TraceContext) -> SpanContext {
    let flags = if context.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(context.trace_id.into(), context.span_id.into(), flags, true, TraceState::default())
}
