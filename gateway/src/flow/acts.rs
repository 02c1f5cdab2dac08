//! What an operator does is told to every ledger that it concerns.

use spillway_proto::pb::internal::{ActRequest, ActResponse};
use spillway_proto::{Ledger as Source, LedgerId};
use spillway_shared::bus::{CallFailed, Caller};
use spillway_shared::flow::{self, Verb};
use spillway_shared::grpc::{CallError, Cause, Reason};
use tonic::Status;

use super::Flow;
use crate::refusal::{self, Asked};

const NOT_IN_FORCE_EVERYWHERE: Reason = Reason::new("NOT_IN_FORCE_EVERYWHERE");

impl Flow {
    /// Does it everywhere at once. It is in force in each ledger that answers.
    ///
    /// # Errors
    /// ALREADY_EXISTS where the request id stands for another act; UNAVAILABLE with the names of those that do not
    /// answer: the same request does it there too, and nothing again.
    pub(super) async fn act(
        &self,
        verb: Verb,
        request: &ActRequest,
        roles: &[Source],
        caller: &Caller,
    ) -> Result<ActResponse, Status> {
        let ledgers = roles.iter().flat_map(|role| LedgerId::all(*role, self.partitions));
        let told = futures::future::join_all(ledgers.map(|id| self.tell(id, verb, request, caller))).await;
        let mut acted = ActResponse::default();
        let (mut done, mut silent, mut problem) = (Vec::new(), Vec::new(), String::new());
        for (id, outcome) in told {
            match outcome {
                Ok(answer) => {
                    done.push(id.name());
                    acted.changed |= answer.changed;
                    acted.pause = acted.pause.or(answer.pause);
                }
                Err(CallFailed::NoAnswer { why, .. }) => {
                    silent.push(id.name());
                    problem = why;
                }
                Err(failed) => return Err(refusal::of_call(failed, Asked::Command)),
            }
        }
        if silent.is_empty() {
            return Ok(acted);
        }
        let done = if done.is_empty() { "nowhere".to_owned() } else { format!("in {}", done.join(", ")) };
        let sentence = "it is in force {done}, but {silent} did not answer ({problem}): try again in \
                        {retry_after_ms} ms with the same request_id, so that it holds there too";
        let cause = Cause::new(NOT_IN_FORCE_EVERYWHERE, sentence)
            .with("done", done)
            .with("silent", silent.join(", "))
            .with("problem", problem);
        Err(CallError::Unavailable { cause, retry_after: refusal::jitter(500..=1_500) }.into())
    }

    async fn tell(
        &self,
        id: LedgerId,
        verb: Verb,
        request: &ActRequest,
        caller: &Caller,
    ) -> (LedgerId, Result<ActResponse, CallFailed>) {
        // The own ledger is told also while NATS is down.
        let outcome = match id.ledger {
            Source::Gateway => {
                flow::act(&self.intake, verb, request, &caller.traceparent).await.map_err(CallFailed::Refused)
            }
            Source::Inventory | Source::Payments | Source::Orders | Source::Notifications | Source::Audit => {
                self.bus.call(id.ledger, id.partition, verb.endpoint(), caller, request).await
            }
        };
        (id, outcome)
    }
}
