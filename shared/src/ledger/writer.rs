//! The writer: a thread that commits whatever waits, all of it in one transaction, over and over.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;
use spillway_proto::time::Timestamp;
use tokio::sync::mpsc;

use super::collect::Item;
use super::commit::{self, Attempt, Committed, Fault, Memory, Position};
use super::crowding::Crowding;
use super::error::{NotTaken, StoreError};
use super::handle::Shared;
use super::in_hand;
use super::job::Job;
use super::pace::Pace;
use super::redrive::Redriven;
use super::says::Says;
use super::service::{Cause, Service};
use super::spans;
use super::spec;
use super::tx::Tx;
use crate::logs;
use crate::telemetry::Tracer;

pub(super) struct Writer<S: Service> {
    pub connection: Connection,
    pub service: Arc<S>,
    pub shared: Arc<Shared>,
    pub memory: Memory,
    pub jobs: mpsc::Receiver<Job<S>>,
    pub last: Timestamp,
    pub pace: Pace,
    pub figures: CommitFigures,
}

/// What is measured of every commit.
pub(super) struct CommitFigures {
    /// Seconds.
    duration: metrics::Histogram,
    inputs: metrics::Histogram,
}

impl CommitFigures {
    pub fn of(role: &'static str) -> Self {
        CommitFigures {
            duration: metrics::histogram!("spillway_commit_duration_seconds", "role" => role),
            inputs: metrics::histogram!("spillway_commit_inputs", "role" => role),
        }
    }
}

impl<S: Service> Writer<S> {
    /// Until every handle is gone, or the database cannot be trusted any more.
    pub fn run(mut self) {
        let crowding = Crowding::of_this_thread();
        while let Some(first) = self.jobs.blocking_recv() {
            self.shared.until_relayed(&self.memory.heads.numbers, self.pace.gathers(Instant::now()));
            let (group, inputs) = self.gather(first);
            self.pace.begins(inputs, crowding.waited(), Instant::now());
            if let Err(broken) = self.commit(group, inputs) {
                tracing::error!(ledger = %self.shared.identity.id, error = %broken, "ledger is broken, stopping");
                self.shared.fail(broken);
                return;
            }
        }
        self.end();
    }

    /// Every handle is gone, and nothing is in hand: the end is clean, and the next start need not be careful.
    fn end(&mut self) {
        if let Err(error) = in_hand::write_clean(&Tx::new(&self.connection), true) {
            tracing::warn!(ledger = %self.shared.identity.id, %error, "the clean end is not noted");
        }
    }

    /// Whatever waits, up to a bound; and how many inputs that are.
    fn gather(&mut self, first: Job<S>) -> (Vec<Job<S>>, usize) {
        let mut weight = first.weight();
        let mut group = vec![first];
        while weight < self.shared.limits.commit_inputs {
            let Ok(job) = self.jobs.try_recv() else { break };
            weight += job.weight();
            group.push(job);
        }
        (group, weight)
    }

    /// Commits a group. An error means that the ledger cannot go on.
    fn commit(&mut self, mut group: Vec<Job<S>>, inputs: usize) -> Result<(), String> {
        let began = Instant::now();
        loop {
            self.last = self.last.max(spec::now(self.shared.clock.as_ref()));
            let fault = match self.attempt(&group) {
                Ok(committed) => {
                    self.figures.duration.record(began.elapsed());
                    self.figures.inputs.record(inputs as f64);
                    self.finish(group, committed);
                    return Ok(());
                }
                Err(fault) => fault,
            };
            match fault {
                Fault::Poison(at, error) => commit::set_aside(&mut group, at, Cause::Panic, error),
                Fault::Fenced => {
                    refuse(group, &NotTaken::Closed);
                    return Err("another process took the lease".to_owned());
                }
                Fault::Store(error @ StoreError::Busy(_)) if began.elapsed() < self.shared.limits.busy_for => {
                    self.note("again", &error);
                    self.shared.condition.retrying(&error);
                }
                Fault::Store(error) if error.is_passing() => {
                    self.give_up(group, error);
                    return Ok(());
                }
                Fault::Store(error @ StoreError::Broken(_)) => {
                    let text = error.to_string();
                    refuse(group, &NotTaken::Unknown(error));
                    return Err(text);
                }
                Fault::Store(error) => match self.set_culprits_aside(&mut group) {
                    Ok(true) => {}
                    Ok(false) => {
                        // No input is to blame.
                        refuse(group, &NotTaken::Unavailable(error));
                        return Ok(());
                    }
                    Err(Halt::Passing(error)) => {
                        self.give_up(group, error);
                        return Ok(());
                    }
                    Err(Halt::End(why)) => {
                        refuse(group, &NotTaken::Closed);
                        return Err(why);
                    }
                },
            }
        }
    }

    /// The database cannot take it now, and nothing of it was kept.
    fn give_up(&self, group: Vec<Job<S>>, error: StoreError) {
        self.note("refused", &error);
        self.shared.condition.refused(&error);
        refuse(group, &NotTaken::Unavailable(error));
    }

    fn note(&self, outcome: &'static str, error: &StoreError) {
        let role = self.shared.identity.id.ledger.name();
        metrics::counter!("spillway_commits_failed_total", "role" => role, "outcome" => outcome).increment(1);
        // One line for an outage: what follows is told when it is over.
        if self.shared.condition.is_well().is_ok() {
            tracing::warn!(ledger = %self.shared.identity.id, outcome, %error, "cannot commit");
        }
    }

    fn attempt(&mut self, group: &[Job<S>]) -> Result<Committed<S::Answer>, Fault> {
        let mut relayed = self.memory.heads.clone();
        relayed.relayed = self.shared.relayed_so_far(&relayed.relayed);
        let attempt = Attempt {
            service: self.service.as_ref(),
            identity: &self.shared.identity,
            memory: &self.memory,
            at: self.last,
            relayed,
            noted: self.shared.incidents.so_far(),
            tracer: &self.shared.tracer,
        };
        let committed = attempt.run(&mut self.connection, group)?;
        self.shared.incidents.written(&attempt.noted);
        Ok(committed)
    }

    fn finish(&mut self, mut group: Vec<Job<S>>, mut committed: Committed<S::Answer>) {
        self.note_dead_letters(&committed);
        if self.shared.condition.committed(committed.has_written) {
            tracing::info!(ledger = %self.shared.identity.id, "commits again");
        }
        if committed.additions.repeated > 0 {
            let role = self.shared.identity.id.ledger.name();
            let absorbed = metrics::counter!("spillway_duplicates_absorbed_total", "role" => role);
            absorbed.increment(committed.additions.repeated);
        }
        spans::tell(&self.shared, self.service.as_ref(), &group, &committed, self.last);
        let heard = (!committed.additions.is_empty()).then_some(committed.heard);
        self.memory.any_unread = committed.any_unread;
        self.memory.note_due(&committed.says.due);
        self.memory.is_clean = committed.is_clean;
        self.memory.inbox.apply(committed.additions);
        self.memory.heads = committed.heads;
        self.shared.committed(&self.memory, heard, &mut committed.says, self.last);
        committed.answers.iter().for_each(|(_, answer)| self.service.decided(answer));
        commit::hand_out(&mut group, committed.answers, committed.redriven);
        group.into_iter().for_each(Job::confirm);
        // Last: nobody waits for it.
        let Says { facts, batches, .. } = committed.says;
        logs::write(&self.shared.lines, self.shared.identity.id.ledger, facts, &batches, self.last);
    }

    /// Counts what became of dead letters in a commit.
    fn note_dead_letters(&self, committed: &Committed<S::Answer>) {
        let role = self.shared.identity.id.ledger.name();
        if !committed.dead.is_empty() {
            let only_newer = committed.dead.iter().all(|(_, cause)| *cause == Cause::Newer);
            let (ledger, count) = (self.shared.identity.id, committed.dead.len());
            if only_newer {
                tracing::info!(%ledger, count, "dead letters of a newer kind written, for a newer build");
            } else {
                tracing::warn!(%ledger, count, "dead letters written");
            }
        }
        for (_, cause) in &committed.dead {
            metrics::counter!("spillway_dead_letters_written_total", "role" => role, "cause" => cause.name())
                .increment(1);
        }
        for (_, outcome) in &committed.redriven {
            let outcome = match outcome {
                Redriven::Taken => "taken",
                Redriven::StillDead(..) => "still_dead",
                Redriven::Gone => continue,
            };
            metrics::counter!("spillway_dead_letters_redriven_total", "role" => role, "outcome" => outcome)
                .increment(1);
        }
        if committed.resolved > 0 {
            let resolved = u64::try_from(committed.resolved).unwrap_or(u64::MAX);
            metrics::counter!("spillway_dead_letters_resolved_total", "role" => role).increment(resolved);
        }
        if !committed.dead.is_empty() || committed.resolved > 0 || !committed.redriven.is_empty() {
            self.shared.dead_letters.notify_one();
        }
    }

    /// Finds the inputs that the database refuses, by halves, and takes them out. False where there is none.
    fn set_culprits_aside(&mut self, group: &mut [Job<S>]) -> Result<bool, Halt> {
        let mut culprits = Vec::new();
        {
            let heads = self.memory.heads.clone();
            let attempt = Attempt {
                service: self.service.as_ref(),
                identity: &self.shared.identity,
                memory: &self.memory,
                at: self.last,
                relayed: heads,
                noted: Default::default(),
                tracer: &Tracer::off(),
            };
            let found = attempt.collect(group, &HashSet::new());
            bisect(&attempt, &mut self.connection, &found.inputs, &mut culprits)?;
        }
        let found = !culprits.is_empty();
        for (at, cause, error) in culprits {
            commit::set_aside(group, at, cause, error);
        }
        Ok(found)
    }
}

fn refuse<S: Service>(group: Vec<Job<S>>, why: &NotTaken) {
    for job in group {
        job.refuse(why);
    }
}

/// Why the search for the inputs at fault ends without having found them.
enum Halt {
    /// The database cannot say now: no input is to blame.
    Passing(StoreError),
    /// The ledger cannot go on.
    End(String),
}

/// Halves until each input at fault is alone.
fn bisect<S: Service>(
    attempt: &Attempt<'_, S>,
    connection: &mut Connection,
    inputs: &[Item<'_, S::Input>],
    culprits: &mut Vec<(Position, Cause, String)>,
) -> Result<(), Halt> {
    let fault = match attempt.rehearse(connection, inputs) {
        Ok(()) => return Ok(()),
        Err(fault) => fault,
    };
    let (cause, error) = match fault {
        Fault::Store(error) if error.is_passing() => return Err(Halt::Passing(error)),
        Fault::Store(error @ StoreError::Broken(_)) => return Err(Halt::End(error.to_string())),
        Fault::Store(error) => (Cause::Constraint, error.to_string()),
        Fault::Poison(_, error) => (Cause::Panic, error),
        Fault::Fenced => return Err(Halt::End("another process took the lease".to_owned())),
    };
    if let [one] = inputs {
        culprits.push((one.at, cause, error));
        return Ok(());
    }
    let (left, right) = inputs.split_at(inputs.len() / 2);
    bisect(attempt, connection, left, culprits)?;
    bisect(attempt, connection, right, culprits)
}
