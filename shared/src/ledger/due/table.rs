//! The due rows in the table.

use spillway_proto::time::{self, Timestamp};

use crate::ledger::due_in_hand::SET_ASIDE_US;
use crate::ledger::error::StoreError;
use crate::ledger::says::{Due, DueChange};
use crate::ledger::tx::{Tx, Value};

/// Writes the changes of a commit, in their order.
pub(in crate::ledger) fn write(tx: &Tx<'_>, changes: &[DueChange]) -> Result<(), StoreError> {
    for change in changes {
        match change {
            DueChange::Set(due) => tx.write(
                "insert into due (kind, key, due_us, attempt, payload) values ($1, $2, $3, $4, $5)
                 on conflict (kind, key)
                 do update set due_us = excluded.due_us, attempt = excluded.attempt, payload = excluded.payload",
                &[
                    Value::Text(due.kind),
                    Value::Blob(&due.key),
                    time::to_micros(due.at).into(),
                    due.attempt.into(),
                    Value::Blob(&due.payload),
                ],
            )?,
            DueChange::Done { kind, key } => {
                tx.write("delete from due where kind = $1 and key = $2", &[Value::Text(kind), Value::Blob(key)])?
            }
        };
    }
    Ok(())
}

/// When a row is due, and as which attempt; `None` where there is no such row, or it is set aside.
pub fn due_at(tx: &Tx<'_>, kind: &str, key: &[u8]) -> Result<Option<(Timestamp, i64)>, StoreError> {
    let rows = tx.read(
        "select due_us, attempt from due where kind = $1 and key = $2 and due_us < $3",
        &[Value::Text(kind), Value::Blob(key), SET_ASIDE_US.into()],
        |row| Ok((time::from_micros(row.int(0)?), row.int(1)?)),
    )?;
    Ok(rows.into_iter().next())
}

/// The rows of a kind that are due, earliest first, and the time of the first that is not yet due.
pub(in crate::ledger) fn read(
    tx: &Tx<'_>,
    kind: &'static str,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<Due>, Option<Timestamp>), StoreError> {
    let now_us = time::to_micros(now);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = tx.read(
        "select key, due_us, attempt, payload from due where kind = $1 and due_us <= $2 order by due_us limit $3",
        &[Value::Text(kind), now_us.into(), limit.into()],
        |row| {
            let (at, attempt) = (time::from_micros(row.int(1)?), row.int(2)?);
            Ok(Due { kind, key: row.blob(0)?.into(), at, attempt, payload: row.blob(3)?.into() })
        },
    )?;
    let next = tx.read(
        "select min(due_us) from due where kind = $1 and due_us > $2 and due_us < $3",
        &[Value::Text(kind), now_us.into(), SET_ASIDE_US.into()],
        |row| row.opt_int(0),
    )?;
    Ok((rows, next.into_iter().flatten().next().map(time::from_micros)))
}
