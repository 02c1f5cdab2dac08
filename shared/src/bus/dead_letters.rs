//! What a ledger answers of its dead letters, and what it does about them: asked by operators, or by itself.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::{
    Call, DeadLettersRequest, DeadLettersResponse, DiscardStretchRequest, DiscardStretchResponse,
    RedriveStretchRequest, RedriveStretchResponse, Refusal,
};
use spillway_proto::pb::ops::{DeadLetter, GetDeadLetterRequest, RedrivenDeadLetter};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::calls::Routes;
use super::refusal::{self, Code};
use crate::ledger::letters::{self, Asked};
use crate::ledger::{Cause, Ledger, NotTaken, RedriveError, Redriven, Service};

/// Dead letters of one answer at most.
const AT_MOST: i32 = 500;

/// Dead letters that are handed in together, at most.
const REDRIVE_AT_MOST: i32 = 100;

/// The figures follow a change, and are looked at again after this long: waiting for a newer build ends some time.
const COUNT_AGAIN: Duration = Duration::from_secs(60);

/// Changes that come at once are counted once.
const COUNT_PAUSE: Duration = Duration::from_millis(500);

/// What every ledger answers.
pub(super) fn routes<S: Service>(ledger: &Ledger<S>) -> Routes {
    let (list, get, again, away) = (ledger.clone(), ledger.clone(), ledger.clone(), ledger.clone());
    Routes::new()
        .on("dead_letters", move |call| page(list.clone(), call))
        .on("dead_letter", move |call| one(get.clone(), call))
        .on("redrive_dead_letters", move |call| redrive(again.clone(), call))
        .on("discard_dead_letters", move |call| discard(away.clone(), call))
}

async fn page<S: Service>(ledger: Ledger<S>, call: Call) -> Result<Bytes, Refusal> {
    let request: DeadLettersRequest = refusal::read(&call)?;
    let limit = i64::from(request.limit.clamp(1, AT_MOST));
    let (own, now, state) = (ledger.identity().id, ledger.now(), request.state());
    let after = Uuid::try_parse(&request.after).ok();
    let answer = ledger.query(move |tx| {
        let mut answer = DeadLettersResponse::default();
        if request.groups {
            answer.groups = letters::groups(tx, own, state, &request.after, limit + 1, now)?;
        } else {
            let asked = Asked { fingerprint: request.fingerprint, subject: request.subject, state };
            answer.dead_letters = letters::page(tx, own, &asked, after, limit + 1)?;
        }
        let kept = usize::try_from(limit).unwrap_or(usize::MAX);
        answer.end = answer.groups.len().max(answer.dead_letters.len()) <= kept;
        answer.groups.truncate(kept);
        answer.dead_letters.truncate(kept);
        Ok(answer)
    });
    let answer = answer.await.map_err(|error| refusal::not_read(own.ledger, &error))?;
    Ok(answer.encode_to_vec().into())
}

async fn one<S: Service>(ledger: Ledger<S>, call: Call) -> Result<Bytes, Refusal> {
    let request: GetDeadLetterRequest = refusal::read(&call)?;
    let own = ledger.identity().id;
    let unknown = || {
        let message = format!("{own} keeps no dead letter {}", request.dead_letter_id);
        let id = request.dead_letter_id.clone();
        refusal::with(Code::NotFound, "DEAD_LETTER_NOT_FOUND", message, [("dead_letter_id", id)])
    };
    let id = Uuid::try_parse(&request.dead_letter_id).map_err(|_| unknown())?;
    let found = ledger.query(move |tx| letters::one(tx, own, id)).await;
    let found = found.map_err(|error| refusal::not_read(own.ledger, &error))?.ok_or_else(unknown)?;
    Ok(found.encode_to_vec().into())
}

/// The next few that are meant are handed in together: they share a commit, and one that cannot be taken harms no other.
async fn redrive<S: Service>(ledger: Ledger<S>, call: Call) -> Result<Bytes, Refusal> {
    let request: RedriveStretchRequest = refusal::read(&call)?;
    let own = ledger.identity().id;
    let limit = request.limit.clamp(1, REDRIVE_AT_MOST);
    let (choice, after) = (request.choice.unwrap_or_default(), Uuid::try_parse(&request.after).ok());
    let chosen = ledger.query(move |tx| letters::chosen(tx, own, &choice, after, limit.into())).await;
    let mut chosen = chosen.map_err(|error| refusal::not_read(own.ledger, &error))?;
    let end = chosen.len() < usize::try_from(limit).unwrap_or(usize::MAX);
    let mut taken = vec![false; chosen.len()];
    if !request.dry_run {
        let ids = chosen.iter().filter_map(|letter| Uuid::try_parse(&letter.dead_letter_id).ok()).collect();
        let outcomes = ledger.redrive(ids, &request.reason).await.map_err(|error| not_redriven(&ledger, &error))?;
        for (id, outcome) in outcomes {
            let id = id.to_string();
            let Some(at) = chosen.iter().position(|letter| letter.dead_letter_id == id) else { continue };
            taken[at] = outcome == Redriven::Taken;
            tell(&mut chosen[at], outcome);
        }
    }
    let results = chosen.into_iter().zip(taken);
    let results = results.map(|(letter, taken)| RedrivenDeadLetter { dead_letter: Some(letter), taken }).collect();
    Ok(RedriveStretchResponse { results, end }.encode_to_vec().into())
}

/// As it is after it was handed in.
fn tell(letter: &mut DeadLetter, outcome: Redriven) {
    use spillway_proto::pb::ops::dead_letter::State;
    match outcome {
        Redriven::Taken => {
            letter.set_state(State::Redriven);
            letter.outcome = "taken".to_owned();
        }
        Redriven::StillDead(cause, error) => {
            letter.set_cause(letters::cause_of(cause.name()));
            letter.count += 1;
            letter.outcome.clone_from(&error);
            letter.error = error;
        }
        Redriven::Gone => letter.outcome = "somebody else was faster".to_owned(),
    }
}

fn not_redriven<S: Service>(ledger: &Ledger<S>, why: &RedriveError) -> Refusal {
    let callee = ledger.identity().id.ledger;
    match why {
        RedriveError::Read(error) => refusal::not_read(callee, error),
        RedriveError::NotTaken(error) => refusal::not_taken(callee, error),
    }
}

async fn discard<S: Service>(ledger: Ledger<S>, call: Call) -> Result<Bytes, Refusal> {
    let request: DiscardStretchRequest = refusal::read(&call)?;
    let own = ledger.identity().id;
    let limit = i64::from(request.limit.clamp(1, AT_MOST));
    let (choice, reason) = (request.choice.unwrap_or_default(), request.reason);
    let discarded = ledger.act(move |tx, says, at| {
        let meant = letters::chosen(tx, own, &choice, None, limit)?;
        letters::discard(tx, says, &meant, &reason, at)
    });
    let discarded = discarded.await.map_err(|error: NotTaken| refusal::not_taken(own.ledger, &error))?;
    metrics::counter!("spillway_dead_letters_discarded_total", "role" => own.ledger.name())
        .increment(discarded.unsigned_abs());
    ledger.note_dead_letters_changed();
    Ok(DiscardStretchResponse { discarded, end: discarded < limit }.encode_to_vec().into())
}

/// Keeps the figures of what is dead: by cause, and how many of them somebody should look at.
pub(super) async fn count<S: Service>(ledger: Ledger<S>, stop: CancellationToken) {
    let (role, partition) = (ledger.identity().id.ledger.name(), ledger.identity().id.partition.to_string());
    loop {
        let now = ledger.now();
        match ledger.query(move |tx| letters::count(tx, now)).await {
            Ok((by_cause, alarming)) => {
                for cause in Cause::ALL {
                    let count = by_cause.iter().find(|(name, _)| name == cause.name()).map_or(0, |(_, count)| *count);
                    metrics::gauge!("spillway_dead_letters", "role" => role, "partition" => partition.clone(),
                        "cause" => cause.name())
                    .set(count as f64);
                }
                metrics::gauge!("spillway_dead_letters_alarming", "role" => role, "partition" => partition.clone())
                    .set(alarming as f64);
            }
            Err(error) => tracing::debug!(role, %error, "dead letters are not counted"),
        }
        tokio::select! {
            () = ledger.dead_letters_changed() => {}
            () = tokio::time::sleep(COUNT_AGAIN) => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(COUNT_PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Hands in what was of a newer kind to another build. What is not done now is done after the next start.
pub(super) async fn redrive_newer<S: Service>(ledger: Ledger<S>, stop: CancellationToken) {
    if let Err(error) = ledger.redrive_newer(&stop).await {
        tracing::warn!(ledger = %ledger.identity().id, %error, "dead letters of a newer kind were not all handed in");
    }
}
