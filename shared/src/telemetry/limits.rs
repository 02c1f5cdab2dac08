//! How much a span may hold. The limits of the specification, kept where spans leave, off every order's way.

use opentelemetry::{Array, StringValue, Value};
use opentelemetry_sdk::trace::SpanData;

use super::variables::Variables;

/// What the specification has where nothing is said.
const COUNT: usize = 128;

/// What is beyond is cut and counted in the span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Characters of a text, at most.
    pub value_length: Option<usize>,
    pub attributes: usize,
    pub events: usize,
    pub links: usize,
}

impl Limits {
    /// What is said of spans wins over what is said of everything. Events and links have no attributes here.
    pub fn read(variables: &mut Variables<'_>) -> Limits {
        let mut limit = |names: &[&str]| {
            let said = names.iter().find_map(|name| variables.said(name));
            variables.number(said, 0..=1_000_000)
        };
        Limits {
            value_length: limit(&["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"]),
            attributes: limit(&["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"]).unwrap_or(COUNT),
            events: limit(&["OTEL_SPAN_EVENT_COUNT_LIMIT"]).unwrap_or(COUNT),
            links: limit(&["OTEL_SPAN_LINK_COUNT_LIMIT"]).unwrap_or(COUNT),
        }
    }

    pub fn keep(&self, span: &mut SpanData) {
        span.dropped_attributes_count += cut(&mut span.attributes, self.attributes);
        span.events.dropped_count += cut(&mut span.events.events, self.events);
        span.links.dropped_count += cut(&mut span.links.links, self.links);
        if let Some(length) = self.value_length {
            span.attributes.iter_mut().for_each(|attribute| shorten(&mut attribute.value, length));
        }
    }
}

/// How many were too many.
fn cut<T>(all: &mut Vec<T>, most: usize) -> u32 {
    let over = all.len().saturating_sub(most);
    all.truncate(most);
    u32::try_from(over).unwrap_or(u32::MAX)
}

fn shorten(value: &mut Value, length: usize) {
    let shorten = |text: &mut StringValue| {
        if let Some((at, _)) = text.as_str().char_indices().nth(length) {
            *text = text.as_str()[..at].to_owned().into();
        }
    };
    match value {
        Value::String(text) => shorten(text),
        Value::Array(Array::String(texts)) => texts.iter_mut().for_each(shorten),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;
    use spillway_proto::TraceContext;
    use spillway_proto::time::Timestamp;

    use super::super::span::{Span, scope};
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Limits, String> {
        let read = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut variables = Variables::new(&read);
        let limits = Limits::read(&mut variables);
        variables.finish().map(|()| limits)
    }

    #[test]
    fn what_is_said_of_spans_wins() {
        let none = Limits { value_length: None, attributes: 128, events: 128, links: 128 };
        assert_eq!(read(&[]), Ok(none));
        let all = [("OTEL_ATTRIBUTE_COUNT_LIMIT", "7"), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "9")];
        assert_eq!(read(&all), Ok(Limits { attributes: 7, value_length: Some(9), ..none }));
        let of_spans = [
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1"),
            ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "2"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "3"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "0"),
        ];
        let both = [&all[..], &of_spans[..]].concat();
        assert_eq!(read(&both), Ok(Limits { value_length: Some(2), attributes: 1, events: 3, links: 0 }));
        assert!(read(&[("OTEL_SPAN_LINK_COUNT_LIMIT", "-1")]).is_err());
    }

    #[test]
    fn what_is_beyond_is_cut_and_counted() {
        let (at, to) = (Timestamp::UNIX_EPOCH, TraceContext::new(7, 9, true));
        let span = Span::new(to, "commit", at, at).with("a", "naïveté").with("b", 123_456).with("c", "c");
        let span = span.event("one", at).event("two", at).linked([to, to, to]);
        let mut data = span.into_data(scope("orders"));
        Limits { value_length: Some(3), attributes: 2, events: 1, links: 0 }.keep(&mut data);
        assert_eq!(data.attributes, [KeyValue::new("a", "naï"), KeyValue::new("b", 123_456)]);
        assert_eq!((data.dropped_attributes_count, data.events.len(), data.links.len()), (1, 1, 0));
        assert_eq!((data.events.dropped_count, data.links.dropped_count), (1, 3));
    }
}
