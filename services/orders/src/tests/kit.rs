//! What the tests share: the events of an order, and a real ledger to hear them.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use spillway_proto::batch::{self, BatchNumber, BatchWriter};
use spillway_proto::pb::internal::{self, Call};
use spillway_proto::pb::orders::{Contact, OrderLine};
use spillway_proto::pb::{self, events as v1};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{
    DEFAULT_SHOP, Envelope, Event, Incarnation, Ledger as Source, LedgerId, NewEvent, OrderId, Partition, Subject,
    envelope,
};
use spillway_shared::ledger::{Batch, Clock, Heard as HeardBatch, Ledger, LedgerSpec};
use uuid::Uuid;

use crate::hear::{Heard, hear};
use crate::{MIGRATIONS, Orders, OrdersConfig, queries};

pub const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The nth second of the tests.
pub fn at(second: i64) -> Timestamp {
    time::from_micros(1_800_000_000_000_000 + second * 1_000_000)
}

/// The id of the nth order of the tests, taken in the nth second.
pub fn order_id(n: u32) -> OrderId {
    let mut random = [0; 10];
    random[..4].copy_from_slice(&n.to_be_bytes());
    OrderId::new(at(i64::from(n)), Partition(0), random)
}

pub fn euros(units: i64) -> pb::Money {
    pb::Money { currency_code: "EUR".into(), units, nanos: 0 }
}

/// An accepted order of this customer, to be told by mail where `email` is not empty.
pub fn placed(customer_id: &str, email: &str) -> Event {
    let contact = Some(Contact { email: email.into() }).filter(|contact| !contact.email.is_empty());
    let line = OrderLine { sku: "tea".into(), quantity: 2, unit_price: Some(euros(6)) };
    let event = v1::OrderPlaced {
        request_id: Uuid::from_u128(7).to_string(),
        customer_id: customer_id.into(),
        lines: vec![line],
        payment_method: "pm_ok".into(),
        total: Some(euros(12)),
        contact,
        labels: [("channel".to_owned(), "web".to_owned())].into(),
    };
    event.into()
}

pub fn held() -> Event {
    v1::StockHeld { total: Some(euros(12)), payment_method: "pm_ok".into() }.into()
}

pub fn refused() -> Event {
    v1::StockRefused { short_lines: vec![v1::ShortLine { sku: "tea".into(), wanted: 2, available: 1 }] }.into()
}

pub fn captured() -> Event {
    v1::PaymentCaptured { charge_id: "c1".into(), amount: Some(euros(12)), ..Default::default() }.into()
}

pub fn declined(action_required: bool) -> Event {
    v1::PaymentDeclined { charge_id: "c1".into(), code: "no_funds".into(), action_required, attempt: 1 }.into()
}

pub fn deferred(outage: &str, since: i64) -> Event {
    v1::PaymentDeferred { outage_id: outage.into(), since: Some(time::to_wire(at(since))) }.into()
}

pub fn refunded(refund: &str, units: i64) -> Event {
    v1::PaymentRefunded { refund_id: refund.into(), amount: Some(euros(units)), ..Default::default() }.into()
}

pub fn refund_failed(refund: &str) -> Event {
    v1::RefundFailed { refund_id: refund.into(), amount: Some(euros(1)), ..Default::default() }.into()
}

/// What tells events of a kind apart, as payments says them.
fn occurrence(event: &Event) -> String {
    match event {
        Event::PaymentDeferred(deferred) => deferred.outage_id.clone(),
        Event::PaymentRefunded(refunded) => refunded.refund_id.clone(),
        Event::RefundFailed(failed) => failed.refund_id.clone(),
        Event::OrderPlaced(_)
        | Event::StockHeld(_)
        | Event::StockRefused(_)
        | Event::StockCommitted(_)
        | Event::StockReleased(_)
        | Event::StockReturned(_)
        | Event::StockAdjusted(_)
        | Event::PaymentCaptured(_)
        | Event::PaymentDeclined(_)
        | Event::OrderConfirmed(_)
        | Event::OrderRejected(_)
        | Event::OrderCancelled(_)
        | Event::RefundRequested(_)
        | Event::NotificationSent(_)
        | Event::NotificationFailed(_)
        | Event::PaymentSettled(_)
        | Event::DeadLetterRedriven(_)
        | Event::DeadLetterDiscarded(_)
        | Event::FlowPaused(_)
        | Event::FlowResumed(_)
        | Event::FlowSettingChanged(_) => String::new(),
    }
}

/// An event of an order, and when it was said.
pub type Told = (u32, i64, Event);

/// Who says it: the ledger after which its kind is named.
pub fn source(event: &Event) -> Source {
    match event.kind().type_name().split('.').nth(1) {
        Some("order") => Source::Gateway,
        Some("stock") => Source::Inventory,
        Some(_) | None => Source::Payments,
    }
}

pub fn new_event((order, _, event): &Told) -> NewEvent {
    NewEvent {
        shop: DEFAULT_SHOP.to_owned(),
        subject: Subject::Order(order_id(*order)),
        occurrence: occurrence(event),
        traceparent: TRACE.to_owned(),
        event: event.clone(),
    }
}

/// The event as it is said.
pub fn raw(told: &Told) -> Bytes {
    let mut bytes = Vec::new();
    envelope::write(&new_event(told), source(&told.2), at(told.1), &mut bytes);
    bytes.into()
}

/// The event as it is heard.
pub fn heard(told: &Told) -> Heard {
    let envelope = envelope::read(raw(told)).expect("an event");
    hear(told.2.kind(), &envelope).expect("readable").expect("of concern")
}

/// Shows one and the same time.
#[derive(Clone, Copy)]
pub struct Still(pub Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// A ledger in a folder of its own, and everybody who speaks to it.
pub struct Bench {
    pub ledger: Ledger<Orders>,
    numbers: BTreeMap<Source, i64>,
    _folder: tempfile::TempDir,
}

/// The time of every commit of a bench.
pub const NOW: i64 = 1_000_000;

impl Bench {
    pub fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let id = LedgerId { ledger: Source::Orders, partition: Partition(0) };
        let mut spec = LedgerSpec::new(id, 1, folder.path(), MIGRATIONS);
        spec.clock = std::sync::Arc::new(Still(at(NOW)));
        let ledger = Ledger::open(spec, orders(), &[]).expect("a new ledger");
        Bench { ledger, numbers: BTreeMap::new(), _folder: folder }
    }

    pub fn raw_batch(&mut self, source: Source, body: Bytes) -> Batch {
        let number = self.numbers.entry(source).or_insert(0);
        *number += 1;
        let incarnation = Incarnation(Uuid::from_u128(7));
        let number = BatchNumber { incarnation, partition: Partition(0), number: *number };
        Batch { source, number: Some(number), time_us: time::to_micros(at(0)), body, asked: false }
    }

    /// Each event as a batch of its own.
    pub fn batches(&mut self, told: &[Told]) -> Vec<Batch> {
        let batch = |told: &Told| {
            let mut writer = BatchWriter::default();
            writer.push(&new_event(told), source(&told.2), at(told.1));
            self.raw_batch(source(&told.2), writer.into_bytes().into())
        };
        told.iter().map(batch).collect()
    }

    /// All batches in one commit, or close to it.
    pub async fn hear_batches(&self, batches: &[Batch]) {
        let heard = batches.iter().map(|batch| HeardBatch::read(&self.ledger, batch)).collect();
        self.ledger.hear(heard).await.expect("heard");
    }

    pub async fn hear(&mut self, told: &[Told]) {
        let batches = self.batches(told);
        self.hear_batches(&batches).await;
    }

    /// Everything that was said, in order.
    pub async fn said(&self) -> Vec<Envelope> {
        let batches = self.ledger.outbox(Partition(0), 1, i64::MAX, usize::MAX).await.expect("the outbox");
        let events = batches.into_iter().flat_map(|batch| batch::read(batch.body).expect("a batch"));
        events.map(|event| event.expect("an event")).collect()
    }

    pub async fn history(&self, order: u32, after: i64, limit: i32) -> internal::HistoryResponse {
        let request = internal::HistoryRequest { order_id: order_id(order).to_string(), after, limit };
        let answer = queries::history(self.ledger.clone(), call(&request)).await.expect("an answer");
        internal::HistoryResponse::decode(answer).expect("a response")
    }

    pub async fn list(&self, request: &internal::OrdersPageRequest) -> internal::OrdersPageResponse {
        let answer = queries::list(self.ledger.clone(), call(request)).await.expect("an answer");
        internal::OrdersPageResponse::decode(answer).expect("a response")
    }

    /// What a query of one number answers.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let rows = self.ledger.query(move |tx| tx.read(sql, &[], |row| row.opt_int(0))).await.expect("a query");
        rows.into_iter().flatten().sum()
    }
}

pub fn orders() -> Orders {
    Orders::new(&OrdersConfig::default())
}

pub fn call(request: &impl Message) -> Call {
    Call { shop: DEFAULT_SHOP.into(), body: request.encode_to_vec().into(), ..Default::default() }
}
