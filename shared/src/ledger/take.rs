//! Taking what came: many messages at once, and with care what may have killed the process before.

use std::fs::File;
use std::path::Path;

use super::error::NotTaken;
use super::handle::Ledger;
use super::in_hand::{self, FINDS, Hand, Marker};
use super::inbox::Line;
use super::job::{HeardJob, Job};
use super::service::{Came, Cause, Heard, Read, Service};
use crate::steps::step_about;

impl<S: Service> Ledger<S> {
    /// Reads and takes what came; answers after the commit, and then it may be acknowledged.
    ///
    /// # Errors
    /// Where something was not taken. What was taken before it stays so, and coming again changes nothing.
    pub async fn take(&self, came: &[Came]) -> Result<(), NotTaken> {
        let inbox = self.shared.inbox.borrow().clone();
        let wants_care = |came: &&Came| self.shared.caution.wants_care(came, &inbox);
        if !came.iter().any(|came| wants_care(&came)) {
            return self.take_together(came.iter()).await;
        }
        self.take_together(came.iter().filter(|came| !wants_care(came))).await?;
        for alone in came.iter().filter(wants_care) {
            self.take_alone(alone).await?;
        }
        Ok(())
    }

    async fn take_together(&self, came: impl Iterator<Item = &Came>) -> Result<(), NotTaken> {
        let heard: Vec<_> = came.map(|came| Heard::of(self, came)).collect();
        if heard.is_empty() { Ok(()) } else { self.hear(heard).await }
    }

    /// Takes one message under a marker; and if the process died with it before, its events one at a time.
    async fn take_alone(&self, came: &Came) -> Result<(), NotTaken> {
        let Some(number) = &came.batch.number else { return Ok(()) };
        let (line, number) = (Line::of(came.batch.source, number), number.number);
        // Whatever else is in hand when the process dies would be suspected with it.
        let _turn = turn(&self.shared.folder).await;
        let marker = self.act(move |tx, _says, _at| in_hand::take(tx, &line, number)).await?;
        step_about("ledger.in_hand", self.shared.identity.id.ledger.name().as_bytes());
        metrics::counter!("spillway_messages_taken_alone_total", "role" => self.shared.identity.id.ledger.name())
            .increment(1);
        let done = Hand { line, number, next: None };
        if marker.event < 0 && marker.found >= FINDS {
            let error = format!("the process ended {} times with this message in hand", marker.found);
            let heard = Heard {
                unreadable: Some((Cause::Crash, error, came.batch.body.clone())),
                asked: true,
                origin: came.origin.clone(),
                ..Heard::empty(&came.batch)
            };
            return self.hear_alone(heard, done).await;
        }
        let heard = Heard::of(self, came);
        let is_suspect = marker.event >= 0 || marker.found > 0;
        if !is_suspect || heard.unreadable.is_some() {
            return self.hear_alone(heard, done).await;
        }
        tracing::warn!(ledger = %self.shared.identity.id, source = %line.source, number, found = marker.found,
            "the process ended with this message in hand, taking its events one at a time");
        self.take_events(heard, marker, done).await
    }

    async fn take_events(&self, mut heard: Heard<S::Input>, marker: Marker, done: Hand) -> Result<(), NotTaken> {
        let events = std::mem::take(&mut heard.events);
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let mut hand = marker;
        if marker.event < 0 {
            // With one event alone the marker of the message was the marker of the event.
            hand = Marker { event: 0, found: if count == 1 { marker.found } else { 0 } };
            let Hand { line, number, .. } = done;
            self.act(move |tx, _says, _at| in_hand::put(tx, &line, number, hand)).await?;
        }
        for (index, event) in (0..count).zip(events).skip(usize::try_from(hand.event).unwrap_or(0)) {
            let killed = index == hand.event && hand.found >= FINDS;
            let event = if killed { killer(event, hand.found) } else { event };
            let next = Some(index + 1).filter(|next| *next < count);
            let part = Heard { events: vec![event], ..heard.again() };
            self.hear_alone(part, Hand { next, ..done }).await?;
        }
        if hand.event >= count {
            return self.hear_alone(heard, done).await;
        }
        Ok(())
    }

    async fn hear_alone(&self, heard: Heard<S::Input>, hand: Hand) -> Result<(), NotTaken> {
        self.post(|reply| Job::Heard(HeardJob { batches: vec![heard], hand: Some(hand), reply })).await
    }
}

/// The dead letter of an event that ends the process.
fn killer<I>(event: Read<I>, found: i64) -> Read<I> {
    match event {
        Read::Input { raw, traced, .. } => {
            let error = format!("the process ended {found} times with this event in hand");
            Read::Dead { cause: Cause::Crash, error, raw, traced }
        }
        harmless @ (Read::Passed | Read::Dead { .. }) => harmless,
    }
}

/// The turn of a ledger among all those in a folder, which may share a process. It ends when the file is dropped.
pub(super) async fn turn(folder: &Path) -> Option<File> {
    let path = folder.join("in-hand.lock");
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        file.lock().map(|()| file)
    });
    match locked.await {
        Ok(Ok(file)) => Some(file),
        Ok(Err(error)) => {
            tracing::warn!(%error, "messages are taken with care, but not in turn");
            None
        }
        Err(_cancelled) => None,
    }
}
