//! Messages that could not be taken, kept with their bytes and their error.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use spillway_proto::batch::BatchNumber;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{DEFAULT_SHOP, Ledger, ids};

use super::error::StoreError;
use super::service::Cause;
use super::tx::{Tx, Value};

/// A message, or one event of a batch, that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeadLetter {
    pub source: Ledger,
    pub number: Option<BatchNumber>,
    pub cause: Cause,
    pub error: String,
    pub body: Bytes,
}

impl DeadLetter {
    /// The same bytes of the same source are the same dead letter, however often they come.
    fn id(&self) -> uuid::Uuid {
        let name = format!("{}/{:x}", self.source, HexDigest(Sha256::digest(&self.body).into()));
        ids::named("dead-letter", &name)
    }

    /// Groups by cause: the error without its digits and quoted parts.
    fn fingerprint(&self) -> String {
        let general: String = self.error.chars().filter(|c| !c.is_ascii_digit()).collect();
        let digest = Sha256::digest(format!("{}/{}/{general}", self.cause.name(), self.source));
        format!("{:x}", HexDigest(digest.into())).chars().take(12).collect()
    }
}

struct HexDigest([u8; 32]);

impl std::fmt::LowerHex for HexDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Writes dead letters down; one that is there already is counted.
pub(super) fn write(tx: &Tx<'_>, letters: &[DeadLetter], at: Timestamp) -> Result<(), StoreError> {
    let at_us = time::to_micros(at);
    for letter in letters {
        let (id, fingerprint) = (letter.id(), letter.fingerprint());
        let number = letter.number.as_ref();
        tx.write(
            "insert into dead_letter (id, shop, source, incarnation, partition, number, cause, error, fingerprint,
                                      body, count, first_us, last_us, state)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $11, 'DEAD')
             on conflict (id) do update set count = dead_letter.count + 1, last_us = excluded.last_us",
            &[
                id.as_bytes().into(),
                Value::Text(DEFAULT_SHOP),
                letter.source.name().into(),
                number.map(|n| Value::Blob(n.incarnation.as_bytes())).into(),
                number.map(|n| i64::from(n.partition.0)).into(),
                number.map(|n| n.number).into(),
                letter.cause.name().into(),
                letter.error.as_str().into(),
                fingerprint.as_str().into(),
                (&letter.body[..]).into(),
                at_us.into(),
            ],
        )?;
    }
    Ok(())
}
