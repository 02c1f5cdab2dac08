//! The time a call may take: the smaller of what its client and what this server allow.
//!
//! tonic's `Server::timeout` is not used: it answers CANCELLED, and a handler cannot see it.

use std::time::Duration;

use http::{Extensions, HeaderMap};
use tokio::time::Instant;

use super::limits::{GrpcLimits, duration};
use super::{CallError, FieldViolation};

/// When the call must have its answer, in the request's extensions. For a stream: its first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline of a call: `Deadline::of(request.extensions())`. None outside of a [`super::GrpcServer`], and for
    /// health and reflection.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Deadline> {
        extensions.get().copied()
    }

    #[must_use]
    pub fn at(self) -> Instant {
        self.0
    }

    /// What is left of it now; zero once it is over.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// What calls are allowed.
#[derive(Debug, Clone)]
pub(super) struct Allowance {
    default: Duration,
    max: Duration,
}

impl Allowance {
    pub(super) fn new(limits: &GrpcLimits) -> Allowance {
        Allowance { default: duration(limits.default_deadline_ms), max: duration(limits.max_deadline_ms) }
    }

    /// The time a call with these headers may take, from now.
    pub(super) fn of(&self, headers: &HeaderMap) -> Result<Duration, CallError> {
        let Some(timeout) = headers.get("grpc-timeout") else {
            return Ok(self.default);
        };
        let asked = timeout.to_str().ok().and_then(parse).ok_or_else(|| CallError::InvalidArgument {
            violations: vec![FieldViolation::new(
                "grpc-timeout",
                "must be one to eight digits and one of the units H, M, S, m, u, n, as in 500m",
            )],
        })?;
        Ok(asked.min(self.max))
    }
}

impl Deadline {
    pub(super) fn after(allowed: Duration) -> Deadline {
        Deadline(Instant::now() + allowed)
    }
}

/// The format of gRPC over HTTP/2: at most eight digits and a unit.
fn parse(timeout: &str) -> Option<Duration> {
    let unit = timeout.chars().next_back()?;
    let digits = timeout.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(amount * 3600)),
        'M' => Some(Duration::from_secs(amount * 60)),
        'S' => Some(Duration::from_secs(amount)),
        'm' => Some(Duration::from_millis(amount)),
        'u' => Some(Duration::from_micros(amount)),
        'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_understood_and_nothing_else() {
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse("4S"), Some(Duration::from_secs(4)));
        assert_eq!(parse("5m"), Some(Duration::from_millis(5)));
        assert_eq!(parse("6u"), Some(Duration::from_micros(6)));
        assert_eq!(parse("00000007n"), Some(Duration::from_nanos(7)));
        for wrong in ["", "S", "5", "5s", "-5S", "+5S", "5 S", "123456789S", "5ä", "٥S"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
