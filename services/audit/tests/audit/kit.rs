//! Batches, a real ledger in a folder of its own, and its endpoints.

use bytes::Bytes;
use prost::Message;
use spillway_audit::{Audit, MIGRATIONS, queries};
use spillway_proto::batch::{BatchNumber, BatchWriter};
use spillway_proto::pb::events as v1;
use spillway_proto::pb::internal::{
    Call, ExportStretchRequest, ExportStretchResponse, Refusal, VerifyStretchRequest, VerifyStretchResponse,
};
use spillway_proto::pb::ops::AuditEntry;
use spillway_proto::time::Timestamp;
use spillway_proto::{Incarnation, Ledger as Source, LedgerId, NewEvent, Partition, Subject};
use spillway_shared::ledger::{Batch, Heard, Ledger, LedgerSpec};
use tempfile::TempDir;
use uuid::Uuid;

/// The partition of the ledger under test.
pub const PARTITION: Partition = Partition(1);

pub fn event(text: &str) -> NewEvent {
    NewEvent {
        shop: "default".to_owned(),
        subject: Subject::Sku("tea".to_owned()),
        occurrence: text.to_owned(),
        traceparent: String::new(),
        event: v1::StockAdjusted { reason: text.to_owned(), delta: 1, ..Default::default() }.into(),
    }
}

pub fn body(source: Source, texts: &[String]) -> Bytes {
    let mut writer = BatchWriter::default();
    for text in texts {
        writer.push(&event(text), source, Timestamp::UNIX_EPOCH);
    }
    writer.into_bytes().into()
}

/// Batch `number` of a source, with 1 to 5 events of its own.
pub fn batch(source: Source, number: i64) -> Batch {
    let texts: Vec<String> = (0..=number % 5).map(|n| format!("{source} {number} {n}")).collect();
    let incarnation = Incarnation(Uuid::from_u128(0xabcd_ef00_0000_4000_8000_0000_0000_0000 + source as u128));
    Batch {
        source,
        number: Some(BatchNumber { incarnation, partition: PARTITION, number }),
        time_us: 1,
        body: body(source, &texts),
        asked: false,
    }
}

/// Batches of all ledgers that audit hears besides itself, in order.
pub fn batches(each: i64) -> Vec<Batch> {
    let others = || Source::Audit.hears().iter().filter(|source| **source != Source::Audit);
    (1..=each).flat_map(|number| others().map(move |source| batch(*source, number))).collect()
}

pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Place { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn spec(&self) -> LedgerSpec {
        let id = LedgerId { ledger: Source::Audit, partition: PARTITION };
        LedgerSpec::new(id, 2, self.folder.path(), MIGRATIONS)
    }

    pub fn open(&self) -> Ledger<Audit> {
        Ledger::open(self.spec(), Audit { partition: PARTITION }, &[]).expect("opens")
    }

    /// Changes the file behind the back of everybody.
    pub fn tamper(&self, sql: &str) -> usize {
        let connection = rusqlite::Connection::open(self.spec().path()).expect("the file");
        connection.execute(sql, []).expect("tampers")
    }
}

pub async fn hear(ledger: &Ledger<Audit>, batches: &[Batch]) {
    let heard = batches.iter().map(|batch| Heard::read(ledger, batch)).collect();
    ledger.hear(heard).await.expect("taken");
}

fn call(request: &impl Message) -> Call {
    Call { body: request.encode_to_vec().into(), ..Call::default() }
}

pub async fn verify(ledger: &Ledger<Audit>, request: VerifyStretchRequest) -> Result<VerifyStretchResponse, Refusal> {
    let answer = queries::verify(ledger.clone(), call(&request)).await?;
    Ok(VerifyStretchResponse::decode(answer).expect("an answer"))
}

pub async fn verify_all(ledger: &Ledger<Audit>) -> VerifyStretchResponse {
    verify(ledger, VerifyStretchRequest::default()).await.expect("answers")
}

pub async fn export(ledger: &Ledger<Audit>, after: i64, limit: i32) -> Result<ExportStretchResponse, Refusal> {
    let answer = queries::export(ledger.clone(), call(&ExportStretchRequest { after, limit })).await?;
    assert!(answer.len() < 1024 * 1024, "fits a message");
    Ok(ExportStretchResponse::decode(answer).expect("an answer"))
}

/// The whole chain, by as many calls as it takes.
pub async fn export_all(ledger: &Ledger<Audit>) -> Vec<AuditEntry> {
    let mut entries: Vec<AuditEntry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.position);
        let stretch = export(ledger, after, 0).await.expect("answers");
        entries.extend(stretch.entries);
        if stretch.end {
            return entries;
        }
    }
}

/// An exported chain of so many batches of each source.
pub async fn chain(each: i64) -> Vec<AuditEntry> {
    let place = Place::new();
    let ledger = place.open();
    hear(&ledger, &batches(each)).await;
    export_all(&ledger).await
}
