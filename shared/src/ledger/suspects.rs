//! Due rows whose work may end the process: worked off alone, and set aside where it does so again and again. And rows
//! whose result cannot be taken: set aside at once.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use spillway_proto::time;
use spillway_proto::trace::{Part, part_span};
use spillway_proto::{Subject, TraceContext};
use uuid::Uuid;

use super::commit::panic_text;
use super::dead_letter;
use super::due::{DueFeed, Suspect};
use super::due_in_hand::{self, DueHand, FINDS, Found};
use super::error::NotTaken;
use super::handle::Ledger;
use super::redrive::{self, Redriven};
use super::says::Due;
use super::service::{AboutDue, Cause, Service};
use super::take::turn;
use super::work::NOT_TAKEN_PAUSE;
use crate::steps::step_about;
use crate::telemetry::Span;

/// What came of a piece of due work: its result, or the panic that it ended with.
pub(super) type Done<I> = Result<I, Box<dyn Any + Send>>;

/// A row that has its turn.
pub(super) enum Turn {
    /// To be worked off, alone.
    Work(Due),
    /// To be set aside: the process ended with it in hand so many times.
    SetAside(Due, i64),
}

/// Holds back what the run before had in hand. Rows of a kind that this build has no work for stay where they are.
pub(super) fn hold_back(feeds: &[std::sync::Arc<DueFeed>], found: Vec<Found>) {
    for Found { kind, key, found } in found {
        if let Some(feed) = feeds.iter().find(|feed| feed.kind() == kind)
            && let Some(ticket) = feed.hold(&key)
        {
            feed.suspect(Suspect { key, ticket, found });
        }
    }
}

impl<S: Service> Ledger<S> {
    /// Puts a row under a marker where the last end was not clean and the row may have had to do with it.
    pub(super) async fn watch(&self, due: &Due) -> Result<Option<DueHand>, NotTaken> {
        if !self.shared.caution.watches(due) {
            return Ok(None);
        }
        self.put_in_hand(due, false).await.map(Some)
    }

    async fn put_in_hand(&self, due: &Due, alone: bool) -> Result<DueHand, NotTaken> {
        let hand = DueHand::of(due);
        let marked = hand.clone();
        self.act(move |tx, _says, _at| due_in_hand::put(tx, &marked, alone)).await?;
        Ok(hand)
    }

    /// The next suspect that is still there and due. The others are suspects no more.
    pub(super) async fn next_turn(&self, feed: &DueFeed) -> (Turn, Suspect) {
        loop {
            let suspect = feed.next_suspect().await;
            let hand = DueHand { kind: feed.kind(), key: suspect.key.clone() };
            let asked = hand.clone();
            let row = self.act(move |tx, _says, _at| due_in_hand::row(tx, &asked)).await;
            let now = self.now();
            match row {
                Ok(Some(due)) if feed.is_held(&suspect) && due.at <= now => {
                    let turn = match suspect.found {
                        ..FINDS => Turn::Work(due),
                        found => Turn::SetAside(due, found),
                    };
                    return (turn, suspect);
                }
                Ok(_) => {
                    let cleared = self.act(move |tx, _says, _at| due_in_hand::done(tx, std::iter::once(&hand))).await;
                    if let Err(error) = cleared {
                        tracing::warn!(ledger = %self.shared.identity.id, %error, "a marker of due work stays");
                    }
                    feed.release(&suspect.key, suspect.ticket);
                }
                Err(error) => {
                    tracing::warn!(kind = feed.kind(), %error, "suspected due work cannot be read, trying again");
                    tokio::time::sleep(NOT_TAKEN_PAUSE).await;
                    feed.suspect(suspect);
                }
            }
        }
    }

    /// Has one suspect worked off while no other one is, in any ledger of the folder.
    pub(super) async fn alone<F>(&self, feed: &DueFeed, due: Due, suspect: Suspect, work: F)
    where
        F: Future<Output = Done<S::Input>>,
    {
        let role = self.shared.identity.id.ledger.name();
        let _turn = turn(&self.shared.folder).await;
        match self.put_in_hand(&due, true).await {
            Ok(hand) => {
                metrics::counter!("spillway_due_taken_alone_total", "role" => role).increment(1);
                step_about("ledger.due_in_hand", role.as_bytes());
                let done = work.await;
                self.hand_in(feed, &due, suspect.ticket, Some(hand), done).await;
            }
            Err(error) => {
                tracing::warn!(kind = due.kind, %error, "due work cannot be put in hand, trying again");
                tokio::time::sleep(NOT_TAKEN_PAUSE).await;
                feed.suspect(suspect);
            }
        }
    }

    /// Sets a suspect aside that has ended the process often enough.
    pub(super) async fn set_suspect_aside(&self, feed: &DueFeed, due: &Due, suspect: Suspect, found: i64) {
        let _turn = turn(&self.shared.folder).await;
        let error = format!("the process ended {found} times with this {} in hand, and nothing else", due.kind);
        // Under its marker: where what it is about cannot be read without ending the process, it is not read again.
        let marked = self.put_in_hand(due, true).await;
        let about = if found > FINDS { AboutDue::default() } else { self.about(due) };
        let set_aside = match marked {
            Ok(_hand) => self.set_aside(due, about, Cause::Crash, error).await,
            Err(error) => Err(error),
        };
        match set_aside {
            Ok(()) => feed.release(&suspect.key, suspect.ticket),
            Err(error) => {
                tracing::warn!(kind = due.kind, %error, "due work cannot be set aside, trying again");
                tokio::time::sleep(NOT_TAKEN_PAUSE).await;
                feed.suspect(suspect);
            }
        }
    }

    /// Hands the result of a row's work in. What cannot be taken for what it is, is set aside; what cannot be taken now is
    /// worked off again.
    pub(super) async fn hand_in(
        &self,
        feed: &DueFeed,
        due: &Due,
        ticket: u64,
        hand: Option<DueHand>,
        done: Done<S::Input>,
    ) {
        let taken = match done {
            Ok(input) => self.command_of(hand, input).await,
            Err(panic) => Err(NotTaken::Poison { cause: Cause::Panic, error: panic_text(panic.as_ref()) }),
        };
        let ended = match taken {
            Ok(answer) => {
                self.service.worked(answer);
                Ok(())
            }
            Err(NotTaken::Poison { cause, error }) => self.set_aside(due, self.about(due), cause, error).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::warn!(kind = due.kind, %error, "result of due work was not taken, trying again");
            tokio::time::sleep(NOT_TAKEN_PAUSE).await;
        }
        feed.release(&due.key, ticket);
    }

    fn about(&self, due: &Due) -> AboutDue {
        catch_unwind(AssertUnwindSafe(|| self.service.about_due(due))).unwrap_or_default()
    }

    /// Its trace says that it was set aside, and is raised for it.
    fn told_in_trace(&self, due: &Due, about: &AboutDue, cause: Cause) -> Option<Span> {
        let (tracer, now) = (&self.shared.tracer, self.now());
        let context = TraceContext::parse(&about.traceparent).filter(|_| tracer.is_on())?;
        let order = about.subject.as_ref().and_then(Subject::order);
        let context = context.sampled(context.is_sampled() || tracer.raise(order));
        let here = context.at(part_span(context.span_id, Part::Call(time::to_micros(now))));
        let span = Span::new(here, format!("set {} aside", due.kind), due.at, now).under(context);
        context.is_sampled().then(|| span.with("spillway.attempt", due.attempt).failed(cause.name()))
    }

    /// The row is kept and due no more, and a dead letter tells of it.
    async fn set_aside(&self, due: &Due, about: AboutDue, cause: Cause, error: String) -> Result<(), NotTaken> {
        let (row, own) = (due.clone(), self.shared.identity.clone());
        let told = self.told_in_trace(due, &about, cause);
        let is_set_aside = self.act(move |tx, says, at| {
            let is_there = due_in_hand::set_aside(tx, says, &row)?;
            if is_there {
                says.spans.extend(told.clone());
                dead_letter::write_due(tx, &own, &row, &about, (cause, &error), at)?;
            }
            Ok(is_there)
        });
        if is_set_aside.await? {
            let (ledger, role) = (self.shared.identity.id, self.shared.identity.id.ledger.name());
            tracing::warn!(%ledger, kind = due.kind, cause = cause.name(), "due work was set aside as a dead letter");
            metrics::counter!("spillway_dead_letters_written_total", "role" => role, "cause" => cause.name())
                .increment(1);
            self.note_dead_letters_changed();
        }
        Ok(())
    }

    /// Whether it died again and again, each time soon after its start: then what need not be done is better left out.
    pub fn is_dying(&self) -> bool {
        self.shared.caution.is_dying()
    }

    /// A row that was set aside is due again, and worked off alone. Where its work was decided otherwise, nothing is left
    /// to be done.
    pub(super) async fn take_up(&self, id: Uuid, kind: &str, key: Bytes, reason: &str) -> Result<Redriven, NotTaken> {
        let Some(feed) = self.due(kind) else {
            return Ok(Redriven::StillDead(Cause::Newer, format!("this build has no work of the kind {kind}")));
        };
        // Held back before it is due, so that nobody else takes it.
        let ticket = feed.hold(&key);
        let (hand, reason) = (DueHand { kind: feed.kind(), key: key.clone() }, reason.to_owned());
        let taken_up = self.act(move |tx, says, at| {
            if !redrive::is_dead(tx, id)? {
                return Ok((Redriven::Gone, false));
            }
            let is_due = due_in_hand::take_up(tx, &hand, at)?;
            redrive::settle(tx, says, (id, &reason), &Redriven::Taken, at)?;
            Ok((Redriven::Taken, is_due))
        });
        let taken_up = taken_up.await;
        match (ticket, &taken_up) {
            (Some(ticket), Ok((_, true))) => feed.suspect(Suspect { key, ticket, found: FINDS - 1 }),
            (Some(ticket), _) => feed.release(&key, ticket),
            (None, _) => {}
        }
        let (outcome, _) = taken_up?;
        if outcome == Redriven::Taken {
            let role = self.shared.identity.id.ledger.name();
            metrics::counter!("spillway_dead_letters_redriven_total", "role" => role, "outcome" => "taken")
                .increment(1);
            self.note_dead_letters_changed();
        }
        Ok(outcome)
    }
}
