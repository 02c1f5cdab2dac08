//! What waits before the writer.

use spillway_proto::time::Timestamp;
use tokio::sync::oneshot;

use super::due_in_hand::DueHand;
use super::error::{NotTaken, StoreError};
use super::in_hand::Hand;
use super::redrive::RedriveJob;
use super::says::Says;
use super::service::{Heard, Service};
use super::tx::Tx;

/// How far a listener says it has heard this ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldMark {
    pub listener: String,
    pub listener_partition: u16,
    pub incarnation: spillway_proto::Incarnation,
    pub partition: spillway_proto::Partition,
    pub number: i64,
    /// Unix time in microseconds of the commit that it heard last.
    pub heard_us: i64,
}

/// Done in the transaction of its group, after all decisions; again from the start where the group is tried again.
pub(super) type ActFn = Box<dyn Fn(&Tx<'_>, &mut Says, Timestamp) -> Result<(), StoreError> + Send>;

/// One thing that waits to be committed.
pub(super) enum Job<S: Service> {
    Command(Command<S>),
    Heard(HeardJob<S>),
    /// A dead letter is handed in again.
    Redrive(RedriveJob<S>),
    /// The relay wants every batch numbered.
    Number(oneshot::Sender<Result<(), NotTaken>>),
    Marks(Vec<ToldMark>),
    /// The machine's own: what an operator did, with the events that tell of it.
    Act(ActFn, oneshot::Sender<Result<(), NotTaken>>),
    /// Write down how far the relay has come, and whatever else waits: the last commit of a ledger.
    Flush(oneshot::Sender<Result<(), NotTaken>>),
}

/// A command, or the result of due work.
pub(super) struct Command<S: Service> {
    pub input: S::Input,
    pub outcome: Option<Result<S::Answer, NotTaken>>,
    /// Of the due row whose result it is, where that is under a marker.
    pub hand: Option<DueHand>,
    pub reply: oneshot::Sender<Result<S::Answer, NotTaken>>,
}

/// Batches that a listener heard.
pub(super) struct HeardJob<S: Service> {
    pub batches: Vec<Heard<S::Input>>,
    /// Where its one batch, or a part of it, is taken alone.
    pub hand: Option<Hand>,
    pub reply: oneshot::Sender<Result<(), NotTaken>>,
}

impl<S: Service> Job<S> {
    /// How much it adds to a commit.
    pub fn weight(&self) -> usize {
        match self {
            Job::Command(_) | Job::Number(_) | Job::Marks(_) | Job::Act(..) | Job::Flush(_) => 1,
            Job::Heard(heard) => heard.batches.iter().map(|batch| batch.events.len().max(1)).sum(),
            Job::Redrive(redrive) => redrive.heard.events.len().max(1),
        }
    }

    /// The marker that its commit takes away.
    pub fn due_hand(&self) -> Option<&DueHand> {
        match self {
            Job::Command(command) => command.hand.as_ref(),
            Job::Heard(_) | Job::Redrive(_) | Job::Number(_) | Job::Marks(_) | Job::Act(..) | Job::Flush(_) => None,
        }
    }

    /// Tells whoever waits that nothing was kept. Whoever has gone away does not mind.
    pub fn refuse(self, why: &NotTaken) {
        match self {
            Job::Command(command) => drop(command.reply.send(Err(why.clone()))),
            Job::Heard(heard) => drop(heard.reply.send(Err(why.clone()))),
            Job::Redrive(redrive) => drop(redrive.reply.send(Err(why.clone()))),
            Job::Number(reply) | Job::Act(_, reply) | Job::Flush(reply) => drop(reply.send(Err(why.clone()))),
            Job::Marks(_) => {}
        }
    }

    /// Tells whoever waits that it is committed.
    pub fn confirm(self) {
        match self {
            Job::Command(command) => {
                let outcome = command.outcome.unwrap_or(Err(NotTaken::Closed));
                drop(command.reply.send(outcome));
            }
            Job::Heard(heard) => drop(heard.reply.send(Ok(()))),
            Job::Redrive(redrive) => drop(redrive.reply.send(redrive.outcome.ok_or(NotTaken::Closed))),
            Job::Number(reply) | Job::Act(_, reply) | Job::Flush(reply) => drop(reply.send(Ok(()))),
            Job::Marks(_) => {}
        }
    }
}
