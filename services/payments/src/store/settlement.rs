//! What humans settled, by the request that brought it.

use spillway_proto::OrderId;
use spillway_proto::time::{self, Timestamp};
use spillway_shared::ledger::{StoreError, Tx, Value};
use uuid::Uuid;

use crate::domain::Settle;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub request_id: Uuid,
    pub order: OrderId,
    pub settled_as: String,
    pub provider_reference: String,
    pub reason: String,
    pub at: Timestamp,
}

impl Settlement {
    pub fn of(settle: &Settle, at: Timestamp) -> Self {
        Settlement {
            request_id: settle.request_id,
            order: settle.order,
            settled_as: settle.settle_as.name().to_owned(),
            provider_reference: settle.provider_reference.clone(),
            reason: settle.reason.clone(),
            at,
        }
    }

    /// Whether it says the same, whenever it did.
    pub fn is_like(&self, other: &Settlement) -> bool {
        let Settlement { request_id, order, settled_as, provider_reference, reason, at: _ } = other;
        self.request_id == *request_id
            && self.order == *order
            && self.settled_as == *settled_as
            && self.provider_reference == *provider_reference
            && self.reason == *reason
    }
}

/// What a request settled.
pub fn settlement(tx: &Tx<'_>, request_id: Uuid) -> Result<Option<Settlement>, StoreError> {
    let found = tx.read(
        "select order_id, settled_as, provider_reference, reason, settle_us from settlement where request_id = $1",
        &[Value::Blob(request_id.as_bytes())],
        |row| {
            Ok(Settlement {
                request_id,
                order: OrderId::from_bytes(&row.blob(0)?).ok_or_else(|| row.nonsense("order_id"))?,
                settled_as: row.text(1)?,
                provider_reference: row.text(2)?,
                reason: row.text(3)?,
                at: time::from_micros(row.int(4)?),
            })
        },
    )?;
    Ok(found.into_iter().next())
}

pub(super) fn insert(tx: &Tx<'_>, settled: &[Settlement]) -> Result<(), StoreError> {
    tx.write_each(
        "insert into settlement (request_id, order_id, settled_as, provider_reference, reason, settle_us)
         values ($1, $2, $3, $4, $5, $6)",
        settled.iter().map(|settlement| {
            [
                Value::Blob(settlement.request_id.as_bytes()),
                settlement.order.as_bytes().into(),
                settlement.settled_as.as_str().into(),
                settlement.provider_reference.as_str().into(),
                settlement.reason.as_str().into(),
                time::to_micros(settlement.at).into(),
            ]
        }),
    )?;
    Ok(())
}
