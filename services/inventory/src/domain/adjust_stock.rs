//! An operator or a shop system adds to the stock of a SKU, or takes from it.

use sha2::{Digest, Sha256};
use spillway_proto::pb::events as v1;
use spillway_proto::time::Timestamp;
use uuid::Uuid;

use super::shelf::Shelf;
use super::stock::{MAX_RECEIVED, Stock};

/// The command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdjustStock {
    pub request_id: Uuid,
    pub sku: String,
    /// Units to add, or to take away where negative.
    pub delta: i64,
    /// Why, for the audit trail.
    pub reason: String,
}

/// How the fingerprint is made; another way of making it gets another number.
const FINGERPRINT_VERSION: u8 = 1;

impl AdjustStock {
    /// Tells requests of different content apart: a version, then a SHA-256 over the request.
    pub fn fingerprint(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        for part in [self.sku.as_bytes(), &self.delta.to_be_bytes(), self.reason.as_bytes()] {
            hash.update(u64::try_from(part.len()).expect("a length in memory").to_be_bytes());
            hash.update(part);
        }
        let mut fingerprint = vec![FINGERPRINT_VERSION];
        fingerprint.extend_from_slice(&hash.finalize());
        fingerprint
    }
}

/// The stock as it was adjusted, or as it is where the request was told before.
#[derive(Clone, Debug, PartialEq)]
pub enum Adjusted {
    /// It was adjusted before: nothing is said.
    Before(Stock),
    Now(Stock, v1::StockAdjusted),
}

/// Why the stock was not adjusted. Nothing of it is kept: the same request may succeed later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The request id stands for another adjustment.
    RequestIdReused,
    /// More would go out than is available.
    InsufficientStock { sku: String, available: i64, delta: i64 },
    /// More would come in than is counted.
    StockLimit { sku: String, received: i64, delta: i64 },
}

/// Adjusts the stock of a SKU, once for each request id. `before` is the fingerprint under which the id is known.
pub fn adjust_stock(
    before: Option<&[u8]>,
    command: &AdjustStock,
    shelf: &mut Shelf,
    at: Timestamp,
) -> Result<Adjusted, Refused> {
    let stock = shelf.stock(&command.sku);
    match before {
        Some(fingerprint) if fingerprint == command.fingerprint() => return Ok(Adjusted::Before(stock)),
        Some(_) => return Err(Refused::RequestIdReused),
        None => {}
    }
    let (sku, delta) = (command.sku.clone(), command.delta);
    let Some(adjusted) = stock.adjust(delta) else {
        return Err(if delta < 0 {
            Refused::InsufficientStock { sku, available: stock.available, delta }
        } else {
            debug_assert!(stock.received.saturating_add(delta) > MAX_RECEIVED, "nothing else stops what comes in");
            Refused::StockLimit { sku, received: stock.received, delta }
        });
    };
    shelf.put(&command.sku, adjusted, at);
    let said = v1::StockAdjusted {
        request_id: command.request_id.to_string(),
        delta,
        reason: command.reason.clone(),
        received: adjusted.received,
        available: adjusted.available,
    };
    Ok(Adjusted::Now(adjusted, said))
}
