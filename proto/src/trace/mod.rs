//! Traces: the W3C `traceparent` that every event carries, and span ids that follow from what was done.
//!
//! There is no table of spans. The step "a ledger takes an event" has an id that is made of both, so whoever knows the
//! events of an order knows its spans, and each of them has the same id wherever and however often it is worked out.

mod steps;

pub use steps::{Cause, Said, Step, steps};

use std::fmt;

use crate::ids::EventId;
use crate::ledgers::Ledger;

/// Bytes of a version 00 `traceparent`: version, trace id, span id and flags, with dashes between.
const LENGTH: usize = 55;

/// Where in them the span id is.
const SPAN_AT: std::ops::Range<usize> = 36..52;

/// The flags that mean something: sampled, and that the trace id is random (Trace Context, level 2).
const KNOWN_FLAGS: u8 = SAMPLED | 2;
const SAMPLED: u8 = 1;

/// A place in a trace: W3C Trace Context. Neither id is ever 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceContext {
    pub trace_id: u128,
    pub span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// With ids as they are; 0, which no id may be, becomes 1.
    pub fn new(trace_id: u128, span_id: u64, is_sampled: bool) -> Self {
        let flags = if is_sampled { SAMPLED } else { 0 };
        TraceContext { trace_id: trace_id.max(1), span_id: span_id.max(1), flags }
    }

    /// Strictly as the specification wants it. A header of a later version is taken for what version 00 says of it.
    pub fn parse(header: &str) -> Option<Self> {
        let known = header.get(..LENGTH)?;
        let mut fields = known.split('-');
        let (version, trace_id, span_id, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let widths = [(version, 2), (trace_id, 32), (span_id, 16), (flags, 2)];
        let are_hex = widths.iter().all(|(field, width)| field.len() == *width && is_lower_hex(field));
        let is_whole = match version {
            "00" => header.len() == LENGTH,
            "ff" => false,
            _ => header.len() == LENGTH || header[LENGTH..].starts_with('-'),
        };
        if !are_hex || !is_whole {
            return None;
        }
        let trace_id = u128::from_str_radix(trace_id, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span_id, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()? & KNOWN_FLAGS;
        Some(TraceContext { trace_id, span_id, flags })
    }

    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn at(self, span_id: u64) -> Self {
        TraceContext { span_id: span_id.max(1), ..self }
    }

    /// The same span, sampled or not.
    #[must_use]
    pub fn sampled(self, is_sampled: bool) -> Self {
        let flags = if is_sampled { self.flags | SAMPLED } else { self.flags & !SAMPLED };
        TraceContext { flags, ..self }
    }

    /// The same span id at the root of a trace of its own, which follows from both.
    #[must_use]
    pub fn renewed(self) -> Self {
        let [high, low] = halves(self.trace_id);
        let high = mix(high, self.span_id);
        let trace_id = u128::from(high) << 64 | u128::from(mix(low, high));
        TraceContext { trace_id: trace_id.max(1), ..self }
    }
}

/// As a `traceparent` of version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a step does beside taking its event. Each has a span of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The event waits to be heard.
    Queue,
    /// What it leads to is committed.
    Commit,
    /// What is due waits to be taken; by its try.
    Wait(i64),
    /// A failed call waits for its next try; by that try.
    Retry(i64),
    /// The world outside is called: a provider, a mail server; by its try.
    Call(i64),
}

impl Part {
    fn number(self) -> u64 {
        let (kind, attempt) = match self {
            Part::Queue => (1, 0),
            Part::Commit => (2, 0),
            Part::Wait(attempt) => (3, attempt),
            Part::Retry(attempt) => (4, attempt),
            Part::Call(attempt) => (5, attempt),
        };
        mix(kind, attempt.cast_unsigned())
    }
}

/// The span of the step "this ledger takes this event". Never 0.
pub fn step_span(ledger: Ledger, event: EventId) -> u64 {
    let [high, low] = halves(event.0.as_u128());
    mix(low ^ high, name_of(ledger)).max(1)
}

/// The span of a part of a step, from the step's. Never 0.
pub fn part_span(step: u64, part: Part) -> u64 {
    mix(step, part.number()).max(1)
}

/// Puts another span into a `traceparent` of version 00. False, and nothing is changed, where it is none.
pub fn put_span(traceparent: &mut String, span_id: u64) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if traceparent.len() != LENGTH || !traceparent.is_ascii() || !traceparent.starts_with("00-") {
        return false;
    }
    let mut text = [0; 16];
    for (nth, digit) in text.iter_mut().enumerate() {
        *digit = DIGITS[usize::from((span_id >> (60 - 4 * nth)) as u8 & 15)];
    }
    let Ok(text) = std::str::from_utf8(&text) else { return false };
    traceparent.replace_range(SPAN_AT, text);
    true
}

/// Whether the flags of a `traceparent` say that its trace is sampled. Costs a look at one byte.
pub fn is_sampled(traceparent: &str) -> bool {
    traceparent.len() == LENGTH
        && traceparent.as_bytes().last().is_some_and(|digit| match digit {
            b'0'..=b'9' => digit & 1 == 1,
            b'a'..=b'f' => (digit - b'a') & 1 == 1,
            _ => false,
        })
}

/// The places in a trace that sampled events among these bytes were said at: of a batch, without decoding it.
pub fn sampled_in(batch: &[u8]) -> Vec<TraceContext> {
    const NAME: &[u8] = b"traceparent";
    // Tag and length of the attribute, and of its text.
    const BETWEEN: usize = 4;
    let mut found: Vec<TraceContext> = Vec::new();
    for at in memchr::memmem::find_iter(batch, NAME) {
        let from = at + NAME.len() + BETWEEN;
        let Some(text) = batch.get(from..from + LENGTH).and_then(|text| std::str::from_utf8(text).ok()) else {
            continue;
        };
        if is_sampled(text)
            && let Some(context) = TraceContext::parse(text)
            && !found.contains(&context)
        {
            found.push(context);
        }
    }
    found
}

fn halves(id: u128) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = id.to_be_bytes();
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(rest)]
}

/// FNV-1a of a ledger's name: the same in every build.
fn name_of(ledger: Ledger) -> u64 {
    let each = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    ledger.name().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, each)
}

/// One number of two, each bit of which depends on every bit of both: the finalizer of SplitMix64, twice. Fixed for
/// ever, for spans that were exported are found again by it.
fn mix(one: u64, other: u64) -> u64 {
    finalize(one ^ finalize(other.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

fn finalize(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

fn is_lower_hex(field: &str) -> bool {
    field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
