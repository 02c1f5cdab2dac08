//! Whether to try again, and when. Pure: chance is an argument.

use std::time::Duration;

use spillway_shared::grpc::RETRY_PUSHBACK;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Tries of one call, the first included.
const MAX_TRIES: u32 = 5;

/// The wait before the second try; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The longest wait that is chosen here; a server may ask for a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long to wait before the next try of an idempotent call; `None` where another would not help or is not wanted.
///
/// UNAVAILABLE is tried again, and so is a call whose connection broke: where a server goes away the client library calls
/// that INTERNAL or CANCELLED. RESOURCE_EXHAUSTED only where the server says when, since all that ask would otherwise
/// come again at their own pace. `chance` spreads them: from 0.5 to 1 of the wait, from 1 to 1.5 of the server's.
pub fn wait_before_retry(status: &Status, tried: u32, chance: f64) -> Option<Duration> {
    let asked = pushback(status);
    let is_welcome = match (status.code(), asked) {
        (_, Pushback::Never) => false,
        (Code::Unavailable, Pushback::None | Pushback::After(_)) => true,
        (Code::ResourceExhausted, Pushback::After(_)) => true,
        (_, Pushback::None) => is_of_the_connection(status),
        _ => false,
    };
    if !is_welcome || tried >= MAX_TRIES {
        return None;
    }
    let own = FIRST_WAIT.saturating_mul(1 << tried.saturating_sub(1).min(10)).min(LONGEST_WAIT).mul_f64(chance);
    Some(match asked {
        Pushback::After(wait) => own.max(wait.mul_f64(chance + 0.5)),
        Pushback::None | Pushback::Never => own,
    })
}

/// What a server says of another try (gRFC A6).
#[derive(Clone, Copy)]
enum Pushback {
    None,
    After(Duration),
    Never,
}

fn pushback(status: &Status) -> Pushback {
    let Some(value) = status.metadata().get(RETRY_PUSHBACK) else { return Pushback::None };
    // gRFC A6: what is negative or no number means do not.
    match value.to_str().ok().and_then(|text| text.parse::<u64>().ok()) {
        Some(millis) => Pushback::After(Duration::from_millis(millis)),
        None => Pushback::Never,
    }
}

/// Whether the connection speaks and not the server, all of whose errors carry ErrorInfo.
pub fn is_of_the_connection(status: &Status) -> bool {
    let may_be = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled);
    may_be && is_without_reason(status)
}

/// No server of ours said it.
pub fn is_without_reason(status: &Status) -> bool {
    status.get_details_error_info().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::metadata::MetadataValue;

    fn refusal(code: Code, pushback: Option<&'static str>) -> Status {
        let mut status = Status::new(code, "");
        if let Some(pushback) = pushback {
            status.metadata_mut().insert(RETRY_PUSHBACK, MetadataValue::from_static(pushback));
        }
        status
    }

    #[test]
    fn only_what_may_help_and_is_wanted_is_tried_again() {
        let cases = [
            (Code::Unavailable, None, true),
            (Code::Unavailable, Some("10"), true),
            (Code::Unavailable, Some("-1"), false),
            (Code::Unavailable, Some("soon"), false),
            (Code::ResourceExhausted, None, false),
            (Code::ResourceExhausted, Some("10"), true),
            (Code::Internal, Some("10"), false),
            (Code::Internal, None, true),
            (Code::Cancelled, None, true),
            (Code::DeadlineExceeded, None, false),
            (Code::InvalidArgument, None, false),
        ];
        for (code, pushback, expected) in cases {
            let wait = wait_before_retry(&refusal(code, pushback), 1, 1.0);
            assert_eq!(wait.is_some(), expected, "{code:?} {pushback:?}");
        }
    }

    #[test]
    fn waits_double_up_to_the_fifth_try() {
        let waits: Vec<_> =
            (1..=5).map(|tried| wait_before_retry(&refusal(Code::Unavailable, None), tried, 1.0)).collect();
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(waits, [millis(200), millis(400), millis(800), millis(1600), None]);
    }

    #[test]
    fn nobody_comes_before_the_time_that_the_server_asked_for() {
        for chance in [0.5, 0.75, 1.0] {
            let wait = wait_before_retry(&refusal(Code::ResourceExhausted, Some("3000")), 1, chance);
            assert!(wait >= Some(Duration::from_secs(3)), "{chance}: {wait:?}");
        }
    }

    #[test]
    fn a_server_that_gives_its_reason_is_not_taken_for_a_broken_connection() {
        let details = tonic_types::ErrorDetails::with_error_info("X", "spillway", std::collections::HashMap::new());
        assert!(!is_of_the_connection(&Status::with_error_details(Code::Unavailable, "", details)));
        assert!(is_of_the_connection(&Status::unavailable("refused")));
        assert!(!is_of_the_connection(&Status::not_found("")));
    }
}
