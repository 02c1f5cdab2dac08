//! Commands: handed in to be decided, and answered after the commit. With care where the last end was not clean, for a caller
//! may repeat what ended the process.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::due_in_hand::{self, CALL, DueHand, FINDS};
use super::error::NotTaken;
use super::handle::Ledger;
use super::job::{Command, Job};
use super::service::{Cause, Service};
use super::take::turn;

impl<S: Service> Ledger<S> {
    /// Decides a command, or the result of due work; answers after the commit. Once handed in it is decided and
    /// committed as a whole, whether or not the caller still waits.
    pub async fn command(&self, input: S::Input) -> Result<S::Answer, NotTaken> {
        match self.wants_care(&input) {
            Some(key) => self.command_with_care(key, input).await,
            None => self.command_of(None, input).await,
        }
    }

    /// Like [`Ledger::command`], but a full queue refuses at once, and so does a database that another process locks.
    pub async fn try_command(&self, input: S::Input) -> Result<S::Answer, NotTaken> {
        self.shared.condition.at_the_door().map_err(NotTaken::Unavailable)?;
        if let Some(key) = self.wants_care(&input) {
            return if self.jobs.capacity() > 0 {
                self.command_with_care(key, input).await
            } else {
                Err(NotTaken::Busy)
            };
        }
        let (reply, answer) = oneshot::channel();
        let job = Job::Command(Command { input, outcome: None, hand: None, reply });
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotTaken::Busy,
            mpsc::error::TrySendError::Closed(_) => NotTaken::Closed,
        })?;
        answer.await.unwrap_or(Err(NotTaken::Closed))
    }

    /// Like [`Ledger::command`]: what is under a marker, which goes with the commit.
    pub(super) async fn command_of(&self, hand: Option<DueHand>, input: S::Input) -> Result<S::Answer, NotTaken> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Command(Command { input, outcome: None, hand, reply });
        self.jobs.send(job).await.map_err(|_| NotTaken::Closed)?;
        answer.await.unwrap_or(Err(NotTaken::Closed))
    }

    /// The key of its marker, where it is to be under one.
    fn wants_care(&self, input: &S::Input) -> Option<Bytes> {
        let id = self.shared.caution.was_unclean().then(|| self.service.command_id(input)).flatten()?;
        Some(Bytes::copy_from_slice(id.as_bytes()))
    }

    /// A command that the process did not survive comes alone; one that it did not survive alone is not taken any more.
    async fn command_with_care(&self, key: Bytes, input: S::Input) -> Result<S::Answer, NotTaken> {
        let found = self.shared.caution.calls.get(&key).copied();
        if let Some(found @ FINDS..) = found {
            let error = format!("the process ended {found} times with this call in hand, and nothing else");
            return Err(NotTaken::Poison { cause: Cause::Crash, error });
        }
        let _turn = match found {
            Some(_suspected) => turn(&self.shared.folder).await,
            None => None,
        };
        let hand = DueHand { kind: CALL, key };
        let marked = hand.clone();
        self.act(move |tx, _says, _at| due_in_hand::put(tx, &marked, found.is_some())).await?;
        self.command_of(Some(hand), input).await
    }
}
