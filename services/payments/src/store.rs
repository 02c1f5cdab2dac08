//! The tables: one row for the payment of each order, every answer of the provider, once, and what humans settled.

mod answers;
mod outage;
mod page;
mod settlement;
mod unsettled;

use std::collections::BTreeMap;

use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Currency, Money, OrderId};
use spillway_shared::ledger::{Migration, Row, StoreError, Tx, Value};
use uuid::Uuid;

use crate::domain::{Answered, Outcome, Payment, Reason, Settle, State};

pub use answers::{Recorded, answers};
pub use outage::{begun, ended, open_outage, waiting};
pub use page::{Due, Filter, ahead, due, page};
pub use settlement::{Settlement, settlement};
pub use unsettled::unsettled;

/// The tables of payments.
pub const MIGRATIONS: &[Migration] = &[
    (
        "payment and answer",
        "create table payment (
             order_id blob primary key,
             shop text not null,
             state text not null,
             ended_us integer,
             amount_minor integer,
             currency text,
             payment_method text not null,
             attempt integer not null,
             charge_id blob,
             provider_reference text not null,
             reason text,
             key_until_us integer not null,
             sent_us integer,
             captured_minor integer not null check (captured_minor >= 0),
             refunded_minor integer not null check (refunded_minor >= 0 and refunded_minor <= captured_minor),
             create_us integer not null,
             update_us integer not null
         ) without rowid;
         create index payment_unsettled on payment (state, update_us)
             where state in ('UNKNOWN', 'PENDING', 'PARKED', 'COMPENSATING');
         create table answer (
             order_id blob not null,
             charge_id blob not null,
             outcome text not null,
             provider_reference text not null,
             shop text not null,
             amount_minor integer,
             currency text,
             code text,
             answer_us integer not null,
             primary key (order_id, charge_id, outcome, provider_reference)
         ) without rowid;",
    ),
    (
        "outages and settlements",
        "alter table payment add column deferred_us integer;
         create table outage (
             since_us integer primary key,
             until_us integer
         );
         create table settlement (
             request_id blob primary key,
             order_id blob not null,
             settled_as text not null,
             provider_reference text not null,
             reason text not null,
             settle_us integer not null
         ) without rowid;",
    ),
    ("since when it is unknown", "alter table payment add column unknown_us integer;"),
];

/// The payments that a batch touches, as loaded and as decided, and the answers it brings.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<OrderId, Entry>,
    answers: Vec<Answer>,
    /// By request.
    settlements: BTreeMap<Uuid, Settlement>,
    settled: Vec<Settlement>,
}

#[derive(Debug, Default)]
struct Entry {
    payment: Option<Payment>,
    change: Change,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Change {
    #[default]
    None,
    New,
    Changed,
}

impl Book {
    /// The payment of an order that was loaded.
    pub fn payment(&self, order: OrderId) -> Option<&Payment> {
        self.entries.get(&order).and_then(|entry| entry.payment.as_ref())
    }

    /// The payment as it is from now on.
    pub fn put(&mut self, payment: Payment) {
        let entry = self.entries.entry(payment.order).or_default();
        entry.change = match (&entry.payment, entry.change) {
            (None, _) | (Some(_), Change::New) => Change::New,
            (Some(_), Change::None | Change::Changed) => Change::Changed,
        };
        entry.payment = Some(payment);
    }

    /// Records what the provider answered, whatever it leads to.
    pub fn record(&mut self, answered: &Answered, at: Timestamp) {
        self.answers.extend(Answer::of(answered, at));
    }

    /// What this request settled before.
    pub fn settlement(&self, request_id: Uuid) -> Option<&Settlement> {
        self.settlements.get(&request_id)
    }

    /// A human's word is kept with the request that brought it.
    pub fn settle(&mut self, settle: &Settle, at: Timestamp) {
        let settlement = Settlement::of(settle, at);
        self.settlements.insert(settle.request_id, settlement.clone());
        self.settled.push(settlement);
    }
}

/// What the provider answered. Facts: only ever inserted, once for each charge id and outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub order: OrderId,
    /// Of the charge or refund.
    pub charge_id: Uuid,
    pub outcome: &'static str,
    pub provider_reference: String,
    pub shop: String,
    /// Minor units that moved, and their currency, as the provider says.
    pub moved: Option<(i64, String)>,
    pub code: Option<String>,
    pub at: Timestamp,
}

impl Answer {
    fn of(answered: &Answered, at: Timestamp) -> Option<Self> {
        let outcome = answered.outcome.recorded_as()?;
        let (provider_reference, moved, code) = match &answered.outcome {
            Outcome::Approved(receipt) => {
                let moved = (receipt.minor, receipt.currency.clone());
                (receipt.provider_reference.clone(), Some(moved), None)
            }
            Outcome::Declined { provider_reference, code } | Outcome::ActionRequired { provider_reference, code } => {
                (provider_reference.clone(), None, Some(code.clone()))
            }
            Outcome::Pending { provider_reference } => (provider_reference.clone(), None, None),
            Outcome::Rejected { code } => (String::new(), None, Some(code.clone())),
            Outcome::Throttled { .. }
            | Outcome::Unavailable
            | Outcome::InFlight
            | Outcome::Unknown
            | Outcome::Absent
            | Outcome::Several => (String::new(), None, None),
        };
        let (order, shop) = (answered.task.order, answered.task.shop.clone());
        Some(Answer { order, charge_id: answered.charge_id, outcome, provider_reference, shop, moved, code, at })
    }
}

const COLUMNS: &str = "order_id, shop, state, ended_us, amount_minor, currency, payment_method, attempt,
    provider_reference, reason, key_until_us, sent_us, captured_minor, refunded_minor, create_us, update_us,
    deferred_us, unknown_us";

/// Loads the payments of these orders, and what these requests settled before.
pub fn load(
    tx: &Tx<'_>,
    orders: impl Iterator<Item = OrderId>,
    requests: impl Iterator<Item = Uuid>,
) -> Result<Book, StoreError> {
    let mut entries: BTreeMap<OrderId, Entry> = orders.map(|order| (order, Entry::default())).collect();
    let sql = select_payment();
    let found = tx.read_each(sql, entries.keys().map(|order| [Value::Blob(order.as_bytes())]), payment)?;
    for payment in found {
        entries.insert(payment.order, Entry { payment: Some(payment), change: Change::None });
    }
    let mut settlements = BTreeMap::new();
    for request_id in requests {
        settlements.extend(settlement(tx, request_id)?.map(|settlement| (request_id, settlement)));
    }
    Ok(Book { entries, settlements, ..Book::default() })
}

fn select_payment() -> &'static str {
    static SQL: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| format!("select {COLUMNS} from payment where order_id = $1"));
    &SQL
}

/// Reads one payment.
pub fn find(tx: &Tx<'_>, order: OrderId) -> Result<Option<Payment>, StoreError> {
    Ok(tx.read(select_payment(), &[Value::Blob(order.as_bytes())], payment)?.into_iter().next())
}

fn payment(row: &Row<'_>) -> Result<Payment, StoreError> {
    let currency = row.opt_text(5)?.map(|code| Currency::parse(&code).ok_or_else(|| row.nonsense("currency")));
    let reason = row.opt_text(9)?.map(|name| Reason::from_name(&name).ok_or_else(|| row.nonsense("reason")));
    Ok(Payment {
        order: OrderId::from_bytes(&row.blob(0)?).ok_or_else(|| row.nonsense("order_id"))?,
        shop: row.text(1)?,
        state: State::from_name(&row.text(2)?).ok_or_else(|| row.nonsense("state"))?,
        ended: row.opt_int(3)?.map(time::from_micros),
        amount: row.opt_int(4)?.zip(currency.transpose()?).map(|(minor, currency)| Money::new(minor, currency)),
        payment_method: row.text(6)?,
        attempt: i32::try_from(row.int(7)?).map_err(|_| row.nonsense("attempt"))?,
        provider_reference: row.text(8)?,
        reason: reason.transpose()?,
        key_until: time::from_micros(row.int(10)?),
        sent: row.opt_int(11)?.map(time::from_micros),
        captured_minor: row.int(12)?,
        refunded_minor: row.int(13)?,
        created: time::from_micros(row.int(14)?),
        updated: time::from_micros(row.int(15)?),
        deferred: row.opt_int(16)?.map(time::from_micros),
        unknown: row.opt_int(17)?.map(time::from_micros),
    })
}

/// Writes what was decided: new payments, changed ones, answers.
pub fn save(tx: &Tx<'_>, book: &Book) -> Result<(), StoreError> {
    insert(tx, book)?;
    update(tx, book)?;
    settlement::insert(tx, &book.settled)?;
    record(tx, &book.answers)
}

fn changed(book: &Book, change: Change) -> impl Iterator<Item = &Payment> {
    book.entries.values().filter(move |entry| entry.change == change).filter_map(|entry| entry.payment.as_ref())
}

fn insert(tx: &Tx<'_>, book: &Book) -> Result<(), StoreError> {
    let new: Vec<(&Payment, Option<Uuid>)> = changed(book, Change::New).map(|p| (p, p.charge_id())).collect();
    tx.write_each(
        "insert into payment (order_id, shop, state, ended_us, amount_minor, currency, payment_method, attempt,
                              charge_id, provider_reference, reason, key_until_us, sent_us, captured_minor,
                              refunded_minor, create_us, update_us)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        new.iter().map(|(payment, charge_id)| {
            [
                payment.order.as_bytes().into(),
                payment.shop.as_str().into(),
                payment.state.name().into(),
                payment.ended.map(time::to_micros).into(),
                payment.amount.map(|amount| amount.minor).into(),
                payment.amount.as_ref().map(|amount| amount.currency.code()).into(),
                payment.payment_method.as_str().into(),
                i64::from(payment.attempt).into(),
                charge_id.as_ref().map(|id| Value::Blob(id.as_bytes())).into(),
                payment.provider_reference.as_str().into(),
                payment.reason.map(Reason::name).into(),
                time::to_micros(payment.key_until).into(),
                payment.sent.map(time::to_micros).into(),
                payment.captured_minor.into(),
                payment.refunded_minor.into(),
                time::to_micros(payment.created).into(),
                time::to_micros(payment.updated).into(),
            ]
        }),
    )?;
    Ok(())
}

/// What was charged never changes. A payment is new before any outage that it could be told of.
fn update(tx: &Tx<'_>, book: &Book) -> Result<(), StoreError> {
    tx.write_each(
        "update payment set state = $1, ended_us = $2, provider_reference = $3, reason = $4, key_until_us = $5,
                            sent_us = $6, captured_minor = $7, refunded_minor = $8, update_us = $9,
                            deferred_us = $10, unknown_us = $11
         where order_id = $12",
        changed(book, Change::Changed).map(|payment| {
            [
                payment.state.name().into(),
                payment.ended.map(time::to_micros).into(),
                payment.provider_reference.as_str().into(),
                payment.reason.map(Reason::name).into(),
                time::to_micros(payment.key_until).into(),
                payment.sent.map(time::to_micros).into(),
                payment.captured_minor.into(),
                payment.refunded_minor.into(),
                time::to_micros(payment.updated).into(),
                payment.deferred.map(time::to_micros).into(),
                payment.unknown.map(time::to_micros).into(),
                payment.order.as_bytes().into(),
            ]
        }),
    )?;
    Ok(())
}

fn record(tx: &Tx<'_>, answers: &[Answer]) -> Result<(), StoreError> {
    tx.write_each(
        "insert into answer (order_id, charge_id, outcome, provider_reference, shop, amount_minor, currency, code,
                             answer_us)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (order_id, charge_id, outcome, provider_reference) do nothing",
        answers.iter().map(|answer| {
            [
                answer.order.as_bytes().into(),
                Value::Blob(answer.charge_id.as_bytes()),
                answer.outcome.into(),
                answer.provider_reference.as_str().into(),
                answer.shop.as_str().into(),
                answer.moved.as_ref().map(|(minor, _)| *minor).into(),
                answer.moved.as_ref().map(|(_, currency)| currency.as_str()).into(),
                answer.code.as_deref().into(),
                time::to_micros(answer.at).into(),
            ]
        }),
    )?;
    Ok(())
}
