//! What the provider answered of an order, read back.

use spillway_proto::OrderId;
use spillway_proto::time::{self, Timestamp};
use spillway_shared::ledger::{StoreError, Tx};

/// An answer that settled something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Of the charge or of a refund, 16 bytes.
    pub charge_id: Vec<u8>,
    /// Its class, such as `APPROVED`.
    pub outcome: String,
    pub code: Option<String>,
    pub at: Timestamp,
}

/// Every answer that was recorded of an order, oldest first.
pub fn answers(tx: &Tx<'_>, order: OrderId) -> Result<Vec<Recorded>, StoreError> {
    tx.read(
        "select charge_id, outcome, code, answer_us from answer where order_id = $1 order by answer_us",
        &[order.as_bytes().into()],
        |row| {
            let at = time::from_micros(row.int(3)?);
            Ok(Recorded { charge_id: row.blob(0)?, outcome: row.text(1)?, code: row.opt_text(2)?, at })
        },
    )
}
