//! The trace a call belongs to, as W3C Trace Context writes it.

use std::fmt;

use http::{Extensions, HeaderMap};

/// Bytes of a version 00 `traceparent`: version, trace id, parent id and flags, with dashes between.
const LENGTH: usize = 55;

/// A valid `traceparent` of version 00, in the request's extensions: the caller's, else a new one.
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

    /// A new trace, sampled.
    #[must_use]
    pub fn random() -> TraceParent {
        // Zero is the one value that an id must not have.
        let trace_id = rand::random::<u128>().max(1);
        let parent_id = rand::random::<u64>().max(1);
        TraceParent(format!("00-{trace_id:032x}-{parent_id:016x}-01"))
    }

    /// Strictly as the specification wants it. A header of a later version is taken for what version 00 says of it.
    #[must_use]
    pub fn parse(header: &str) -> Option<TraceParent> {
        let known = header.get(..LENGTH)?;
        let mut fields = known.split('-');
        let (version, trace_id, parent_id, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let widths = [(version, 2), (trace_id, 32), (parent_id, 16), (flags, 2)];
        let are_hex = widths.iter().all(|(field, width)| field.len() == *width && is_lower_hex(field));
        let are_ids = [trace_id, parent_id].iter().all(|id| id.bytes().any(|digit| digit != b'0'));
        let is_whole = match version {
            "00" => header.len() == LENGTH,
            "ff" => false,
            _ => header.len() == LENGTH || header[LENGTH..].starts_with('-'),
        };
        (are_hex && are_ids && is_whole).then(|| TraceParent(format!("00{}", &known[2..])))
    }

    /// The caller's trace where it sent exactly one valid header, else a new one.
    pub(super) fn of_call(headers: &HeaderMap) -> TraceParent {
        let mut sent = headers.get_all("traceparent").iter();
        let only = match (sent.next(), sent.next()) {
            (Some(header), None) => header.to_str().ok(),
            (None | Some(_), _) => None,
        };
        only.and_then(TraceParent::parse).unwrap_or_else(TraceParent::random)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_lower_hex(field: &str) -> bool {
    field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_the_specification_allows_is_kept() {
        let good = TraceParent::parse(GOOD).expect("valid");
        assert_eq!(good.as_str(), GOOD);
        assert_eq!((good.trace_id(), good.span_id()), ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"));
        let later = format!("01{}-what-comes-later", &GOOD[2..]);
        assert_eq!(TraceParent::parse(&later).expect("valid").as_str(), GOOD);
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
            assert_eq!(TraceParent::parse(&header), None, "{header:?}");
        }
    }

    #[test]
    fn a_new_one_is_valid_and_new() {
        let (first, second) = (TraceParent::random(), TraceParent::random());
        assert_eq!(TraceParent::parse(first.as_str()), Some(first.clone()));
        assert_ne!(first, second);
    }

    #[test]
    fn two_headers_are_as_good_as_none() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", GOOD.parse().expect("a header"));
        assert_eq!(TraceParent::of_call(&headers).as_str(), GOOD);
        headers.append("traceparent", GOOD.parse().expect("a header"));
        assert_ne!(TraceParent::of_call(&headers).as_str(), GOOD);
    }
}
