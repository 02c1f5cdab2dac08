//! What is measured of payments that are not settled. The states stand there as in the partial index, so that nothing
//! settled is looked at.

use spillway_proto::time::{self, Timestamp};
use spillway_shared::ledger::{StoreError, Tx};

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// A call went out whose end is not known.
    pub unknown: i64,
    /// Since when that is so of the oldest of them.
    pub oldest: Option<Timestamp>,
    /// They wait for a person.
    pub parked: i64,
}

/// All of a ledger.
pub fn unsettled(tx: &Tx<'_>) -> Result<Unsettled, StoreError> {
    // Rows of before there was a column for it have the time of their last change.
    let unknown = tx.read(
        "select count(*), min(coalesce(unknown_us, update_us)) from payment
         where state in ('UNKNOWN', 'PENDING', 'PARKED', 'COMPENSATING')
             and (state = 'UNKNOWN' or state = 'COMPENSATING' and sent_us is not null)",
        &[],
        |row| Ok((row.int(0)?, row.opt_int(1)?)),
    )?;
    let parked = tx.read(
        "select count(*) from payment
         where state in ('UNKNOWN', 'PENDING', 'PARKED', 'COMPENSATING') and state = 'PARKED'",
        &[],
        |row| row.int(0),
    )?;
    let (unknown, oldest_us) = unknown.into_iter().next().unwrap_or_default();
    Ok(Unsettled { unknown, oldest: oldest_us.map(time::from_micros), parked: parked.into_iter().sum() })
}
