//! Messages that could not be taken, kept with their bytes, their error and their origin; and due rows that were set
//! aside.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use spillway_proto::batch::BatchNumber;
use spillway_proto::envelope::{self, Remains};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{DEFAULT_SHOP, Ledger, LedgerId, ids};

use super::commit::Position;
use super::due_in_hand;
use super::error::StoreError;
use super::fingerprint;
use super::inbox::Line;
use super::says::Due;
use super::service::{AboutDue, Cause, Heard, Origin};
use super::spec::Identity;
use super::tx::{Tx, Value};

/// A message, or one event of a batch, that could not be taken.
#[derive(Clone)]
pub(super) struct DeadLetter {
    /// Where its event stands in the group; `None` of a message that could not be read at all.
    pub at: Option<Position>,
    pub source: Ledger,
    pub number: Option<BatchNumber>,
    pub cause: Cause,
    pub error: String,
    pub body: Bytes,
    /// The body is a whole message, and not one event of a batch.
    pub whole: bool,
    /// Another copy of it was taken: it is noted, and nobody need do anything about it.
    pub resolved: bool,
    pub origin: Option<Arc<dyn Origin>>,
    /// It was asked for: the outbox's own copy.
    pub asked: bool,
}

impl DeadLetter {
    /// Of a whole message, or of one event of it.
    pub fn of<I>(heard: &Heard<I>, cause: Cause, error: &str, body: &Bytes, whole: bool) -> Self {
        DeadLetter {
            at: None,
            source: heard.source,
            number: heard.number,
            cause,
            error: error.to_owned(),
            body: body.clone(),
            whole,
            resolved: false,
            origin: heard.origin.clone(),
            asked: heard.asked,
        }
    }

    /// The same message of the same source is the same dead letter of a ledger, however often it comes: a batch by its
    /// number, since its copies may be damaged in different ways; anything else by its bytes.
    fn id(&self, own: LedgerId) -> uuid::Uuid {
        let what = match &self.number {
            Some(number) if self.whole => number.message_id(),
            Some(_) | None => Sha256::digest(&self.body).iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        ids::named("dead-letter", &format!("{own}/{}/{what}", self.source))
    }

    fn stream(&self) -> String {
        match &self.origin {
            Some(origin) => origin.stream().to_owned(),
            None if self.asked => "outbox".to_owned(),
            None => String::new(),
        }
    }

    /// The headers that it came with, as a JSON array of pairs.
    fn headers(&self) -> String {
        let headers = self.origin.as_ref().map(|origin| origin.headers()).unwrap_or_default();
        serde_json::to_string(&headers).unwrap_or_default()
    }
}

/// Writes dead letters down; one that is there already is counted, and has the newest error and bytes.
pub(super) fn write(tx: &Tx<'_>, own: &Identity, letters: &[DeadLetter], at: Timestamp) -> Result<(), StoreError> {
    for letter in letters {
        let left = if letter.whole { Remains::default() } else { envelope::remains(letter.body.clone()) };
        write_one(tx, own, letter, &left, time::to_micros(at))?;
    }
    Ok(())
}

fn write_one(tx: &Tx<'_>, own: &Identity, letter: &DeadLetter, left: &Remains, at_us: i64) -> Result<(), StoreError> {
    let (id, cause, source) = (letter.id(own.id), letter.cause.name(), letter.source.name());
    let fingerprint = fingerprint::of(cause, source, &left.type_name, &letter.error);
    let shop = if left.shop.is_empty() { DEFAULT_SHOP } else { &left.shop };
    let (stream, headers) = (letter.stream(), letter.headers());
    let number = letter.number.as_ref();
    tx.write(
        "insert into dead_letter (id, shop, source, incarnation, partition, number, cause, error, fingerprint,
                                  body, count, first_us, last_us, state, whole, stream, headers, event_id,
                                  event_type, subject, traceparent, tried_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
         on conflict (id) do update set count = dead_letter.count + 1, last_us = excluded.last_us,
             cause = excluded.cause, error = excluded.error, fingerprint = excluded.fingerprint, body = excluded.body,
             tried_by = excluded.tried_by",
        &[
            id.as_bytes().into(),
            Value::Text(shop),
            source.into(),
            number.map(|n| Value::Blob(n.incarnation.as_bytes())).into(),
            number.map(|n| i64::from(n.partition.0)).into(),
            number.map(|n| n.number).into(),
            cause.into(),
            letter.error.as_str().into(),
            fingerprint.as_str().into(),
            (&letter.body[..]).into(),
            at_us.into(),
            if letter.resolved { "RESOLVED" } else { "DEAD" }.into(),
            i64::from(letter.whole).into(),
            stream.as_str().into(),
            headers.as_str().into(),
            left.id.as_str().into(),
            left.type_name.as_str().into(),
            left.subject.as_str().into(),
            left.traceparent.as_str().into(),
            own.build.as_str().into(),
        ],
    )?;
    Ok(())
}

/// Writes down that a due row was set aside: the same row is the same dead letter, however often it is.
pub(super) fn write_due(
    tx: &Tx<'_>,
    own: &Identity,
    due: &Due,
    about: &AboutDue,
    (cause, error): (Cause, &str),
    at: Timestamp,
) -> Result<(), StoreError> {
    let key = due_in_hand::key_text(&due.key);
    let id = ids::named("dead-letter", &format!("{}/due/{}/{key}", own.id, due.kind));
    let source = own.id.ledger.name();
    let fingerprint = fingerprint::of(cause.name(), source, &format!("due {}", due.kind), error);
    let shop = if about.shop.is_empty() { DEFAULT_SHOP } else { &about.shop };
    let subject = about.subject.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut input = vec![("due", due.at.to_string()), ("attempt", due.attempt.to_string())];
    input.extend(about.input.iter().cloned());
    let input = serde_json::to_string(&input).unwrap_or_default();
    tx.write(
        "insert into dead_letter (id, shop, source, cause, error, fingerprint, body, count, first_us, last_us, state,
                                  headers, subject, traceparent, tried_by, due_kind, due_key)
         values ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8, 'DEAD', $9, $10, $11, $12, $13, $14)
         on conflict (id) do update set count = dead_letter.count + 1, last_us = excluded.last_us, state = 'DEAD',
             cause = excluded.cause, error = excluded.error, fingerprint = excluded.fingerprint, body = excluded.body,
             headers = excluded.headers, tried_by = excluded.tried_by",
        &[
            id.as_bytes().into(),
            Value::Text(shop),
            source.into(),
            cause.name().into(),
            error.into(),
            fingerprint.as_str().into(),
            (&due.payload[..]).into(),
            time::to_micros(at).into(),
            input.as_str().into(),
            subject.as_str().into(),
            about.traceparent.as_str().into(),
            own.build.as_str().into(),
            due.kind.into(),
            (&due.key[..]).into(),
        ],
    )?;
    Ok(())
}

/// The work of these rows, which were set aside, is decided otherwise: their dead letters need nobody any more. Answers
/// how many there were.
pub(super) fn resolve_due<'d>(
    tx: &Tx<'_>,
    decided: impl Iterator<Item = (&'static str, &'d Bytes)>,
    at: Timestamp,
) -> Result<usize, StoreError> {
    tx.write_each(
        "update dead_letter set state = 'RESOLVED', outcome = 'its work was decided otherwise', acted_us = $1
         where due_kind = $2 and due_key = $3 and due_kind <> '' and state = 'DEAD'",
        decided.map(|(kind, key)| [time::to_micros(at).into(), Value::Text(kind), Value::Blob(key)]),
    )
}

/// The keys of rows that are set aside.
pub(super) fn set_aside(tx: &Tx<'_>) -> Result<HashSet<Bytes>, StoreError> {
    let sql = "select due_key from dead_letter where due_kind <> '' and state = 'DEAD'";
    let keys = tx.read(sql, &[], |row| Ok(Bytes::from(row.blob(0)?)))?;
    Ok(keys.into_iter().collect())
}

/// Good copies of these batches are taken in this commit: the dead letters of bad ones need nobody any more. Answers how
/// many there were.
pub(super) fn resolve(tx: &Tx<'_>, taken: &[(Line, i64)], at: Timestamp) -> Result<usize, StoreError> {
    tx.write_each(
        "update dead_letter set state = 'RESOLVED', outcome = 'a good copy of the batch was taken', acted_us = $1
         where source = $2 and incarnation = $3 and partition = $4 and number = $5 and whole = 1 and state = 'DEAD'
             and cause = 'UNDECODABLE'",
        taken.iter().map(|(line, number)| {
            [
                time::to_micros(at).into(),
                line.source.name().into(),
                line.incarnation.as_bytes().into(),
                i64::from(line.partition.0).into(),
                (*number).into(),
            ]
        }),
    )
}

/// Whether there are bad copies of batches that a good one may still make up for.
pub(super) fn any_unread(tx: &Tx<'_>) -> Result<bool, StoreError> {
    let found = tx.read(
        "select 1 from dead_letter
         where whole = 1 and state = 'DEAD' and cause = 'UNDECODABLE' and number is not null limit 1",
        &[],
        |row| row.int(0),
    )?;
    Ok(!found.is_empty())
}
