//! What was in hand when a process died: markers, committed before what they stand for is touched.
//!
//! A ledger that was not closed cleanly takes with care what had been in its hands: one message at a time, under a
//! marker. If the process dies with it again, its events are taken one at a time, each under the marker; and an event
//! whose marker is found at [`FINDS`] starts becomes a dead letter. So a kill from outside costs two small commits for
//! each message that had been in flight, and a message that kills is found in three or four starts, however large its
//! batch.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use spillway_proto::time::{self, Timestamp};

use super::error::StoreError;
use super::inbox::{Inbox, Line};
use super::says::Due;
use super::service::Came;
use super::tx::{Tx, Value};

/// An event whose marker is found at so many starts is a dead letter: once may be bad luck.
pub(super) const FINDS: i64 = 2;

/// A message that JetStream delivers this often is taken with care, whatever the last exit was like.
const SUSPECT_DELIVERY: i64 = 3;

/// What a process holds of one source when it dies is at most one gathering of its listener, which is so many messages
/// (`GATHER` in the listener): so far above what was heard last, a number may have been in hand.
const REACH: i64 = 256;

/// Starts that come so soon after the one before, without a clean exit between, may be a loop of crashes.
const LOOP_US: i64 = 15 * 60 * 1_000_000;

/// After so many ends in a row that were not clean, what need not be done is left out: it may be what ends the process.
const DYING: i64 = 4;

/// The tables of the last run and of what was in hand.
pub(super) const TABLES: &str = "
     create table run (
         one integer primary key check (one = 1),
         clean integer not null,
         unclean integer not null,
         started_us integer not null
     );
     create table in_hand (
         source text not null,
         incarnation blob not null,
         partition integer not null,
         number integer not null,
         event integer not null,
         found integer not null,
         primary key (source, incarnation, partition, number)
     );";

/// How much of what comes is taken with care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// Nothing but what was found in hand: the last exit was clean.
    Calm,
    /// What was delivered before, or was missing: the last exit was not clean.
    Redelivered,
    /// Everything in reach: several exits in a row were not clean, and JetStream may have forgotten what it delivered.
    Everything,
}

/// What an opening finds of the run before.
#[derive(Debug)]
pub(super) struct Caution {
    level: Level,
    /// In hand when a process died.
    found: HashSet<(Line, i64)>,
    /// The highest number heard of each line, at start.
    heard: HashMap<Line, i64>,
    /// Ends in a row that were not clean, each soon after its start.
    unclean: i64,
    began: Timestamp,
    /// Calls that were in hand when the process died, and at how many starts each was found there alone.
    pub calls: HashMap<Bytes, i64>,
}

impl Caution {
    /// Reads what the run before left, and notes that this one has begun.
    pub fn begin(tx: &Tx<'_>, inbox: &Inbox, at: Timestamp) -> Result<Self, StoreError> {
        let at_us = time::to_micros(at);
        let before = tx.read("select clean, unclean, started_us from run", &[], |row| {
            Ok((row.int(0)? == 1, row.int(1)?, row.int(2)?))
        })?;
        let unclean = match before.first() {
            None | Some((true, ..)) => 0,
            Some((false, unclean, started_us)) if at_us.saturating_sub(*started_us) < LOOP_US => unclean + 1,
            Some((false, ..)) => 1,
        };
        tx.write(
            "insert into run (one, clean, unclean, started_us) values (1, 0, $1, $2)
             on conflict (one) do update set clean = 0, unclean = excluded.unclean, started_us = excluded.started_us",
            &[unclean.into(), at_us.into()],
        )?;
        tx.write("update in_hand set found = found + 1", &[])?;
        let found = tx.read("select source, incarnation, partition, number from in_hand", &[], |row| {
            Ok((super::inbox::read_line(row)?, row.int(3)?))
        })?;
        let level = match unclean {
            0 => Level::Calm,
            1 => Level::Redelivered,
            _ => Level::Everything,
        };
        let highest = |(line, mark): (&Line, &super::inbox::Mark)| {
            (*line, mark.above.last().copied().unwrap_or(0).max(mark.number))
        };
        let heard = inbox.lines().map(highest).collect();
        Ok(Caution { level, found: found.into_iter().collect(), heard, unclean, began: at, calls: HashMap::new() })
    }

    /// Whether the last end was not clean.
    pub fn was_unclean(&self) -> bool {
        self.unclean > 0
    }

    /// Whether this row is to be worked off under a marker.
    pub fn watches(&self, due: &Due) -> bool {
        self.was_unclean() && due.at <= self.began
    }

    /// Whether it died again and again.
    pub fn is_dying(&self) -> bool {
        self.unclean >= DYING
    }

    /// Whether the last exit was clean, with nothing left in hand.
    pub fn is_calm(&self) -> bool {
        self.level == Level::Calm && self.found.is_empty()
    }

    /// Whether this message is to be taken alone, under a marker.
    pub fn wants_care(&self, came: &Came, inbox: &Inbox) -> bool {
        let Some(number) = &came.batch.number else { return false };
        if came.delivered < SUSPECT_DELIVERY && self.is_calm() {
            return false;
        }
        let line = Line::of(came.batch.source, number);
        if inbox.mark(&line).is_some_and(|mark| mark.has(number.number)) {
            return false;
        }
        if came.delivered >= SUSPECT_DELIVERY || self.found.contains(&(line, number.number)) {
            return true;
        }
        let in_reach = number.number <= self.heard.get(&line).copied().unwrap_or(0).saturating_add(REACH);
        match self.level {
            Level::Calm => false,
            Level::Redelivered => in_reach && (came.batch.asked || came.delivered > 1),
            Level::Everything => in_reach,
        }
    }
}

/// Notes that the last commit of a run was clean, or that another one followed.
pub(super) fn write_clean(tx: &Tx<'_>, clean: bool) -> Result<(), StoreError> {
    tx.write("update run set clean = $1", &[i64::from(clean).into()])?;
    Ok(())
}

/// A message that is in hand, alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// The index of the event in hand; -1 while it is the whole message.
    pub event: i64,
    /// Starts at which it was found.
    pub found: i64,
}

/// How a commit moves a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hand {
    pub line: Line,
    pub number: i64,
    /// The index of the event that is in hand after it; `None` where the message is done.
    pub next: Option<i64>,
}

/// Puts a message in hand. Answers the marker that stands now: an older one stays.
pub(super) fn take(tx: &Tx<'_>, line: &Line, number: i64) -> Result<Marker, StoreError> {
    let key = key(line, number);
    tx.write(
        "insert into in_hand (source, incarnation, partition, number, event, found) values ($1, $2, $3, $4, -1, 0)
         on conflict (source, incarnation, partition, number) do nothing",
        &key,
    )?;
    let found = tx.read(
        "select event, found from in_hand
         where source = $1 and incarnation = $2 and partition = $3 and number = $4",
        &key,
        |row| Ok(Marker { event: row.int(0)?, found: row.int(1)? }),
    )?;
    found.into_iter().next().ok_or_else(|| StoreError::Statement("the marker is missing".to_owned()))
}

/// Puts one event in hand, or another one.
pub(super) fn put(tx: &Tx<'_>, line: &Line, number: i64, marker: Marker) -> Result<(), StoreError> {
    let [source, incarnation, partition, number] = key(line, number);
    tx.write(
        "update in_hand set event = $1, found = $2
         where source = $3 and incarnation = $4 and partition = $5 and number = $6",
        &[marker.event.into(), marker.found.into(), source, incarnation, partition, number],
    )?;
    Ok(())
}

/// Moves a marker on in the commit of what it stood for.
pub(super) fn advance(tx: &Tx<'_>, hand: &Hand) -> Result<(), StoreError> {
    match hand.next {
        Some(event) => put(tx, &hand.line, hand.number, Marker { event, found: 0 }),
        None => {
            tx.write(
                "delete from in_hand where source = $1 and incarnation = $2 and partition = $3 and number = $4",
                &key(&hand.line, hand.number),
            )?;
            Ok(())
        }
    }
}

fn key(line: &Line, number: i64) -> [Value<'_>; 4] {
    [line.source.name().into(), line.incarnation.as_bytes().into(), i64::from(line.partition.0).into(), number.into()]
}
