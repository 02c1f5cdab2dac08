//! What a group holds: the inputs that are to be decided, and the dead letters among them.

use std::collections::HashSet;

use super::commit::{Attempt, Position};
use super::dead_letter::DeadLetter;
use super::inbox::{Additions, Line};
use super::job::{HeardJob, Job};
use super::redrive::{RedriveJob, Redriven};
use super::service::{Heard, Read, Service};

/// One input of a group.
pub(super) struct Item<'g, I> {
    pub at: Position,
    pub input: &'g I,
    /// The event as it was said; empty for a command.
    pub raw: &'g [u8],
}

/// What a group holds.
pub(super) struct Collected<'g, I> {
    /// What was not heard before.
    pub inputs: Vec<Item<'g, I>>,
    pub dead: Vec<DeadLetter>,
    pub additions: Additions,
    /// Batches taken of which a bad copy may lie among the dead letters.
    pub resolved: Vec<(Line, i64)>,
    /// What becomes of dead letters that are handed in again, by their jobs.
    pub redriven: Vec<(usize, Redriven)>,
}

impl<'g, I> Collected<'g, I> {
    fn new() -> Self {
        Collected {
            inputs: Vec::new(),
            dead: Vec::new(),
            additions: Additions::default(),
            resolved: Vec::new(),
            redriven: Vec::new(),
        }
    }
}

impl<S: Service> Attempt<'_, S> {
    /// Goes through a group. `gone` are jobs that are not to be done any more.
    pub fn collect<'g>(&self, group: &'g [Job<S>], gone: &HashSet<usize>) -> Collected<'g, S::Input> {
        let mut found = Collected::new();
        for (job_index, job) in group.iter().enumerate() {
            let at = Position { job: job_index, batch: 0, event: 0 };
            match job {
                Job::Command(command) if command.outcome.is_none() => {
                    found.inputs.push(Item { at, input: &command.input, raw: &[] });
                }
                Job::Command(_) | Job::Number(_) | Job::Marks(_) | Job::Act(..) | Job::Flush(_) => {}
                Job::Heard(heard) => self.collect_heard(job_index, heard, &mut found),
                Job::Redrive(_) if gone.contains(&job_index) => found.redriven.push((job_index, Redriven::Gone)),
                Job::Redrive(redrive) => self.collect_redriven(job_index, redrive, &mut found),
            }
        }
        found
    }

    fn collect_heard<'g>(&self, job: usize, heard: &'g HeardJob<S>, found: &mut Collected<'g, S::Input>) {
        // A part of a batch: its number counts as heard with the last part.
        let is_part = heard.hand.is_some_and(|hand| hand.next.is_some());
        for (batch_index, batch) in heard.batches.iter().enumerate() {
            if !is_part && !self.take(batch, found) {
                continue;
            }
            for (event_index, event) in batch.events.iter().enumerate() {
                let at = Position { job, batch: batch_index, event: event_index };
                match event {
                    Read::Input { input, raw, .. } => {
                        found.inputs.push(Item { at, input, raw });
                    }
                    Read::Passed => {}
                    Read::Dead { cause, error, raw, .. } => {
                        let whole = self.service.keeps_batches_whole();
                        let letter = DeadLetter::of(batch, *cause, error, raw, whole);
                        found.dead.push(DeadLetter { at: Some(at), ..letter });
                    }
                }
            }
        }
    }

    /// A dead letter is decided whether or not its number was heard: it was heard as dead.
    fn collect_redriven<'g>(&self, job: usize, redrive: &'g RedriveJob<S>, found: &mut Collected<'g, S::Input>) {
        let heard = &redrive.heard;
        if let Some((cause, error, _)) = &heard.unreadable {
            found.redriven.push((job, Redriven::StillDead(*cause, error.clone())));
            return;
        }
        let mut outcome = Redriven::Taken;
        for (event, read) in heard.events.iter().enumerate() {
            let at = Position { job, batch: 0, event };
            match read {
                Read::Input { input, raw, .. } => found.inputs.push(Item { at, input, raw }),
                Read::Passed => {}
                Read::Dead { cause, error, .. } if heard.events.len() == 1 => {
                    outcome = Redriven::StillDead(*cause, error.clone());
                }
                Read::Dead { cause, error, raw, .. } => {
                    let whole = self.service.keeps_batches_whole();
                    let letter = DeadLetter::of(heard, *cause, error, raw, whole);
                    found.dead.push(DeadLetter { at: Some(at), ..letter });
                }
            }
        }
        if outcome == Redriven::Taken
            && let Some(number) = &heard.number
        {
            let line = Line::of(heard.source, number);
            if self.memory.inbox.has(&found.additions, line, number.number) {
                found.redriven.push((job, outcome));
                return;
            }
            self.memory.inbox.take(&mut found.additions, line, number.number, heard.time_us);
        }
        found.redriven.push((job, outcome));
    }

    /// Takes a batch into the inbox. False where its events are not to be looked at.
    fn take(&self, batch: &Heard<S::Input>, found: &mut Collected<'_, S::Input>) -> bool {
        let line = batch.number.as_ref().map(|number| (Line::of(batch.source, number), number.number));
        let taken = |additions: &mut Additions| {
            line.is_some_and(|(line, number)| self.memory.inbox.take(additions, line, number, batch.time_us))
        };
        let Some((cause, error, body)) = &batch.unreadable else {
            let is_new = taken(&mut found.additions);
            if is_new && (batch.asked || self.memory.any_unread) {
                found.resolved.extend(line);
            }
            return is_new;
        };
        // A stream's copy that cannot be read leaves its number unheard: the outbox is asked for its own.
        if batch.asked && !taken(&mut found.additions) {
            return false;
        }
        let mut letter = DeadLetter::of(batch, *cause, error, body, true);
        letter.resolved =
            !batch.asked && line.is_some_and(|(line, number)| self.memory.inbox.has(&found.additions, line, number));
        found.dead.push(letter);
        false
    }
}
