//! One commit: whatever waits goes into one transaction; load all, decide all, write all.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rusqlite::{Connection, TransactionBehavior};
use spillway_proto::time::{self, Timestamp};

use super::collect::{Collected, Item};
use super::dead_letter;
use super::due;
use super::due_in_hand;
use super::error::{NotTaken, StoreError};
use super::in_hand;
use super::inbox::{Additions, Inbox};
use super::incident::Noted;
use super::job::{Job, ToldMark};
use super::outbox::{self, Heads};
use super::redrive::{self, Redriven};
use super::says::{DueChange, Says};
use super::service::{Cause, Read, Service};
use super::spec::Identity;
use super::tx::{Tx, Value};
use crate::steps::step_about;
use crate::telemetry::Tracer;

/// Where an input stands in its group: job, batch of the job, event of the batch. Batch and event are 0 for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub job: usize,
    pub batch: usize,
    pub event: usize,
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
    /// There may be bad copies of batches among the dead letters that a good copy would make up for.
    pub any_unread: bool,
    /// The keys of due rows that are set aside.
    pub set_aside: HashSet<Bytes>,
    /// The last commit was noted as a clean end; another one is not.
    pub is_clean: bool,
}

impl Memory {
    /// After the commit of these changes.
    pub fn note_due(&mut self, changes: &[DueChange]) {
        for change in changes {
            let (_, key) = change.row();
            if change.sets_aside() {
                self.set_aside.insert(key.clone());
            } else if !self.set_aside.is_empty() {
                self.set_aside.remove(key);
            }
        }
    }
}

/// What a commit did.
pub(super) struct Committed<A> {
    pub additions: Additions,
    /// Events decided that were heard of others.
    pub heard: u64,
    pub heads: Heads,
    pub says: Says,
    pub answers: Vec<(Position, A)>,
    /// Dead letters written, each with the place of its event where it is one; and how many were resolved.
    pub dead: Vec<(Option<Position>, Cause)>,
    pub resolved: usize,
    pub any_unread: bool,
    pub is_clean: bool,
    /// What became of dead letters that were handed in again, by their jobs.
    pub redriven: Vec<(usize, Redriven)>,
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
    pub tracer: &'a Tracer,
}

impl<S: Service> Attempt<'_, S> {
    /// Commits the group, or nothing of it.
    pub fn run(&self, connection: &mut Connection, group: &[Job<S>]) -> Result<Committed<S::Answer>, Fault> {
        let changes_before = connection.total_changes();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tx = Tx::new(&transaction);
        self.check_epoch(&tx)?;
        self.step("consumer.begun");
        let found = self.collect(group, &redrive::gone(&tx, group)?);
        let (mut says, answers) = self.decide(&tx, &found.inputs)?;
        self.do_acts(&tx, group, &found.redriven, &mut says)?;
        self.step("consumer.state_written");
        let unread_resolved = self.write_heard(&tx, group, &found)?;
        self.step("consumer.inbox_inserted");
        let mut heads = self.relayed.clone();
        outbox::append(&tx, self.identity.incarnation, self.identity.numbering, &mut heads, &says.batches, self.at)?;
        due::write(&tx, &says.due)?;
        let due_resolved = self.resolve_due(&tx, &says)?;
        self.noted.write(&tx)?;
        self.step("consumer.outbox_written");
        for job in group {
            match job {
                Job::Number(_) => outbox::number_all(&tx, &mut heads)?,
                Job::Marks(marks) => write_marks(&tx, marks, self.at)?,
                Job::Command(_) | Job::Heard(_) | Job::Redrive(_) | Job::Act(..) | Job::Flush(_) => {}
            }
        }
        if heads != self.memory.heads {
            if heads.relayed != self.memory.heads.relayed {
                self.step("relay.before_mark");
            }
            heads.write(&tx, self.identity.incarnation)?;
        }
        let is_clean = self.note_end(&tx, group)?;
        let any_unread = match (found.dead.iter().any(|letter| letter.whole), unread_resolved) {
            (true, _) => true,
            (false, 0) => self.memory.any_unread,
            (false, _) => dead_letter::any_unread(&tx)?,
        };
        self.step("consumer.before_commit");
        transaction.commit()?;
        self.step("consumer.after_commit");
        if heads.relayed != self.memory.heads.relayed {
            self.step("relay.after_mark");
        }
        let has_written = connection.total_changes() > changes_before;
        let dead = found.dead.iter().map(|letter| (letter.at, letter.cause)).collect();
        let heard = found.inputs.iter().filter(|item| !item.raw.is_empty()).count() as u64;
        let Collected { additions, redriven, .. } = found;
        Ok(Committed {
            additions,
            heard,
            heads,
            says,
            answers,
            dead,
            resolved: unread_resolved + due_resolved,
            any_unread,
            is_clean,
            redriven,
            has_written,
        })
    }

    /// What is the machine's own: acts, and what became of dead letters.
    fn do_acts(
        &self,
        tx: &Tx<'_>,
        group: &[Job<S>],
        redriven: &[(usize, Redriven)],
        says: &mut Says,
    ) -> Result<(), StoreError> {
        for (at, outcome) in redriven {
            if let Some(Job::Redrive(job)) = group.get(*at) {
                redrive::settle(tx, says, (job.id, &job.reason), outcome, self.at)?;
            }
        }
        for job in group {
            if let Job::Act(act, _) = job {
                act(tx, says, self.at)?;
            }
        }
        Ok(())
    }

    /// The inbox, the markers of what is in hand, and the dead letters. Answers how many of those were resolved.
    fn write_heard(&self, tx: &Tx<'_>, group: &[Job<S>], found: &Collected<'_, S::Input>) -> Result<usize, StoreError> {
        self.memory.inbox.write(tx, &found.additions)?;
        for job in group {
            if let Job::Heard(heard) = job
                && let Some(hand) = &heard.hand
            {
                in_hand::advance(tx, hand)?;
            }
        }
        due_in_hand::done(tx, group.iter().filter_map(Job::due_hand))?;
        dead_letter::write(tx, self.identity, &found.dead, self.at)?;
        dead_letter::resolve(tx, &found.resolved, self.at)
    }

    /// Where the commit decides otherwise about rows that are set aside. Answers how many dead letters that resolved.
    fn resolve_due(&self, tx: &Tx<'_>, says: &Says) -> Result<usize, StoreError> {
        if self.memory.set_aside.is_empty() {
            return Ok(0);
        }
        let decided = says.due.iter().filter(|change| !change.sets_aside());
        let decided = decided.map(DueChange::row).filter(|(_, key)| self.memory.set_aside.contains(*key));
        dead_letter::resolve_due(tx, decided, self.at)
    }

    /// A flush may be the last commit: then the end was clean. Whatever takes something in after it makes it not so.
    fn note_end(&self, tx: &Tx<'_>, group: &[Job<S>]) -> Result<bool, StoreError> {
        let takes_in = |job: &Job<S>| matches!(job, Job::Command(_) | Job::Heard(_) | Job::Redrive(_));
        let is_clean = if group.iter().any(takes_in) {
            false
        } else {
            self.memory.is_clean || group.iter().any(|job| matches!(job, Job::Flush(_)))
        };
        if is_clean != self.memory.is_clean {
            in_hand::write_clean(tx, is_clean)?;
        }
        Ok(is_clean)
    }

    /// Tries some inputs and rolls back: to find those at fault.
    pub fn rehearse(&self, connection: &mut Connection, inputs: &[Item<'_, S::Input>]) -> Result<(), Fault> {
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

    fn decide(&self, tx: &Tx<'_>, inputs: &[Item<'_, S::Input>]) -> Result<(Says, Answers<S>), Fault> {
        let says = Says::new(self.identity.id.ledger, self.at).at_home_in(self.identity.id.partition);
        let mut says = says.traced_by(self.tracer.clone());
        let mut answers = Vec::with_capacity(inputs.len());
        if inputs.is_empty() {
            return Ok((says, answers));
        }
        let plain: Vec<&S::Input> = inputs.iter().map(|item| item.input).collect();
        let mut book = self.service.load(tx, &plain)?;
        for Item { at, input, raw } in inputs {
            let decided = catch_unwind(AssertUnwindSafe(|| {
                step_about("ledger.decide", raw);
                self.service.decide(&mut book, input, self.at, &mut says)
            }));
            match decided {
                Ok(answer) => answers.push((*at, answer)),
                Err(panic) => return Err(Fault::Poison(*at, panic_text(panic.as_ref()))),
            }
        }
        self.service.save(tx, book)?;
        Ok((says, answers))
    }
}

pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}

/// Takes an input out of its group: a heard one becomes a dead letter, a command is refused.
pub(super) fn set_aside<S: Service>(group: &mut [Job<S>], at: Position, cause: Cause, error: String) {
    match group.get_mut(at.job) {
        Some(Job::Command(command)) => command.outcome = Some(Err(NotTaken::Poison { cause, error })),
        Some(Job::Heard(heard)) => {
            let event = heard.batches.get_mut(at.batch).and_then(|batch| batch.events.get_mut(at.event));
            bury(event, cause, error);
        }
        Some(Job::Redrive(redrive)) => bury(redrive.heard.events.get_mut(at.event), cause, error),
        Some(Job::Number(_) | Job::Marks(_) | Job::Act(..) | Job::Flush(_)) | None => {}
    }
}

fn bury<I>(event: Option<&mut Read<I>>, cause: Cause, error: String) {
    if let Some(event) = event
        && let Read::Input { raw, traced, .. } = event
    {
        let (raw, traced) = (raw.clone(), traced.take());
        *event = Read::Dead { cause, error, raw, traced };
    }
}

/// Hands every answer to the command that waits for it.
pub(super) fn hand_out<S: Service>(
    group: &mut [Job<S>],
    answers: Vec<(Position, S::Answer)>,
    redriven: Vec<(usize, Redriven)>,
) {
    for (at, outcome) in redriven {
        if let Some(Job::Redrive(redrive)) = group.get_mut(at) {
            redrive.outcome = Some(outcome);
        }
    }
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
