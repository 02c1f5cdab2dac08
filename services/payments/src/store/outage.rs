//! Outages of the provider, so that a restart in the middle of one is not taken for another, and what waits for their
//! end.

use bytes::Bytes;
use spillway_proto::OrderId;
use spillway_proto::time::{self, Timestamp};
use spillway_shared::ledger::{SET_ASIDE_US, StoreError, Tx, Value};

/// An outage begins. Said again it changes nothing.
pub fn begun(tx: &Tx<'_>, since: Timestamp) -> Result<(), StoreError> {
    tx.write(
        "insert into outage (since_us) values ($1) on conflict (since_us) do nothing",
        &[time::to_micros(since).into()],
    )?;
    Ok(())
}

/// All outages are over.
pub fn ended(tx: &Tx<'_>, at: Timestamp) -> Result<(), StoreError> {
    tx.write("update outage set until_us = $1 where until_us is null", &[time::to_micros(at).into()])?;
    Ok(())
}

/// When the outage began that is not known to be over.
pub fn open_outage(tx: &Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    let since = tx.read("select min(since_us) from outage where until_us is null", &[], |row| row.opt_int(0))?;
    Ok(since.into_iter().flatten().next().map(time::from_micros))
}

/// An order that waits for the provider and has not been told so in this outage.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    pub order: OrderId,
    pub due: Timestamp,
    /// Its due work, as the row keeps it.
    pub payload: Bytes,
}

/// Orders whose charge is due at or after a time, earliest first, and that have not been told of this outage: up to
/// `limit` of them.
pub fn waiting(tx: &Tx<'_>, from: Timestamp, outage: Timestamp, limit: i64) -> Result<Vec<Waiting>, StoreError> {
    tx.read(
        "select due.key, due.due_us, due.payload
         from due join payment on payment.order_id = due.key
         where due.kind = 'charge' and due.due_us >= $1
             and payment.state in ('CHARGING', 'UNKNOWN', 'PENDING') and payment.ended_us is null
             and (payment.deferred_us is null or payment.deferred_us < $2) and due.due_us < $3
         order by due.due_us limit $4",
        &[time::to_micros(from).into(), time::to_micros(outage).into(), SET_ASIDE_US.into(), Value::Int(limit)],
        |row| {
            Ok(Waiting {
                order: OrderId::from_bytes(&row.blob(0)?).ok_or_else(|| row.nonsense("key"))?,
                due: time::from_micros(row.int(1)?),
                payload: row.blob(2)?.into(),
            })
        },
    )
}
