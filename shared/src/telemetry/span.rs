//! A span that has ended.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use opentelemetry_semantic_conventions::SCHEMA_URL;
use opentelemetry_semantic_conventions::attribute::ERROR_TYPE;
use spillway_proto::time::Timestamp;
use spillway_proto::{Ledger, TraceContext};

use super::sampling::remote;

/// Links of a span, at most: what the specification has by default.
const LINKS: usize = 128;

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    pub(super) context: TraceContext,
    parent: Option<TraceContext>,
    name: Cow<'static, str>,
    kind: SpanKind,
    start: Timestamp,
    end: Timestamp,
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
    links: Vec<TraceContext>,
    error: Option<Cow<'static, str>>,
    /// Whose step it was, where that is not the tracer's own.
    pub(super) of: Option<Ledger>,
}

impl Span {
    /// A span without a parent: see [`Span::under`].
    pub fn new(context: TraceContext, name: impl Into<Cow<'static, str>>, start: Timestamp, end: Timestamp) -> Self {
        Span {
            context,
            parent: None,
            name: name.into(),
            kind: SpanKind::Internal,
            start,
            // Clocks of two machines may disagree; no span ends before it begins.
            end: end.max(start),
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            error: None,
            of: None,
        }
    }

    /// A part of another span.
    #[must_use]
    pub fn under(self, parent: TraceContext) -> Self {
        Span { parent: Some(parent), ..self }
    }

    #[must_use]
    pub fn kind(self, kind: SpanKind) -> Self {
        Span { kind, ..self }
    }

    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(Key::from_static_str(key), value));
        self
    }

    /// Something that happened on the way.
    #[must_use]
    pub fn event(mut self, name: impl Into<Cow<'static, str>>, at: Timestamp) -> Self {
        self.events.push(Event::new(name, SystemTime::from(at), Vec::new(), 0));
        self
    }

    /// It has to do with these; of many, the first.
    #[must_use]
    pub fn linked(mut self, to: impl IntoIterator<Item = TraceContext>) -> Self {
        self.links.extend(to.into_iter().take(LINKS - self.links.len().min(LINKS)));
        self
    }

    /// It did not go well: `error.type` and the status.
    #[must_use]
    pub fn failed(self, class: impl Into<Cow<'static, str>>) -> Self {
        let class = class.into();
        Span { error: Some(class.clone()), ..self.with(ERROR_TYPE, class.into_owned()) }
    }

    /// It was a step of another ledger, worked out from the record.
    #[must_use]
    pub fn of(self, ledger: Ledger) -> Self {
        Span { of: Some(ledger), ..self }
    }

    /// As the exporter takes it, in this scope.
    pub(super) fn into_data(self, scope: InstrumentationScope) -> SpanData {
        let mut events = SpanEvents::default();
        events.events = self.events;
        let mut links = SpanLinks::default();
        links.links = self.links.into_iter().map(|to| Link::new(remote(to), Vec::new(), 0)).collect();
        let (trace_id, span_id) = (self.context.trace_id.into(), self.context.span_id.into());
        SpanData {
            span_context: SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: self.parent.map_or(SpanId::INVALID, |parent| parent.span_id.into()),
            parent_span_is_remote: self.parent.is_some() && matches!(self.kind, SpanKind::Server | SpanKind::Consumer),
            span_kind: self.kind,
            name: self.name,
            start_time: self.start.into(),
            end_time: self.end.into(),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events,
            links,
            status: self.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: scope,
        }
    }
}

/// Under which name a role's spans are told apart in an exporter.
pub(super) fn scope(role: &'static str) -> InstrumentationScope {
    InstrumentationScope::builder(role).with_version(env!("CARGO_PKG_VERSION")).with_schema_url(SCHEMA_URL).build()
}
