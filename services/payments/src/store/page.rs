//! What operators look at: payments that are not settled, a page at a time, and the work that is due for one.

use spillway_proto::time::{self, Timestamp};
use spillway_shared::ledger::{SET_ASIDE_US, StoreError, Tx, Value};

use super::{COLUMNS, payment};
use crate::domain::{Payment, Task};

/// Which payments are meant. Without any of them: all that are not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Whether a call was carried out is not known.
    pub unknown: bool,
    /// A human must settle it.
    pub parked: bool,
    /// The order is over, and money is or may be ours.
    pub open: bool,
}

/// Payments after an order, by order, up to so many.
pub fn page(
    tx: &Tx<'_>,
    shop: &str,
    filter: Filter,
    after: &[u8],
    limit: i64,
) -> Result<Vec<(Payment, Option<Due>)>, StoreError> {
    let is_any = filter == Filter::default();
    let [unknown, parked, open] = [filter.unknown, filter.parked, filter.open].map(|is| i64::from(is || is_any));
    // The states stand there as in the partial index, so that nothing settled is looked at.
    let sql = format!(
        "select {COLUMNS} from payment
         where state in ('UNKNOWN', 'PENDING', 'PARKED', 'COMPENSATING')
             and shop = $1 and order_id > $2
             and ($3 = 1 and (state in ('UNKNOWN', 'PENDING') or state = 'COMPENSATING' and sent_us is not null)
                  or $4 = 1 and state = 'PARKED'
                  or $5 = 1 and ended_us is not null)
         order by order_id limit $6"
    );
    let values = [Value::Text(shop), Value::Blob(after), unknown.into(), parked.into(), open.into(), Value::Int(limit)];
    let payments = tx.read(&sql, &values, payment)?;
    payments
        .into_iter()
        .map(|payment| {
            let due = due(tx, &payment)?;
            Ok((payment, due))
        })
        .collect()
}

/// The work that is due for a payment next.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    pub task: Task,
    pub at: Timestamp,
    /// Which try it will be, from 1.
    pub tries: i64,
}

/// What is due first for a payment: its charge or the way back. `None` also where it is set aside, and where this build
/// cannot read it.
pub fn due(tx: &Tx<'_>, payment: &Payment) -> Result<Option<Due>, StoreError> {
    let key = payment.order.as_bytes();
    let rows = tx.read_each(
        "select kind, due_us, attempt, payload from due where kind = $1 and key = $2 and due_us < $3",
        ["charge", "refund"].map(|kind| [Value::Text(kind), Value::Blob(key), SET_ASIDE_US.into()]),
        |row| {
            let task = Task::decode(&row.text(0)?, key, row.blob(3)?.into()).ok();
            let (at, tries) = (time::from_micros(row.int(1)?), row.int(2)?);
            Ok(task.map(|task| Due { task, at, tries }))
        },
    )?;
    Ok(rows.into_iter().flatten().min_by_key(|due| due.at))
}

/// Charges that have been due for longer than since `at`: what goes before it.
pub fn ahead(tx: &Tx<'_>, at: Timestamp) -> Result<u64, StoreError> {
    let count = tx.read(
        "select count(*) from due where kind = 'charge' and due_us < $1",
        &[time::to_micros(at).into()],
        |row| row.int(0),
    )?;
    Ok(count.into_iter().next().and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}
