//! One commit: whatever waits goes into one transaction; load all, decide all, write all.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::{Connection, TransactionBehavior};
use spillway_proto::time::{self, Timestamp};

use super::dead_letter::{self, DeadLetter};
use super::due;
use super::error::{NotTaken, StoreError};
use super::inbox::{Additions, Inbox, Line};
use super::incident::Noted;
use super::job::{Job, ToldMark};
use super::outbox::{self, Heads};
use super::says::Says;
use super::service::{Cause, Read, Service};
use super::spec::Identity;
use super::tx::{Tx, Value};
use crate::steps::step_about;

/// Where an input stands in its group: job, batch of the job, event of the batch. Batch and event are 0 for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    job: usize,
    batch: usize,
    event: usize,
}

/// The answer to each input, by its place.
type Answers<S> = Vec<(Position, <S as Service>::Answer)>;

/// Why a commit did not come about. Everything was rolled back.
pub(super) enum Fault {
    /// This input panics.
    Poison(Position, String),
    /// The lease was taken by another process.
    Fenced,
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Store(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Store(error.into())
    }
}

/// What the ledger remembers between commits.
pub(super) struct Memory {
    pub inbox: Inbox,
    pub heads: Heads,
}

/// What a commit did.
pub(super) struct Committed<A> {
    pub additions: Additions,
    pub heads: Heads,
    pub says: Says,
    pub answers: Vec<(Position, A)>,
    /// Dead letters written.
    pub dead: usize,
    /// Something was written, and so there was space for it.
    pub has_written: bool,
}

/// The transaction of a group.
pub(super) struct Attempt<'a, S: Service> {
    pub service: &'a S,
    pub identity: &'a Identity,
    pub memory: &'a Memory,
    pub at: Timestamp,
    /// How far the relay has come.
    pub relayed: Heads,
    /// What happened around the ledger, to be written down.
    pub noted: Noted,
}

impl<S: Service> Attempt<'_, S> {
    /// Commits the group, or nothing of it.
    pub fn run(&self, connection: &mut Connection, group: &[Job<S>]) -> Result<Committed<S::Answer>, Fault> {
        let changes_before = connection.total_changes();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tx = Tx::new(&transaction);
        self.check_epoch(&tx)?;
        self.step("consumer.begun");
        let mut additions = Additions::default();
        let (inputs, dead) = self.collect(group, &mut additions);
        let (mut says, answers) = self.decide(&tx, &inputs)?;
        for job in group {
            if let Job::Act(act, _) = job {
                act(&tx, &mut says, self.at)?;
            }
        }
        self.step("consumer.state_written");
        self.memory.inbox.write(&tx, &additions)?;
        dead_letter::write(&tx, &dead, self.at)?;
        self.step("consumer.inbox_inserted");
        let mut heads = self.relayed.clone();
        outbox::append(&tx, self.identity.incarnation, self.identity.numbering, &mut heads, &says.batches, self.at)?;
        due::write(&tx, &says.due)?;
        self.noted.write(&tx)?;
        self.step("consumer.outbox_written");
        for job in group {
            match job {
                Job::Number(_) => outbox::number_all(&tx, &mut heads)?,
                Job::Marks(marks) => write_marks(&tx, marks, self.at)?,
                Job::Command(_) | Job::Heard(_) | Job::Act(..) | Job::Flush(_) => {}
            }
        }
        if heads != self.memory.heads {
            if heads.relayed != self.memory.heads.relayed {
                self.step("relay.before_mark");
            }
            heads.write(&tx, self.identity.incarnation)?;
        }
        self.step("consumer.before_commit");
        transaction.commit()?;
        self.step("consumer.after_commit");
        if heads.relayed != self.memory.heads.relayed {
            self.step("relay.after_mark");
        }
        let has_written = connection.total_changes() > changes_before;
        Ok(Committed { additions, heads, says, answers, dead: dead.len(), has_written })
    }

    /// Tries some inputs and rolls back: to find those at fault.
    pub fn rehearse(&self, connection: &mut Connection, inputs: &[(Position, &S::Input)]) -> Result<(), Fault> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tx = Tx::new(&transaction);
        let (says, _answers) = self.decide(&tx, inputs)?;
        due::write(&tx, &says.due)?;
        Ok(())
    }

    /// A named step, about the ledger whose commit it is.
    fn step(&self, name: &str) {
        step_about(name, self.identity.id.ledger.name().as_bytes());
    }

    fn check_epoch(&self, tx: &Tx<'_>) -> Result<(), Fault> {
        let rows = tx.read("select epoch from lease where partition = 0", &[], |row| row.int(0))?;
        if rows.first() == Some(&self.identity.epoch) { Ok(()) } else { Err(Fault::Fenced) }
    }

    /// The inputs that were not heard before, and the dead letters among them.
    pub fn collect<'g>(
        &self,
        group: &'g [Job<S>],
        additions: &mut Additions,
    ) -> (Vec<(Position, &'g S::Input)>, Vec<DeadLetter>) {
        let (mut inputs, mut dead) = (Vec::new(), Vec::new());
        for (job_index, job) in group.iter().enumerate() {
            let position = |batch, event| Position { job: job_index, batch, event };
            match job {
                Job::Command(command) if command.outcome.is_none() => inputs.push((position(0, 0), &command.input)),
                Job::Command(_) | Job::Number(_) | Job::Marks(_) | Job::Act(..) | Job::Flush(_) => {}
                Job::Heard(heard) => {
                    for (batch_index, batch) in heard.batches.iter().enumerate() {
                        if !self.take(batch, additions, &mut dead) {
                            continue;
                        }
                        for (event_index, event) in batch.events.iter().enumerate() {
                            match event {
                                Read::Input { input, .. } => inputs.push((position(batch_index, event_index), input)),
                                Read::Passed => {}
                                Read::Dead { cause, error, raw } => dead.push(DeadLetter {
                                    source: batch.source,
                                    number: batch.number,
                                    cause: *cause,
                                    error: error.clone(),
                                    body: raw.clone(),
                                }),
                            }
                        }
                    }
                }
            }
        }
        (inputs, dead)
    }

    /// Takes a batch into the inbox. False where its events are not to be looked at.
    fn take(
        &self,
        batch: &super::service::Heard<S::Input>,
        additions: &mut Additions,
        dead: &mut Vec<DeadLetter>,
    ) -> bool {
        let taken = |additions: &mut Additions| match &batch.number {
            Some(number) => {
                let line = Line::of(batch.source, number);
                self.memory.inbox.take(additions, line, number.number, batch.time_us)
            }
            None => false,
        };
        let Some((cause, error, body)) = &batch.unreadable else {
            return taken(additions);
        };
        // A stream's copy that cannot be read leaves its number unheard: the outbox is asked for its own.
        if batch.asked && !taken(additions) {
            return false;
        }
        dead.push(DeadLetter {
            source: batch.source,
            number: batch.number,
            cause: *cause,
            error: error.clone(),
            body: body.clone(),
        });
        false
    }

    fn decide(&self, tx: &Tx<'_>, inputs: &[(Position, &S::Input)]) -> Result<(Says, Answers<S>), Fault> {
        let mut says = Says::new(self.identity.id.ledger, self.at).at_home_in(self.identity.id.partition);
        let mut answers = Vec::with_capacity(inputs.len());
        if inputs.is_empty() {
            return Ok((says, answers));
        }
        let plain: Vec<&S::Input> = inputs.iter().map(|(_, input)| *input).collect();
        let mut book = self.service.load(tx, &plain)?;
        for (position, input) in inputs {
            let decided = catch_unwind(AssertUnwindSafe(|| self.service.decide(&mut book, input, self.at, &mut says)));
            match decided {
                Ok(answer) => answers.push((*position, answer)),
                Err(panic) => return Err(Fault::Poison(*position, panic_text(panic.as_ref()))),
            }
        }
        self.service.save(tx, book)?;
        Ok((says, answers))
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}

/// Takes an input out of its group: a heard one becomes a dead letter, a command is refused.
pub(super) fn set_aside<S: Service>(group: &mut [Job<S>], at: Position, cause: Cause, error: String) {
    match group.get_mut(at.job) {
        Some(Job::Command(command)) => command.outcome = Some(Err(NotTaken::Poison(error))),
        Some(Job::Heard(heard)) => {
            let event = heard.batches.get_mut(at.batch).and_then(|batch| batch.events.get_mut(at.event));
            if let Some(event) = event
                && let Read::Input { raw, .. } = event
            {
                let raw = raw.clone();
                *event = Read::Dead { cause, error, raw };
            }
        }
        Some(Job::Number(_) | Job::Marks(_) | Job::Act(..) | Job::Flush(_)) | None => {}
    }
}

/// Hands every answer to the command that waits for it.
pub(super) fn hand_out<S: Service>(group: &mut [Job<S>], answers: Vec<(Position, S::Answer)>) {
    for (at, answer) in answers {
        if let Some(Job::Command(command)) = group.get_mut(at.job) {
            command.outcome = Some(Ok(answer));
        }
    }
}

fn write_marks(tx: &Tx<'_>, marks: &[ToldMark], at: Timestamp) -> Result<(), StoreError> {
    let told_us = time::to_micros(at);
    tx.write_each(
        "insert into listener_mark
             (listener, listener_partition, incarnation, partition, number, heard_us, told_us)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (listener, listener_partition, incarnation, partition)
         do update set number = excluded.number, heard_us = excluded.heard_us, told_us = excluded.told_us
         where excluded.number >= listener_mark.number",
        marks.iter().map(|mark| {
            [
                Value::Text(&mark.listener),
                i64::from(mark.listener_partition).into(),
                mark.incarnation.as_bytes().into(),
                i64::from(mark.partition.0).into(),
                mark.number.into(),
                mark.heard_us.into(),
                told_us.into(),
            ]
        }),
    )?;
    Ok(())
}
