//! The tables that every ledger has, and how schemas grow.

use super::error::StoreError;
use super::tx::{Tx, Value};
use spillway_proto::time::{self, Timestamp};

/// A step in the growth of a schema: a name for people, and a script. Steps are only ever added at the end.
pub type Migration = (&'static str, &'static str);

/// The tables of the machine room.
pub(super) const LEDGER: &[Migration] = &[
    (
        "ledger",
        "create table ledger (
         one integer primary key check (one = 1),
         name text not null,
         incarnation blob not null,
         partitions integer not null,
         created_us integer not null
     );
     create table lease (
         partition integer primary key,
         epoch integer not null,
         holder text not null,
         taken_us integer not null
     );
     create table head (
         incarnation blob not null,
         partition integer not null,
         number integer not null,
         relayed integer not null,
         closed integer not null default 0,
         primary key (incarnation, partition)
     );
     create table outbox (
         id integer primary key,
         incarnation blob not null,
         partition integer not null,
         number integer,
         events integer not null,
         time_us integer not null,
         body blob not null
     );
     create unique index outbox_number on outbox (partition, number, incarnation);
     create index outbox_unnumbered on outbox (id) where number is null;
     create table inbox_mark (
         source text not null,
         incarnation blob not null,
         partition integer not null,
         number integer not null,
         time_us integer not null,
         primary key (source, incarnation, partition)
     );
     create table inbox_above (
         source text not null,
         incarnation blob not null,
         partition integer not null,
         number integer not null,
         primary key (source, incarnation, partition, number)
     );
     create table listener_mark (
         listener text not null,
         listener_partition integer not null,
         incarnation blob not null,
         partition integer not null,
         number integer not null,
         heard_us integer not null,
         told_us integer not null,
         primary key (listener, listener_partition, incarnation, partition)
     );
     create table due (
         kind text not null,
         key blob not null,
         due_us integer not null,
         attempt integer not null,
         payload blob not null,
         primary key (kind, key)
     ) without rowid;
     create index due_time on due (kind, due_us);
     create table dead_letter (
         id blob primary key,
         shop text not null,
         source text not null,
         incarnation blob,
         partition integer,
         number integer,
         cause text not null,
         error text not null,
         fingerprint text not null,
         body blob not null,
         count integer not null,
         first_us integer not null,
         last_us integer not null,
         state text not null
     );
     create index dead_letter_fingerprint on dead_letter (fingerprint);",
    ),
    (
        "operators",
        "create table pause (
         flow text primary key,
         reason text not null,
         paused_by text not null,
         since_us integer not null
     );
     create table setting (
         name text primary key,
         value text not null,
         reason text not null,
         set_by text not null,
         since_us integer not null
     );
     create table operator_act (
         request_id blob primary key,
         what text not null,
         at_us integer not null
     );
     create table incident (
         kind text not null,
         source text not null,
         partition integer not null,
         first_us integer not null,
         last_us integer not null,
         count integer not null,
         primary key (kind, source, partition)
     );",
    ),
    ("dead letters with their origin", DEAD_LETTERS),
    ("what was in hand", super::in_hand::TABLES),
    ("what due work was in hand", super::due_in_hand::TABLES),
];

/// What operators see of dead letters, and what was done about them.
const DEAD_LETTERS: &str = "
     alter table dead_letter add column whole integer not null default 0;
     alter table dead_letter add column stream text not null default '';
     alter table dead_letter add column headers text not null default '';
     alter table dead_letter add column event_id text not null default '';
     alter table dead_letter add column event_type text not null default '';
     alter table dead_letter add column subject text not null default '';
     alter table dead_letter add column traceparent text not null default '';
     alter table dead_letter add column outcome text not null default '';
     alter table dead_letter add column reason text not null default '';
     alter table dead_letter add column acted_us integer;
     alter table dead_letter add column tried_by text not null default '';
     create index dead_letter_state on dead_letter (state, fingerprint, id);
     create index dead_letter_subject on dead_letter (subject, id) where subject <> '';
     create index dead_letter_number on dead_letter (source, incarnation, partition, number) where whole = 1;";

/// Brings a schema up to date. Answers an error that tells the two versions where the schema is newer than this build.
pub(super) fn migrate(
    tx: &Tx<'_>,
    owner: &str,
    migrations: &[Migration],
    at: Timestamp,
) -> Result<Result<(), String>, StoreError> {
    tx.script(
        "create table if not exists schema_migration (
             owner text not null,
             version integer not null,
             name text not null,
             applied_us integer not null,
             primary key (owner, version)
         )",
    )?;
    let done = tx.read(
        "select version, name from schema_migration where owner = $1 order by version",
        &[Value::Text(owner)],
        |row| Ok((row.int(0)?, row.text(1)?)),
    )?;
    if done.len() > migrations.len() {
        return Ok(Err(format!("{owner} {}", done.len())));
    }
    for (index, (name, script)) in migrations.iter().enumerate() {
        if let Some((_, known)) = done.get(index) {
            if known != name {
                return Ok(Err(format!("{owner} {known:?} where this build has {name:?}")));
            }
            continue;
        }
        tx.script(script)?;
        let version = i64::try_from(index + 1).expect("few migrations");
        tx.write(
            "insert into schema_migration (owner, version, name, applied_us) values ($1, $2, $3, $4)",
            &[Value::Text(owner), version.into(), Value::Text(name), time::to_micros(at).into()],
        )?;
    }
    Ok(Ok(()))
}
