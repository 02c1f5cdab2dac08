//! Handing dead letters in again: each is a late arrival, decided in one commit with its new state.

use std::collections::HashSet;

use spillway_proto::batch::{self, BatchNumber};
use spillway_proto::pb::events as v1;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Incarnation, Ledger as Source, NewEvent, Partition, Subject};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::error::{NotTaken, ReadError, StoreError};
use super::fingerprint;
use super::handle::Ledger;
use super::job::Job;
use super::reader::Reader;
use super::says::Says;
use super::service::{Batch, Cause, Heard, Service};
use super::tx::{Row, Tx, Value};

/// A dead letter that is handed in again.
pub(super) struct RedriveJob<S: Service> {
    pub id: Uuid,
    /// Its bytes, read anew.
    pub heard: Heard<S::Input>,
    pub reason: String,
    pub outcome: Option<Redriven>,
    pub reply: oneshot::Sender<Result<Redriven, NotTaken>>,
}

/// What became of a dead letter that was handed in again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redriven {
    Taken,
    /// It still cannot be taken.
    StillDead(Cause, String),
    /// It was dead no more.
    Gone,
}

/// Dead letters could not be handed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedriveError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
}

impl<S: Service> Ledger<S> {
    /// Hands these dead letters in again, together; those that are dead no more are passed over. Answers what became of
    /// each: of due work, that it is due again.
    pub async fn redrive(&self, ids: Vec<Uuid>, reason: &str) -> Result<Vec<(Uuid, Redriven)>, RedriveError> {
        let kept = self.query(move |tx| kept(tx, &ids)).await?;
        let (mut done, mut redriving) = (Vec::with_capacity(kept.len()), Vec::new());
        for mut letter in kept {
            if let Some((kind, key)) = letter.due.take() {
                done.push((letter.id, self.take_up(letter.id, &kind, key, reason).await?));
                continue;
            }
            let (id, whole) = (letter.id, letter.whole || self.service.keeps_batches_whole());
            let reader = Reader { is_redriven: true, ..self.reader() };
            let heard = Heard::read_by(&reader, self.service.as_ref(), &letter.into_batch(whole));
            let (reply, answer) = oneshot::channel();
            let job = RedriveJob { id, heard, reason: reason.to_owned(), outcome: None, reply };
            self.jobs.send(Job::Redrive(job)).await.map_err(|_| NotTaken::Closed)?;
            redriving.push((id, answer));
        }
        for (id, answer) in redriving {
            done.push((id, answer.await.unwrap_or(Err(NotTaken::Closed))?));
        }
        Ok(done)
    }
}

/// A dead letter as it is kept, for another try.
struct Kept {
    id: Uuid,
    source: Source,
    number: Option<BatchNumber>,
    whole: bool,
    body: bytes::Bytes,
    /// Kind and key of a due row.
    due: Option<(String, bytes::Bytes)>,
}

impl Kept {
    fn into_batch(self, whole: bool) -> Batch {
        let body = if whole { self.body } else { batch::of_one(&self.body) };
        Batch { source: self.source, number: self.number, time_us: 0, body, asked: true }
    }
}

fn kept(tx: &Tx<'_>, ids: &[Uuid]) -> Result<Vec<Kept>, StoreError> {
    tx.read_each(
        "select id, source, incarnation, partition, number, whole, body, due_kind, due_key from dead_letter
         where id = $1 and state = 'DEAD'",
        ids.iter().map(|id| [Value::Blob(&id.as_bytes()[..])]),
        |row| {
            Ok(Kept {
                id: read_id(row, 0)?,
                source: row.text(1)?.parse().map_err(|_| row.nonsense("source"))?,
                number: read_number(row, 2)?,
                whole: row.int(5)? == 1,
                body: row.blob(6)?.into(),
                due: row.opt_blob(8)?.map(|key| Ok::<_, StoreError>((row.text(7)?, key.into()))).transpose()?,
            })
        },
    )
}

pub(super) fn read_id(row: &Row<'_>, column: usize) -> Result<Uuid, StoreError> {
    Uuid::from_slice(&row.blob(column)?).map_err(|_| row.nonsense("id"))
}

/// Incarnation, partition and number, from three columns that are null together.
pub(super) fn read_number(row: &Row<'_>, column: usize) -> Result<Option<BatchNumber>, StoreError> {
    let (incarnation, partition) = (row.opt_blob(column)?, row.opt_int(column + 1)?);
    let (Some(incarnation), Some(partition), Some(number)) = (incarnation, partition, row.opt_int(column + 2)?) else {
        return Ok(None);
    };
    Ok(Some(BatchNumber {
        incarnation: Incarnation::from_bytes(&incarnation).ok_or_else(|| row.nonsense("incarnation"))?,
        partition: u16::try_from(partition).map(Partition).map_err(|_| row.nonsense("partition"))?,
        number,
    }))
}

/// The jobs of a group whose dead letters are dead no more: somebody was faster.
pub(super) fn gone<S: Service>(tx: &Tx<'_>, group: &[Job<S>]) -> Result<HashSet<usize>, StoreError> {
    let mut gone = HashSet::new();
    for (at, job) in group.iter().enumerate() {
        let Job::Redrive(redrive) = job else { continue };
        let again = group[..at].iter().any(|earlier| matches!(earlier, Job::Redrive(e) if e.id == redrive.id));
        if again || !is_dead(tx, redrive.id)? {
            gone.insert(at);
        }
    }
    Ok(gone)
}

pub(super) fn is_dead(tx: &Tx<'_>, id: Uuid) -> Result<bool, StoreError> {
    let dead =
        tx.read("select 1 from dead_letter where id = $1 and state = 'DEAD'", &[id.as_bytes().into()], |row| {
            row.int(0)
        })?;
    Ok(!dead.is_empty())
}

/// Writes down what became of a dead letter, and says it.
pub(super) fn settle(
    tx: &Tx<'_>,
    says: &mut Says,
    (id, reason): (Uuid, &str),
    outcome: &Redriven,
    at: Timestamp,
) -> Result<(), StoreError> {
    let at_us = time::to_micros(at);
    let rows = tx.read(
        "select shop, cause, fingerprint, source, event_type, count, traceparent from dead_letter where id = $1",
        &[id.as_bytes().into()],
        |row| {
            let words = (row.text(0)?, row.text(1)?, row.text(2)?, row.text(3)?, row.text(4)?);
            Ok((words, row.int(5)?, row.text(6)?))
        },
    )?;
    let Some(((shop, cause, fingerprint, source, event_type), count, traceparent)) = rows.into_iter().next() else {
        return Ok(());
    };
    let told = match outcome {
        Redriven::Gone => return Ok(()),
        Redriven::Taken => {
            tx.write(
                "update dead_letter set state = 'REDRIVEN', outcome = 'taken', reason = $1, acted_us = $2 where id = $3",
                &[reason.into(), at_us.into(), id.as_bytes().into()],
            )?;
            "taken".to_owned()
        }
        Redriven::StillDead(cause, error) => {
            let fingerprint = fingerprint::of(cause.name(), &source, &event_type, error);
            tx.write(
                "update dead_letter set cause = $1, error = $2, fingerprint = $3, outcome = $2, reason = $4,
                     acted_us = $5, last_us = $5, count = count + 1 where id = $6",
                &[
                    cause.name().into(),
                    error.as_str().into(),
                    fingerprint.as_str().into(),
                    reason.into(),
                    at_us.into(),
                    id.as_bytes().into(),
                ],
            )?;
            error.clone()
        }
    };
    says.event(&NewEvent {
        shop,
        subject: Subject::DeadLetter(id),
        occurrence: format!("{count}/{at_us}"),
        // Of the event that it is: its trace shows what became of it.
        traceparent,
        event: v1::DeadLetterRedriven { fingerprint, cause, reason: reason.to_owned(), outcome: told }.into(),
    });
    Ok(())
}
