//! Which due rows were in hand when a process died: markers, committed before the work on a row begins. And which calls.
//!
//! After an end that was not clean, rows that were due before the start are worked off as ever, each under a marker. A
//! row whose marker a start finds is a suspect: it is worked off alone, under a marker that says so. One whose marker is
//! found so at [`FINDS`] starts is set aside: the row stays, due never, and what it is about becomes a dead letter. Work
//! waits for the world, so a kill from outside often finds some in hand: that is why being found in company counts for
//! nothing, and only makes a suspect.

use bytes::Bytes;
use spillway_proto::time::{self, Timestamp};

use super::error::StoreError;
use super::says::{Due, Says};
use super::tx::{Tx, Value};

/// A row that is found alone in hand at so many starts is set aside: once may be bad luck.
pub(super) const FINDS: i64 = 2;

/// The kind of the markers of calls, whose keys are the ids of commands. No due work is of this kind.
pub(super) const CALL: &str = "call";

/// When a row is due that is set aside: never. Unix time in microseconds of the year 9999.
pub const SET_ASIDE_US: i64 = 253_370_764_800_000_000;

/// The markers, and what dead letters of due work have that messages have not.
pub(super) const TABLES: &str = "
     create table due_in_hand (
         kind text not null,
         key blob not null,
         alone integer not null,
         found integer not null,
         primary key (kind, key)
     ) without rowid;
     alter table dead_letter add column due_kind text not null default '';
     alter table dead_letter add column due_key blob;
     create index dead_letter_due on dead_letter (due_kind, due_key) where due_kind <> '';";

/// A row, or a call, under a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DueHand {
    pub kind: &'static str,
    pub key: Bytes,
}

impl DueHand {
    pub fn of(due: &Due) -> Self {
        DueHand { kind: due.kind, key: due.key.clone() }
    }
}

/// A marker that a start found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub kind: String,
    pub key: Bytes,
    /// Starts at which it was found alone in hand.
    pub found: i64,
}

/// Reads what the run before left, and counts what it had in hand alone. A clean end forgives calls: what comes after it may
/// be another build.
pub(super) fn begin(tx: &Tx<'_>, was_unclean: bool) -> Result<Vec<Found>, StoreError> {
    let kept = if was_unclean { CALL } else { "" };
    tx.write(
        "delete from due_in_hand where kind <> $1 and not exists (
             select 1 from due where due.kind = due_in_hand.kind and due.key = due_in_hand.key)",
        &[kept.into()],
    )?;
    tx.write("update due_in_hand set found = found + alone, alone = 0", &[])?;
    tx.read("select kind, key, found from due_in_hand order by found desc, kind, key", &[], |row| {
        Ok(Found { kind: row.text(0)?, key: row.blob(1)?.into(), found: row.int(2)? })
    })
}

/// Puts a row in hand, in company or alone. An older marker stays, and keeps its count.
pub(super) fn put(tx: &Tx<'_>, hand: &DueHand, alone: bool) -> Result<(), StoreError> {
    tx.write(
        "insert into due_in_hand (kind, key, alone, found) values ($1, $2, $3, 0)
         on conflict (kind, key) do update set alone = excluded.alone",
        &[Value::Text(hand.kind), Value::Blob(&hand.key), i64::from(alone).into()],
    )?;
    Ok(())
}

/// A row that was set aside is due at once, and suspected as before: once more, and it is set aside again. False where
/// there is none: its work was decided otherwise.
pub(super) fn take_up(tx: &Tx<'_>, hand: &DueHand, at: Timestamp) -> Result<bool, StoreError> {
    let (kind, key) = (Value::Text(hand.kind), Value::Blob(&hand.key));
    let is_there = tx.write(
        "update due set due_us = $1 where kind = $2 and key = $3 and due_us = $4",
        &[time::to_micros(at).into(), kind, key, SET_ASIDE_US.into()],
    )? > 0;
    if is_there {
        tx.write(
            "insert into due_in_hand (kind, key, alone, found) values ($1, $2, 0, $3)
             on conflict (kind, key) do update set found = excluded.found",
            &[kind, key, (FINDS - 1).into()],
        )?;
    }
    Ok(is_there)
}

/// Takes markers away, in the commit of what they stood for.
pub(super) fn done<'h>(tx: &Tx<'_>, hands: impl Iterator<Item = &'h DueHand>) -> Result<(), StoreError> {
    tx.write_each(
        "delete from due_in_hand where kind = $1 and key = $2",
        hands.map(|hand| [Value::Text(hand.kind), Value::Blob(&hand.key)]),
    )?;
    Ok(())
}

/// The row, as it is now.
pub(super) fn row(tx: &Tx<'_>, hand: &DueHand) -> Result<Option<Due>, StoreError> {
    let rows = tx.read(
        "select due_us, attempt, payload from due where kind = $1 and key = $2",
        &[Value::Text(hand.kind), Value::Blob(&hand.key)],
        |row| {
            let (at, attempt, payload) = (time::from_micros(row.int(0)?), row.int(1)?, row.blob(2)?.into());
            Ok(Due { kind: hand.kind, key: hand.key.clone(), at, attempt, payload })
        },
    )?;
    Ok(rows.into_iter().next())
}

/// Sets a row aside, unless a commit has moved or ended it meanwhile. Whether it did.
pub(super) fn set_aside(tx: &Tx<'_>, says: &mut Says, due: &Due) -> Result<bool, StoreError> {
    let hand = DueHand::of(due);
    let is_changed = says.due.iter().any(|change| change.row() == (due.kind, &due.key));
    done(tx, std::iter::once(&hand))?;
    let is_same = |row: Due| (time::to_micros(row.at), row.attempt) == (time::to_micros(due.at), due.attempt);
    if is_changed || !row(tx, &hand)?.is_some_and(is_same) {
        return Ok(false);
    }
    says.due(Due { at: time::from_micros(SET_ASIDE_US), ..due.clone() });
    Ok(true)
}

/// As operators see a key.
pub(super) fn key_text(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
