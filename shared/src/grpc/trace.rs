//! The trace that a call belongs to, as W3C Trace Context writes it, and the call's own span in it.

use std::fmt;
use std::sync::OnceLock;

use http::{Extensions, HeaderMap};
use opentelemetry_semantic_conventions::attribute as attr;
use spillway_proto::TraceContext;
use spillway_proto::time::Timestamp;
use tonic::{Code, Status};

use super::Answer;
use crate::figures::CODES;
use crate::telemetry::{Span, SpanKind, Tracer, Weight};

/// A valid `traceparent` of version 00, in the request's extensions: of the span of the call itself, in its caller's
/// trace or in a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(String);

impl TraceParent {
    /// The trace of a call: `TraceParent::of(request.extensions())`. None outside of a [`super::GrpcServer`].
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&TraceParent> {
        extensions.get()
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// 32 digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    /// 16 digits: of the step that says this.
    #[must_use]
    pub fn span_id(&self) -> &str {
        &self.0[36..52]
    }

    /// Strictly as the specification wants it. A header of a later version is taken for what version 00 says of it.
    #[must_use]
    pub fn parse(header: &str) -> Option<TraceParent> {
        TraceContext::parse(header).map(TraceParent::from)
    }
}

impl From<TraceContext> for TraceParent {
    fn from(context: TraceContext) -> Self {
        TraceParent(context.to_string())
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The caller's place in its trace, where it sent exactly one valid header.
fn sent_with(headers: &HeaderMap) -> Option<TraceContext> {
    let mut sent = headers.get_all("traceparent").iter();
    match (sent.next(), sent.next()) {
        (Some(header), None) => header.to_str().ok().and_then(TraceContext::parse),
        (None | Some(_), _) => None,
    }
}

/// The span of a call, from its headers until it is answered. One that is refused before it is let in has none.
#[derive(Debug)]
pub(super) struct CallSpan {
    began: Timestamp,
    place: OnceLock<(TraceContext, Option<TraceContext>)>,
}

impl CallSpan {
    pub fn begin() -> Self {
        CallSpan { began: Timestamp::now(), place: OnceLock::new() }
    }

    /// The call is let in: from now on it has a place in a trace.
    pub fn enter(&self, tracer: &Tracer, weight: Weight, headers: &HeaderMap) -> TraceParent {
        let parent = sent_with(headers);
        let context = tracer.begin(parent, weight);
        let (context, _parent) = *self.place.get_or_init(|| (context, parent));
        TraceParent::from(context)
    }

    /// Where the call is in its trace, once it is let in.
    pub fn context(&self) -> Option<TraceContext> {
        self.place.get().map(|(context, _parent)| *context)
    }

    /// The call is answered, or its stream begins.
    pub fn end(self, tracer: &Tracer, path: &str, answer: &Answer) {
        let Some((context, parent)) = self.place.into_inner().filter(|(context, _)| context.is_sampled()) else {
            return;
        };
        let code = Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code());
        let method = path.trim_start_matches('/').to_owned();
        let span = Span::new(context, method.clone(), self.began, Timestamp::now())
            .kind(SpanKind::Server)
            .with(attr::RPC_SYSTEM_NAME, "grpc")
            .with(attr::RPC_METHOD, method)
            .with(attr::RPC_RESPONSE_STATUS_CODE, name(code));
        let span = match parent {
            Some(parent) => span.under(parent),
            None => span,
        };
        // What the client did wrong is no error of the server.
        let is_ours = matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        );
        tracer.end(if is_ours { span.failed(name(code)) } else { span });
    }
}

/// As the specification of gRPC writes it.
fn name(code: Code) -> &'static str {
    usize::try_from(i32::from(code)).ok().and_then(|number| CODES.get(number)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn two_headers_are_as_good_as_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(sent_with(&headers), None);
        headers.append("traceparent", GOOD.parse().expect("a header"));
        assert_eq!(sent_with(&headers), TraceContext::parse(GOOD));
        headers.append("traceparent", GOOD.parse().expect("a header"));
        assert_eq!(sent_with(&headers), None);
    }

    #[test]
    fn a_call_is_a_new_span_in_its_callers_trace() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", GOOD.parse().expect("a header"));
        let inside = CallSpan::begin().enter(&Tracer::off(), Weight::Writes, &headers);
        assert!(inside.as_str().starts_with(&GOOD[..36]) && inside.as_str() != GOOD, "{inside}");
        let new = CallSpan::begin().enter(&Tracer::off(), Weight::Writes, &HeaderMap::new());
        assert!(TraceParent::parse(new.as_str()).is_some() && !new.as_str().starts_with(&GOOD[..36]), "{new}");
    }
}
