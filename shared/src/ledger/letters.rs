//! The dead letters of a ledger, as operators see them; and putting them away.

use std::collections::BTreeMap;

use spillway_proto::pb::events as v1;
use spillway_proto::pb::ops::dead_letter::{Cause as WireCause, State};
use spillway_proto::pb::ops::{DeadLetter, DeadLetterChoice, DeadLetterGroup, DeadLetterHeader, GetDeadLetterResponse};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{LedgerId, NewEvent, Subject};
use uuid::Uuid;

use super::due_in_hand::key_text;
use super::error::StoreError;
use super::redrive::{read_id, read_number};
use super::says::Says;
use super::tx::{Row, Tx, Value};

/// How long dead letters of a newer kind wait for their build before somebody should look.
const NEWER_PATIENCE_US: i64 = 24 * 60 * 60 * 1_000_000;

/// Bytes of a body that are shown.
const SHOWN_BYTES: usize = 512 << 10;

const COLUMNS: &str = "id, state, cause, fingerprint, error, source, incarnation, partition, number, stream, whole, \
                       event_id, event_type, subject, traceparent, count, first_us, last_us, length(body), outcome, \
                       reason, acted_us, due_kind, due_key";

fn read(row: &Row<'_>, own: LedgerId) -> Result<DeadLetter, StoreError> {
    let number = read_number(row, 6)?;
    let at = |us: i64| Some(time::to_wire(time::from_micros(us)));
    Ok(DeadLetter {
        dead_letter_id: read_id(row, 0)?.to_string(),
        ledger: own.ledger.name().to_owned(),
        partition: own.partition.0.into(),
        state: state_of(&row.text(1)?) as i32,
        cause: cause_of(&row.text(2)?) as i32,
        fingerprint: row.text(3)?,
        error: row.text(4)?,
        source: row.text(5)?,
        incarnation: number.map(|number| number.incarnation.to_string()).unwrap_or_default(),
        number: number.map_or(0, |number| number.number),
        stream: row.text(9)?,
        whole_message: row.int(10)? == 1,
        event_id: row.text(11)?,
        event_type: row.text(12)?,
        subject: row.text(13)?,
        traceparent: row.text(14)?,
        count: row.int(15)?,
        first_seen_time: at(row.int(16)?),
        last_seen_time: at(row.int(17)?),
        body_bytes: row.int(18)?,
        outcome: row.text(19)?,
        reason: row.text(20)?,
        act_time: row.opt_int(21)?.and_then(at),
        due_kind: row.text(22)?,
        due_key: row.opt_blob(23)?.map(|key| key_text(&key)).unwrap_or_default(),
    })
}

fn state_of(name: &str) -> State {
    State::from_str_name(&format!("STATE_{name}")).unwrap_or_default()
}

/// A cause by its name in the column.
pub fn cause_of(name: &str) -> WireCause {
    WireCause::from_str_name(&format!("CAUSE_{name}")).unwrap_or_default()
}

/// As the column has it; empty where none is meant.
fn cause_name(cause: WireCause) -> &'static str {
    match cause {
        WireCause::Unspecified => "",
        named => named.as_str_name().trim_start_matches("CAUSE_"),
    }
}

/// As the column has it; what is not said is DEAD.
fn state_name(state: State) -> &'static str {
    match state {
        State::Unspecified => "DEAD",
        named => named.as_str_name().trim_start_matches("STATE_"),
    }
}

/// Which dead letters a page is of.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Empty for all.
    pub fingerprint: String,
    /// Empty for all.
    pub subject: String,
    pub state: State,
}

/// Dead letters by id, after one of them.
pub fn page(
    tx: &Tx<'_>,
    own: LedgerId,
    asked: &Asked,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<DeadLetter>, StoreError> {
    let after = after.unwrap_or_default();
    let sql = |by: &str| {
        format!(
            "select {COLUMNS} from dead_letter where {by} and state = $2 and id > $3 and ($4 = '' or fingerprint = $4)
             order by id limit $5"
        )
    };
    let state = state_name(asked.state);
    let rest = [state.into(), after.as_bytes().into(), asked.fingerprint.as_str().into(), limit.into()];
    let [state, after, fingerprint, limit] = rest;
    if asked.subject.is_empty() {
        return tx.read(&sql("$1 = ''"), &["".into(), state, after, fingerprint, limit], |row| read(row, own));
    }
    // The second condition is the partial index's.
    let by = "subject = $1 and subject <> ''";
    tx.read(&sql(by), &[asked.subject.as_str().into(), state, after, fingerprint, limit], |row| read(row, own))
}

/// Groups by fingerprint, after one of them.
pub fn groups(
    tx: &Tx<'_>,
    own: LedgerId,
    state: State,
    after: &str,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<DeadLetterGroup>, StoreError> {
    let state = state_name(state);
    let mut groups = tx.read(
        "select fingerprint, min(cause), count(*), sum(count), min(first_us), max(last_us) from dead_letter
         where state = $1 and fingerprint > $2 group by fingerprint order by fingerprint limit $3",
        &[state.into(), after.into(), limit.into()],
        |row| {
            let (cause, first_us) = (row.text(1)?, row.int(4)?);
            Ok(DeadLetterGroup {
                ledger: own.ledger.name().to_owned(),
                partition: own.partition.0.into(),
                fingerprint: row.text(0)?,
                alarming: state == "DEAD" && is_alarming(&cause, first_us, now),
                cause: cause_of(&cause) as i32,
                dead_letters: row.int(2)?,
                count: row.int(3)?,
                first_seen_time: Some(time::to_wire(time::from_micros(first_us))),
                last_seen_time: Some(time::to_wire(time::from_micros(row.int(5)?))),
                example: None,
            })
        },
    )?;
    let examples = tx.read_each(
        &format!(
            "select {COLUMNS} from dead_letter where state = $1 and fingerprint = $2 order by last_us desc limit 1"
        ),
        groups.iter().map(|group| [state.into(), group.fingerprint.as_str().into()]).collect::<Vec<[Value<'_>; 2]>>(),
        |row| read(row, own),
    )?;
    for (group, example) in groups.iter_mut().zip(examples) {
        group.example = Some(example);
    }
    Ok(groups)
}

fn is_alarming(cause: &str, first_us: i64, now: Timestamp) -> bool {
    cause != "NEWER" || time::to_micros(now).saturating_sub(first_us) >= NEWER_PATIENCE_US
}

/// One dead letter, with its first bytes and its headers; not decoded.
pub fn one(tx: &Tx<'_>, own: LedgerId, id: Uuid) -> Result<Option<GetDeadLetterResponse>, StoreError> {
    let found = tx.read(
        &format!("select {COLUMNS}, body, headers from dead_letter where id = $1"),
        &[id.as_bytes().into()],
        |row| {
            let mut body = row.blob(24)?;
            body.truncate(SHOWN_BYTES);
            let headers: Vec<(String, String)> = serde_json::from_str(&row.text(25)?).unwrap_or_default();
            let headers = headers.into_iter().map(|(name, value)| DeadLetterHeader { name, value }).collect();
            Ok(GetDeadLetterResponse {
                dead_letter: Some(read(row, own)?),
                body: body.into(),
                headers,
                json: String::new(),
            })
        },
    )?;
    Ok(found.into_iter().next())
}

/// The next dead letters that are meant, by id. None where the choice names nothing, or another ledger.
pub fn chosen(
    tx: &Tx<'_>,
    own: LedgerId,
    choice: &DeadLetterChoice,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<DeadLetter>, StoreError> {
    let cause = cause_name(choice.cause());
    let names_nothing = choice.dead_letter_ids.is_empty() && choice.fingerprint.is_empty() && cause.is_empty();
    if names_nothing || !(choice.ledger.is_empty() || choice.ledger == own.ledger.name()) {
        return Ok(Vec::new());
    }
    let after = after.unwrap_or_default();
    if choice.dead_letter_ids.is_empty() {
        return tx.read(
            &format!(
                "select {COLUMNS} from dead_letter
                 where state = 'DEAD' and id > $1 and ($2 = '' or fingerprint = $2) and ($3 = '' or cause = $3)
                 order by id limit $4"
            ),
            &[after.as_bytes().into(), choice.fingerprint.as_str().into(), cause.into(), limit.into()],
            |row| read(row, own),
        );
    }
    let mut ids: Vec<Uuid> = choice.dead_letter_ids.iter().filter_map(|id| Uuid::try_parse(id).ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut found = tx.read_each(
        &format!(
            "select {COLUMNS} from dead_letter
             where id = $1 and state = 'DEAD' and ($2 = '' or fingerprint = $2) and ($3 = '' or cause = $3)"
        ),
        ids.iter()
            .filter(|id| **id > after)
            .map(|id| [Value::Blob(&id.as_bytes()[..]), choice.fingerprint.as_str().into(), cause.into()]),
        |row| read(row, own),
    )?;
    found.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(found)
}

/// Puts these away for good, and says so.
pub fn discard(
    tx: &Tx<'_>,
    says: &mut Says,
    letters: &[DeadLetter],
    reason: &str,
    at: Timestamp,
) -> Result<i64, StoreError> {
    let meant = letters.iter().filter_map(|letter| Some((Uuid::try_parse(&letter.dead_letter_id).ok()?, letter)));
    let meant: Vec<(Uuid, &DeadLetter)> = meant.collect();
    let ids = || meant.iter().map(|(id, _)| Value::Blob(&id.as_bytes()[..]));
    let shops = tx.read_each("select id, shop from dead_letter where id = $1", ids().map(|id| [id]), |row| {
        Ok((read_id(row, 0)?, row.text(1)?))
    })?;
    let mut shops: BTreeMap<Uuid, String> = shops.into_iter().collect();
    let at_us = time::to_micros(at);
    tx.write_each(
        "update dead_letter set state = 'DISCARDED', reason = $1, acted_us = $2 where id = $3",
        ids().map(|id| [reason.into(), at_us.into(), id]),
    )?;
    for (id, letter) in &meant {
        let cause = cause_name(letter.cause()).to_owned();
        let (fingerprint, reason) = (letter.fingerprint.clone(), reason.to_owned());
        says.event(&NewEvent {
            shop: shops.remove(id).unwrap_or_default(),
            subject: Subject::DeadLetter(*id),
            occurrence: String::new(),
            // Of the event that it is, as with one that is handed in again.
            traceparent: letter.traceparent.clone(),
            event: v1::DeadLetterDiscarded { fingerprint, cause, reason }.into(),
        });
    }
    Ok(i64::try_from(letters.len()).unwrap_or(i64::MAX))
}

/// How many are dead, by cause; and how many of them somebody should look at.
pub fn count(tx: &Tx<'_>, now: Timestamp) -> Result<(Vec<(String, i64)>, i64), StoreError> {
    let by_cause =
        tx.read("select cause, count(*) from dead_letter where state = 'DEAD' group by cause", &[], |row| {
            Ok((row.text(0)?, row.int(1)?))
        })?;
    let old_us = time::to_micros(now).saturating_sub(NEWER_PATIENCE_US);
    let alarming = tx.read(
        "select count(*) from dead_letter where state = 'DEAD' and (cause <> 'NEWER' or first_us <= $1)",
        &[old_us.into()],
        |row| row.int(0),
    )?;
    Ok((by_cause, alarming.into_iter().sum()))
}

/// Dead letters of a newer kind that this build has neither written nor tried.
pub(super) fn untried(tx: &Tx<'_>, build: &str, limit: i64) -> Result<Vec<Uuid>, StoreError> {
    tx.read(
        "select id from dead_letter where state = 'DEAD' and cause = 'NEWER' and tried_by <> $1 order by id limit $2",
        &[build.into(), limit.into()],
        |row| read_id(row, 0),
    )
}

/// These are about to be tried by this build.
pub(super) fn note_tried(tx: &Tx<'_>, build: &str, ids: &[Uuid]) -> Result<(), StoreError> {
    tx.write_each(
        "update dead_letter set tried_by = $1 where id = $2",
        ids.iter().map(|id| [Value::Text(build), Value::Blob(&id.as_bytes()[..])]),
    )?;
    Ok(())
}
