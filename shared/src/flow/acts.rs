//! What operators do to a ledger: the endpoints `pause`, `resume` and `set`.

use bytes::Bytes;
use prost::Message as _;
use spillway_proto::pb::internal::{ActRequest, ActResponse, Call, Refusal};
use uuid::Uuid;

use super::figures::told_pause;
use crate::bus::refusal::{self, Code};
use crate::ledger::{Act, Acted, Ledger, Service};

/// What an operator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Pause,
    Resume,
    Set,
}

impl Verb {
    /// Where a ledger is told.
    pub fn endpoint(self) -> &'static str {
        match self {
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::Set => "set",
        }
    }
}

/// Does it in a ledger of this process.
///
/// # Errors
/// A refusal where the request id is none or stands for another act, or where it was not committed.
pub async fn act<S: Service>(
    ledger: &Ledger<S>,
    verb: Verb,
    request: &ActRequest,
    traceparent: &str,
) -> Result<ActResponse, Refusal> {
    let request_id = Uuid::try_parse(&request.request_id)
        .map_err(|_| refusal::new(Code::InvalidArgument, "FIELDS_INVALID", "request_id must be a UUID"))?;
    let (reason, by) = (request.reason.clone(), request.by.clone());
    let act = Act { request_id, reason, by, traceparent: traceparent.to_owned() };
    let acted = match verb {
        Verb::Pause => ledger.pause(&request.name, act).await,
        Verb::Resume => ledger.resume(&request.name, act).await,
        Verb::Set => ledger.set(&request.name, &request.value, act).await,
    };
    let changed = match acted.map_err(|why| refusal::not_taken(ledger.identity().id.ledger, &why))? {
        Acted::Done => true,
        Acted::Already | Acted::Repeated => false,
        Acted::Reused => return Err(reused(&request.request_id)),
    };
    let pause = ledger.pauses().borrow().get(&request.name).map(|pause| told_pause(&request.name, pause));
    Ok(ActResponse { changed, pause })
}

/// Does it for who asks over the bus.
pub(super) async fn answer<S: Service>(ledger: Ledger<S>, verb: Verb, call: Call) -> Result<Bytes, Refusal> {
    let request: ActRequest = refusal::read(&call)?;
    Ok(act(&ledger, verb, &request, &call.traceparent).await?.encode_to_vec().into())
}

fn reused(request_id: &str) -> Refusal {
    let message = format!(
        "the request_id {request_id} stands for another act of an operator: choose a new one for a new act, or send \
         what was sent first"
    );
    let metadata = [("request_id", request_id.to_owned())];
    refusal::with(Code::AlreadyExists, "REQUEST_ID_REUSED", message, metadata)
}
