//! Refusing calls before their messages are decoded.

use http::HeaderMap;
use tonic::Status;
use tonic::body::Body;

use super::{Answer, CallError};

/// Looks at calls whose message has arrived and is not decoded yet: under pressure, decoding what is refused anyway is
/// what there is no time for.
pub trait Gate: Send + Sync + 'static {
    /// Whether calls of this path are looked at. Asked for every unary call.
    fn guards(&self, path: &str) -> bool;

    /// Whether it refuses any call now. Asked for every call; while it says no, calls are looked at later and at more leisure.
    fn is_shut(&self) -> bool;

    /// What is answered in place of the service's answer; `None` lets the call in. The message is as it was encoded and
    /// was not compressed; `tried` is how often the client's library has tried this call before (gRFC A6).
    fn refuse(&self, message: &[u8], tried: u32) -> Option<Refusal>;

    /// What is said of a call whose message has not come with its headers, while the gate is shut.
    fn unread(&self, _tried: u32) -> Unread {
        Unread::Wait
    }
}

/// What a gate says of a call whose message it has not seen.
#[derive(Debug)]
pub enum Unread {
    /// It is judged once its message is here.
    Wait,
    /// It is let in whatever its message is.
    LetIn,
    Refused(Refusal),
}

/// An error that was turned into headers once, to be answered many times.
#[derive(Clone, Debug)]
pub struct Refusal(HeaderMap);

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Refusal {
        let (parts, Body { .. }) = Status::from(error).into_http::<Body>().into_parts();
        Refusal(parts.headers)
    }
}

impl Refusal {
    pub(super) fn into_answer(self) -> Answer {
        let mut answer = Answer::new(Body::empty());
        *answer.headers_mut() = self.0;
        answer
    }

    /// The headers of the answer.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0
    }
}

/// In the extensions of a call that a [`Gate`] has let in.
#[derive(Clone, Copy, Debug)]
pub struct LetIn;
