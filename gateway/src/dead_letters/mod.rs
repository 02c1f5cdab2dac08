//! DeadLetterService, for operators: every ledger keeps its own dead letters, and all of them are asked.

mod decoded;
mod redrive;

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use futures::future::join_all;
use prost::Message;
use spillway_proto::pb::internal::{
    DeadLettersRequest, DeadLettersResponse, DiscardStretchRequest, DiscardStretchResponse,
};
use spillway_proto::pb::ops::dead_letter::{Cause as DeadCause, State};
use spillway_proto::pb::ops::dead_letter_service_server::DeadLetterService;
use spillway_proto::pb::ops::{
    DeadLetterChoice, DiscardDeadLetterRequest, DiscardDeadLetterResponse, GetDeadLetterRequest, GetDeadLetterResponse,
    ListDeadLettersRequest, ListDeadLettersResponse, RedriveDeadLettersRequest, RedriveDeadLettersResponse,
    SilentLedger,
};
use spillway_proto::{Ledger as Source, LedgerId};
use spillway_shared::bus::{Bus, CallFailed, Caller};
use spillway_shared::grpc::{CallError, Cause, Reason};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::refusal::{self, Asked};
use crate::token::Question;
use crate::validate::{Violations, page_size};
use crate::{answer, caller};

const LEDGERS_UNREACHABLE: Reason = Reason::new("LEDGERS_UNREACHABLE");

/// Groups or dead letters on a page where the request names no number, and at most.
const PAGE: i32 = 100;
const MAX_PAGE: i32 = 500;

/// Dead letters that a ledger puts away in one commit.
const DISCARD_STRETCH: i32 = 500;

/// Bytes of a reason at most.
const MAX_REASON: usize = 512;

/// Ids in one request at most.
const MAX_IDS: usize = 1000;

/// The service behind its door.
#[derive(Clone)]
pub struct DeadLetters {
    pub bus: Bus,
    pub partitions: u16,
    /// How long one ledger is waited for.
    pub call_timeout: Duration,
    /// Cancelled when its streams are to end.
    pub draining: CancellationToken,
}

#[tonic::async_trait]
impl DeadLetterService for DeadLetters {
    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let (_, extensions, asked) = request.into_parts();
        let caller = caller::of_call(&extensions, self.call_timeout);
        let mut violations = Violations::default();
        let ledgers = self.ledgers(&mut violations, "ledger", &asked.ledger);
        let size = page_size(&mut violations, asked.page_size, PAGE, MAX_PAGE);
        if State::try_from(asked.state).is_err() {
            violations.add("state", format_args!("{} is no state of a dead letter", asked.state));
        }
        let ledgers = violations.finish(Some(ledgers))?;
        self.list(&asked, &ledgers, size, &caller).await.map(answer::of)
    }

    async fn get_dead_letter(
        &self,
        request: Request<GetDeadLetterRequest>,
    ) -> Result<Response<GetDeadLetterResponse>, Status> {
        let (_, extensions, asked) = request.into_parts();
        let caller = caller::of_call(&extensions, self.call_timeout);
        let mut violations = Violations::default();
        check_id(&mut violations, "dead_letter_id", &asked.dead_letter_id);
        let ledgers = self.ledgers(&mut violations, "", "");
        let ledgers = violations.finish(Some(ledgers))?;
        let answers = ledgers.iter().map(|id| self.ask::<GetDeadLetterResponse>(*id, "dead_letter", &caller, &asked));
        let mut silent = Vec::new();
        for (id, answer) in ledgers.iter().zip(join_all(answers).await) {
            match answer {
                Ok(mut found) => {
                    found.json = decoded::json(&found);
                    return Ok(answer::of(found));
                }
                Err(CallFailed::Refused(refusal)) if refusal.code == tonic::Code::NotFound as i32 => {}
                Err(failed) => silent.push(silence(*id, &failed)),
            }
        }
        if silent.is_empty() {
            let (resource_type, resource_name) = ("dead_letter", asked.dead_letter_id);
            return Err(CallError::NotFound { resource_type, resource_name }.into());
        }
        let names: Vec<String> = silent.iter().map(|silent| silent.ledger.clone()).collect();
        let sentence = "no ledger that answers keeps this dead letter, and {ledgers} did not answer: try again in \
                        {retry_after_ms} ms";
        let cause = Cause::new(LEDGERS_UNREACHABLE, sentence).with("ledgers", names.join(", "));
        Err(CallError::Unavailable { cause, retry_after: refusal::jitter(500..=1_500) }.into())
    }

    type RedriveDeadLettersStream =
        Pin<Box<dyn Stream<Item = Result<RedriveDeadLettersResponse, Status>> + Send + 'static>>;

    async fn redrive_dead_letters(
        &self,
        request: Request<RedriveDeadLettersRequest>,
    ) -> Result<Response<Self::RedriveDeadLettersStream>, Status> {
        let (_, extensions, asked) = request.into_parts();
        let caller = caller::of_call(&extensions, self.call_timeout);
        let mut violations = Violations::default();
        let ledgers = self.chosen(&mut violations, asked.choice.as_ref());
        if !asked.dry_run {
            check_reason(&mut violations, &asked.reason);
        }
        if asked.rate < 0 {
            violations.add("rate", "must not be negative");
        }
        let ledgers = violations.finish(Some(ledgers))?;
        Ok(Response::new(Box::pin(redrive::stream(self.clone(), asked, ledgers, caller))))
    }

    async fn discard_dead_letter(
        &self,
        request: Request<DiscardDeadLetterRequest>,
    ) -> Result<Response<DiscardDeadLetterResponse>, Status> {
        let (_, extensions, asked) = request.into_parts();
        let caller = caller::of_call(&extensions, self.call_timeout);
        let mut violations = Violations::default();
        let ledgers = self.chosen(&mut violations, asked.choice.as_ref());
        check_reason(&mut violations, &asked.reason);
        let choice = asked.choice.unwrap_or_default();
        if choice.dead_letter_ids.is_empty() && choice.fingerprint.is_empty() {
            violations.add("choice", "a cause alone is not enough: name ids or a fingerprint");
        }
        let ledgers = violations.finish(Some(ledgers))?;
        let mut done = DiscardDeadLetterResponse::default();
        for id in ledgers {
            let request = DiscardStretchRequest {
                choice: Some(choice.clone()),
                limit: DISCARD_STRETCH,
                reason: asked.reason.clone(),
            };
            loop {
                let answer = self.ask::<DiscardStretchResponse>(id, "discard_dead_letters", &caller, &request).await;
                match answer {
                    Ok(stretch) => {
                        done.discarded += stretch.discarded;
                        if stretch.end {
                            break;
                        }
                    }
                    Err(failed) => {
                        done.silent.push(silence(id, &failed));
                        break;
                    }
                }
            }
        }
        Ok(answer::of(done))
    }
}

impl DeadLetters {
    /// Every ledger that hears somebody, and so may be unable to take something.
    fn ledgers(&self, violations: &mut Violations, path: &str, named: &str) -> Vec<LedgerId> {
        let hearing = || Source::ALL.into_iter().filter(|ledger| !ledger.hears().is_empty());
        if !named.is_empty() && !hearing().any(|ledger| ledger.name() == named) {
            let names: Vec<&str> = hearing().map(Source::name).collect();
            violations.add(path, format_args!("must be one of {}", names.join(", ")));
        }
        let meant = hearing().filter(|ledger| named.is_empty() || ledger.name() == named);
        meant.flat_map(|ledger| LedgerId::all(ledger, self.partitions)).collect()
    }

    /// The ledgers that a choice may mean.
    fn chosen(&self, violations: &mut Violations, choice: Option<&DeadLetterChoice>) -> Vec<LedgerId> {
        let choice = choice.cloned().unwrap_or_default();
        let has_cause = DeadCause::try_from(choice.cause).is_ok_and(|cause| cause != DeadCause::Unspecified);
        if choice.dead_letter_ids.is_empty() && choice.fingerprint.is_empty() && !has_cause {
            violations.add("choice", "must name ids, a fingerprint or a cause");
        }
        if DeadCause::try_from(choice.cause).is_err() {
            violations.add("choice.cause", format_args!("{} is no cause", choice.cause));
        }
        if choice.dead_letter_ids.len() > MAX_IDS {
            violations.add("choice.dead_letter_ids", format_args!("must be {MAX_IDS} at most"));
        }
        for (at, id) in choice.dead_letter_ids.iter().take(MAX_IDS).enumerate() {
            check_id(violations, &format!("choice.dead_letter_ids[{at}]"), id);
        }
        self.ledgers(violations, "choice.ledger", &choice.ledger)
    }

    async fn ask<A: Message + Default>(
        &self,
        id: LedgerId,
        endpoint: &str,
        caller: &Caller,
        request: &impl Message,
    ) -> Result<A, CallFailed> {
        self.bus.call(id.ledger, id.partition, endpoint, caller, request).await
    }

    /// Goes from ledger to ledger until a page is full. One that does not answer is named.
    async fn list(
        &self,
        asked: &ListDeadLettersRequest,
        ledgers: &[LedgerId],
        size: i32,
        caller: &Caller,
    ) -> Result<ListDeadLettersResponse, Status> {
        let filter = [asked.ledger.as_bytes(), asked.fingerprint.as_bytes(), asked.subject.as_bytes()];
        let question = Question::new("ListDeadLetters", &caller.shop, &[&filter[..], &[&[asked.state as u8]]].concat());
        let (first, mut after) = question.position(&asked.page_token, read_position)?.unwrap_or_default();
        let mut page = ListDeadLettersResponse::default();
        let mut room = size;
        for (at, id) in ledgers.iter().enumerate().skip(first) {
            if room == 0 {
                page.next_page_token = question.token(&position(at, &after));
                return Ok(page);
            }
            let request = DeadLettersRequest {
                groups: asked.fingerprint.is_empty() && asked.subject.is_empty(),
                fingerprint: asked.fingerprint.clone(),
                subject: asked.subject.clone(),
                state: asked.state,
                after: std::mem::take(&mut after),
                limit: room,
            };
            match self.ask::<DeadLettersResponse>(*id, "dead_letters", caller, &request).await {
                Ok(stretch) => {
                    let last_group = stretch.groups.last().map(|group| group.fingerprint.clone());
                    let last = stretch.dead_letters.last().map(|letter| letter.dead_letter_id.clone());
                    let count = stretch.groups.len().max(stretch.dead_letters.len());
                    room = room.saturating_sub(i32::try_from(count).unwrap_or(i32::MAX));
                    page.groups.extend(stretch.groups);
                    page.dead_letters.extend(stretch.dead_letters);
                    if !stretch.end {
                        let after = last.or(last_group).unwrap_or_default();
                        page.next_page_token = question.token(&position(at, &after));
                        return Ok(page);
                    }
                }
                Err(CallFailed::Refused(refusal)) if refusal.code != tonic::Code::Unavailable as i32 => {
                    return Err(refusal::of_call(CallFailed::Refused(refusal), Asked::Question));
                }
                Err(failed) => page.silent.push(silence(*id, &failed)),
            }
        }
        Ok(page)
    }
}

/// A ledger that did not answer.
fn silence(id: LedgerId, failed: &CallFailed) -> SilentLedger {
    SilentLedger { ledger: id.ledger.name().to_owned(), partition: id.partition.0.into(), problem: failed.to_string() }
}

fn position(ledger: usize, after: &str) -> Vec<u8> {
    format!("{ledger}/{after}").into_bytes()
}

fn read_position(bytes: &[u8]) -> Option<(usize, String)> {
    let (ledger, after) = std::str::from_utf8(bytes).ok()?.split_once('/')?;
    Some((ledger.parse().ok()?, after.to_owned()))
}

fn check_id(violations: &mut Violations, path: &str, id: &str) {
    if Uuid::try_parse(id).is_err() {
        violations.add(path, "must be a UUID");
    }
}

fn check_reason(violations: &mut Violations, reason: &str) {
    if reason.trim().is_empty() || reason.len() > MAX_REASON {
        violations.add("reason", format_args!("must say why, in 1 to {MAX_REASON} bytes: it is for the audit trail"));
    }
}
