//! The message of a unary call, read before the call takes a place: who sends headers and no message keeps nobody out.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http_body_util::{BodyExt, Full};
use tonic::Status;
use tonic::body::Body;

use super::admission::Admission;
use super::{CallError, Cause, MAX_REQUEST_BYTES, Reason};

const MESSAGE_TOO_SLOW: Reason = Reason::new("MESSAGE_TOO_SLOW");

/// A message comes in the same packet as its headers or in the next, and is read a little later than they are.
const MOMENT: Duration = Duration::from_millis(50);

/// Before each message: whether it is compressed, and its length in four bytes.
const PREFIX_BYTES: usize = 5;

/// A message with its prefix, as it came; cut where it is longer than any that is taken.
pub(super) struct Message(Bytes);

impl Message {
    /// Reads a message. One that is there is read at once; for one that is not, the call waits in a room of its own, for
    /// `within` at most.
    pub(super) async fn read(body: Body, waiting: &Admission, within: Duration) -> Result<Message, Status> {
        let mut reading = Box::pin(read(body));
        if let Some(message) = (&mut reading).now_or_never() {
            return message;
        }
        let _place = match waiting.await_message() {
            Ok(place) => place,
            // Most messages are only a moment behind their headers: those who fill the room do not keep them out.
            Err(full) => {
                return tokio::time::timeout(MOMENT, reading).await.unwrap_or_else(|_elapsed| Err(full.into()));
            }
        };
        let too_slow = || {
            let sentence = "the message did not arrive within {within_ms} ms of its headers: try again";
            let cause = Cause::new(MESSAGE_TOO_SLOW, sentence).with("within_ms", within.as_millis());
            CallError::Unavailable { cause, retry_after: Duration::from_millis(100) }
        };
        tokio::time::timeout(within, reading).await.map_err(|_elapsed| too_slow())?
    }

    /// What was encoded. `None` where it is compressed, or not whole: that is the service's to judge.
    pub(super) fn encoded(&self) -> Option<&[u8]> {
        let (prefix, encoded) = self.0.split_first_chunk::<PREFIX_BYTES>()?;
        let [compressed, length @ ..] = *prefix;
        let is_whole = usize::try_from(u32::from_be_bytes(length)) == Ok(encoded.len());
        (compressed == 0 && is_whole).then_some(encoded)
    }

    pub(super) fn into_body(self) -> Body {
        Body::new(Full::new(self.0))
    }

    /// With its prefix.
    pub(super) fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// What has come of a message so far.
#[derive(Default)]
pub(super) struct Collected {
    /// A message that came in one piece is not copied.
    first: Bytes,
    all: BytesMut,
}

impl Collected {
    /// False where it shows that it is too much.
    pub(super) fn add(&mut self, data: Bytes) -> bool {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = data;
        } else {
            if self.all.is_empty() {
                self.all.extend_from_slice(&self.first);
            }
            self.all.extend_from_slice(&data);
        }
        self.first.len().max(self.all.len()) <= PREFIX_BYTES + MAX_REQUEST_BYTES
    }

    pub(super) fn into_message(self) -> Message {
        Message(if self.all.is_empty() { self.first } else { self.all.freeze() })
    }
}

/// All that comes, up to what shows that it is too much.
async fn read(mut body: Body) -> Result<Message, Status> {
    let mut collected = Collected::default();
    while let Some(frame) = body.frame().await {
        // Trailers of a request mean nothing in gRPC.
        let Ok(data) = frame?.into_data() else { continue };
        if !collected.add(data) {
            break;
        }
    }
    Ok(collected.into_message())
}
