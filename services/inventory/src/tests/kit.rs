//! What the tests share: orders, what is said of them, and a real ledger to hear it.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use spillway_proto::batch::{self, BatchNumber, BatchWriter};
use spillway_proto::pb::orders::OrderLine;
use spillway_proto::pb::{self, events as v1};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{
    DEFAULT_SHOP, Event, EventKind, Incarnation, Ledger as Source, LedgerId, NewEvent, OrderId, Partition, Subject,
    TraceContext,
};
use spillway_shared::ledger::{Batch, Heard, Ledger, LedgerSpec, Tx};
use uuid::Uuid;

use crate::domain::{AdjustStock, Stock};
use crate::{Adjust, Input, Inventory, MIGRATIONS};

pub const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A time at which nothing else happens.
pub fn at(second: i64) -> Timestamp {
    time::from_micros(1_800_000_000_000_000 + second * 1_000_000)
}

/// The id of the nth order of the tests, in a partition of its own.
pub fn order_id(n: u32) -> OrderId {
    let mut random = [0; 10];
    random[..4].copy_from_slice(&n.to_be_bytes());
    OrderId::new(at(i64::from(n)), Partition((n % 2) as u16), random)
}

/// An order of these units.
pub fn placed(lines: &[(&str, i64)]) -> Event {
    let lines =
        lines.iter().map(|(sku, quantity)| OrderLine { sku: (*sku).into(), quantity: *quantity, unit_price: None });
    let total = Some(pb::Money { currency_code: "EUR".into(), units: 12, nanos: 500_000_000 });
    v1::OrderPlaced { lines: lines.collect(), total, payment_method: "pm_ok".into(), ..Default::default() }.into()
}

/// An event of an order, as it is said.
pub fn said(order: u32, event: Event) -> NewEvent {
    let (shop, traceparent) = (DEFAULT_SHOP.to_owned(), TRACE.to_owned());
    NewEvent { shop, subject: Subject::Order(order_id(order)), occurrence: String::new(), traceparent, event }
}

/// A command.
pub fn adjust(request: u128, sku: &str, delta: i64) -> Input {
    let command = AdjustStock { request_id: Uuid::from_u128(request), sku: sku.into(), delta, reason: "count".into() };
    Input::Adjust(Adjust { shop: DEFAULT_SHOP.into(), traceparent: TRACE.into(), command })
}

/// A ledger in a folder of its own, and everybody who speaks to it.
pub struct Bench {
    pub ledger: Ledger<Inventory>,
    numbers: BTreeMap<(Source, Partition), i64>,
    _folder: tempfile::TempDir,
}

/// The life of every ledger that speaks to the bench.
const SPEAKER: Incarnation = Incarnation(Uuid::from_u128(7));

impl Bench {
    pub fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let id = LedgerId { ledger: Source::Inventory, partition: Partition(0) };
        let spec = LedgerSpec::new(id, 2, folder.path(), MIGRATIONS);
        let ledger = Ledger::open(spec, Inventory, &[]).expect("a new ledger");
        Bench { ledger, numbers: BTreeMap::new(), _folder: folder }
    }

    /// One batch of a source; events of other partitions than its own do not matter here.
    pub fn batch(&mut self, source: Source, events: &[NewEvent]) -> Batch {
        let mut writer = BatchWriter::default();
        events.iter().for_each(|event| writer.push(event, source, at(0)));
        self.raw_batch(source, writer.into_bytes().into())
    }

    pub fn raw_batch(&mut self, source: Source, body: Bytes) -> Batch {
        let number = self.numbers.entry((source, Partition(0))).or_insert(0);
        *number += 1;
        let number = BatchNumber { incarnation: SPEAKER, partition: Partition(0), number: *number };
        Batch { source, number: Some(number), time_us: time::to_micros(at(0)), body, asked: false }
    }

    pub async fn hear(&self, batches: &[Batch]) {
        let heard = batches.iter().map(|batch| Heard::read(&self.ledger, batch)).collect();
        self.ledger.hear(heard).await.expect("heard");
    }

    /// Everything that was said, in order: kind, subject and payload.
    pub async fn said(&self) -> Vec<(EventKind, Subject, Event)> {
        let (mut said, mut ids) = (Vec::new(), HashSet::new());
        for partition in self.ledger.identity().serves.clone() {
            for batch in self.ledger.outbox(partition, 1, i64::MAX, usize::MAX).await.expect("the outbox") {
                for event in batch::read(batch.body).expect("a batch") {
                    let event = event.expect("an event");
                    assert_eq!(event.shop.as_str(), DEFAULT_SHOP);
                    assert!(TraceContext::parse(&event.traceparent).is_some(), "{}", event.traceparent);
                    assert_eq!(event.subject.order().map_or(Partition(0), |id| id.partition()), partition);
                    assert!(ids.insert(event.id), "two events with the id {}", event.id);
                    let kind = event.kind().expect("a known kind");
                    said.push((kind, event.subject, Event::decode(kind, event.payload).expect("a payload")));
                }
            }
        }
        said
    }

    /// What was said, by kind.
    pub async fn counts(&self) -> BTreeMap<EventKind, usize> {
        let mut counts = BTreeMap::new();
        self.said().await.iter().for_each(|(kind, ..)| *counts.entry(*kind).or_insert(0) += 1);
        counts
    }

    /// Every row of `stock` and of `hold`, without the times of their changes.
    pub async fn state(&self) -> State {
        let read = |tx: &Tx<'_>| {
            let stock = tx.read("select sku, received, available, held, sold from stock order by sku", &[], |row| {
                let (received, available, held, sold) = (row.int(1)?, row.int(2)?, row.int(3)?, row.int(4)?);
                Ok((row.text(0)?, Stock { received, available, held, sold }))
            })?;
            let holds = tx.read("select order_id, state from hold order by order_id", &[], |row| {
                Ok((row.blob(0)?, row.text(1)?))
            })?;
            Ok(State { stock, holds })
        };
        self.ledger.query(read).await.expect("a query")
    }

    /// What a query of one number answers.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let rows = self.ledger.query(move |tx| tx.read(sql, &[], |row| row.opt_int(0))).await.expect("a query");
        rows.into_iter().flatten().sum()
    }
}

/// Every row of `stock` and of `hold`.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub stock: Vec<(String, Stock)>,
    pub holds: Vec<(Vec<u8>, String)>,
}
