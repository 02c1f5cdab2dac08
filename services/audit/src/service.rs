//! What audit does with a batch: hash its events, and write it down behind the last entry, once.

use std::collections::HashSet;

use bytes::Bytes;
use spillway_proto::batch::{BadBatch, BatchNumber};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Envelope, EventKind, Ledger, Partition};
use spillway_shared::evidence::Evidence;
use spillway_shared::ledger::{Batch, Read, Reader, Says, Service, StoreError, Tx, Unreadable};

use crate::chain::{self, Entry};
use crate::evidence::EVIDENCE;
use crate::store::{self, Tail};

/// The audit ledger of a partition. It keeps what every ledger says in that partition. It says nothing of what
/// it hears; what operators do to its own dead letters it says, and hears, like any other ledger.
#[derive(Clone, Copy, Debug)]
pub struct Audit {
    pub partition: Partition,
}

/// A batch that was heard, with its events hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardBatch {
    /// Who said it, and its number.
    key: (Ledger, BatchNumber),
    event_hashes: Vec<u8>,
    body: Bytes,
}

/// The end of the chain, and what a commit adds to it.
pub struct Book {
    tail: Tail,
    /// Batches that have an entry.
    known: HashSet<(Ledger, BatchNumber)>,
    new: Vec<Entry>,
}

impl Service for Audit {
    type Input = HeardBatch;
    type Answer = ();
    type Book = Book;

    const EVIDENCE: &'static [Evidence] = EVIDENCE;

    /// Every kind is kept, and those that this build does not know as well: a batch is kept whole, as bytes, by
    /// [`Audit::read`], and so no event is ever asked for alone.
    fn hear(&self, kind: EventKind, _event: &Envelope) -> Result<Option<HeardBatch>, Unreadable> {
        match kind {
            EventKind::OrderPlaced
            | EventKind::StockHeld
            | EventKind::StockRefused
            | EventKind::StockCommitted
            | EventKind::StockReleased
            | EventKind::StockReturned
            | EventKind::StockAdjusted
            | EventKind::PaymentCaptured
            | EventKind::PaymentDeclined
            | EventKind::PaymentDeferred
            | EventKind::PaymentRefunded
            | EventKind::RefundFailed
            | EventKind::OrderConfirmed
            | EventKind::OrderRejected
            | EventKind::OrderCancelled
            | EventKind::RefundRequested
            | EventKind::NotificationSent
            | EventKind::NotificationFailed
            | EventKind::PaymentSettled
            | EventKind::DeadLetterRedriven
            | EventKind::DeadLetterDiscarded
            | EventKind::FlowPaused
            | EventKind::FlowResumed
            | EventKind::FlowSettingChanged => Ok(None),
        }
    }

    /// The whole batch is one input. Hashing is done here, outside the writer.
    fn read(&self, _reader: &Reader<'_>, batch: &Batch) -> Result<Vec<Read<HeardBatch>>, BadBatch> {
        let number = batch.number.ok_or_else(|| BadBatch("it has no number".to_owned()))?;
        if number.partition != self.partition {
            let problem = format!("said in partition {}, heard in {}", number.partition, self.partition);
            return Err(BadBatch(problem));
        }
        let hashed = chain::hash_events(&batch.body)?;
        let key = (batch.source, number);
        let input = HeardBatch { key, event_hashes: hashed.event_hashes, body: hashed.body };
        Ok(vec![Read::Input { input, raw: batch.body.clone(), traced: None }])
    }

    fn keeps_batches_whole(&self) -> bool {
        true
    }

    fn load(&self, tx: &Tx<'_>, inputs: &[&HeardBatch]) -> Result<Book, StoreError> {
        let known = store::known(tx, inputs.iter().map(|batch| &batch.key))?;
        Ok(Book { tail: store::tail(tx)?, known, new: Vec::new() })
    }

    fn decide(&self, book: &mut Book, batch: &HeardBatch, at: Timestamp, _says: &mut Says) {
        if !book.known.insert(batch.key) {
            return;
        }
        let entry = append(&book.tail, batch, at);
        book.tail = Tail { position: entry.position, hash: entry.hash };
        book.new.push(entry);
    }

    fn save(&self, tx: &Tx<'_>, book: Book) -> Result<(), StoreError> {
        store::append(tx, &book.new)
    }
}

/// The entry of a batch behind the end of the chain.
fn append(tail: &Tail, batch: &HeardBatch, at: Timestamp) -> Entry {
    let (source, number) = &batch.key;
    let mut entry = Entry {
        partition: number.partition.0.into(),
        position: tail.position + 1,
        source: source.name().to_owned(),
        incarnation: number.incarnation.0,
        number: number.number,
        record_us: time::to_micros(at),
        event_hashes: batch.event_hashes.clone(),
        hash: chain::GENESIS,
        body: batch.body.clone(),
    };
    entry.hash = entry.hash_after(&tail.hash);
    entry
}
