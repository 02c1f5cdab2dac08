//! What must always hold: each invariant is one query that answers the rows that violate it.

use rusqlite::types::ValueRef;

use super::looking::Part;
use super::work::Work;

/// What must always hold.
#[derive(Clone, Copy, Debug)]
pub struct Invariant {
    /// As docs/check.md has it.
    pub id: &'static str,
    /// Also the label of the metric.
    pub name: &'static str,
    /// In a sentence, what must hold.
    pub meaning: &'static str,
    /// What it cannot be judged without.
    pub needs: Option<Part>,
    /// Answers `subject`, `detail`, `order_id` of every violation.
    sql: &'static str,
}

/// One row of a violation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The order, SKU, batch or entry it is about.
    pub subject: String,
    pub detail: String,
    /// The order, where it is about one.
    pub order: Option<Vec<u8>>,
}

macro_rules! invariant {
    ($id:literal, $name:literal, $needs:expr, $meaning:literal) => {
        Invariant {
            id: $id,
            name: $name,
            meaning: $meaning,
            needs: $needs,
            sql: include_str!(concat!("sql/", $name, ".sql")),
        }
    };
}

const PROVIDER: Option<Part> = Some(Part::Provider);
const HISTORY: Option<Part> = Some(Part::History);

/// All of them, in the order in which they are told.
pub const ALL: &[Invariant] = &[
    invariant!("I1", "lost", None, "an order that was answered OK exists, was said, and is among the orders"),
    invariant!("I2", "same_request_twice", None, "a request id stands for one order and one content"),
    invariant!("I3", "phantom", HISTORY, "every order was asked for, with this content, and not refused for good"),
    invariant!("I4", "stuck", None, "an old undecided order waits for something that can be named"),
    invariant!("I5", "illegal_transition", None, "an order's versions have no gap, and each end has its ground"),
    invariant!("I6", "state_unlike_history", None, "an order's row says what its history and its events say"),
    invariant!("I7", "read_backwards", HISTORY, "what was accepted is read from then on, and never goes backwards"),
    invariant!("M1a", "charged_twice", PROVIDER, "the provider charged no order twice, refunded or not"),
    invariant!("M1b", "charged_too_much", PROVIDER, "nobody paid more than the total, refunds taken off"),
    invariant!("M2a", "charged_not_confirmed", PROVIDER, "a rejected order costs nothing"),
    invariant!("M2b", "confirmed_not_charged", PROVIDER, "a confirmed order is paid"),
    invariant!("M3", "cancelled_and_charged", PROVIDER, "a cancelled order costs nothing"),
    invariant!("M4", "payments_unlike_provider", PROVIDER, "payments and the provider agree on every order's money"),
    invariant!("M6", "charged_before_hold", PROVIDER, "nothing is charged whose stock was not held"),
    invariant!("M7", "refunded_too_much", PROVIDER, "no more is refunded than was charged, once for each purpose"),
    invariant!("S1", "stock_below_zero", None, "available, held and sold are never below zero, after any commit"),
    invariant!("S2", "stock_unlike_moves", None, "the stock of a SKU is the sum of what moved, and adds up"),
    invariant!("S2b", "leaked_units", None, "no units stay held for an order that ended"),
    invariant!("S3", "sold_unlike_ordered", None, "a confirmed order's units are sold as ordered, no other's are"),
    invariant!("S4", "oversold", None, "no more units are confirmed than there were"),
    invariant!("S5", "false_rejection", None, "no order is out of stock while every line was there"),
    invariant!("P2", "heard_without_effect", None, "what a listener has heard has left its trace, or is a dead letter"),
    invariant!("P3", "effect_twice", None, "what may happen once to an order happened once"),
    invariant!("P4", "ghost", None, "streams hold, and listeners have heard, only what was said"),
    invariant!("P5a", "number_gap", None, "the batches of an outbox are numbered without gaps up to its head"),
    invariant!("P5b", "unheard", None, "whoever listens has heard what was said long ago"),
    invariant!("A1", "audit_gap", None, "audit has an entry for every batch it heard, the same events, and no other"),
    invariant!("A2", "audit_order", None, "the entries of audit tell an order's events in the order of its versions"),
    invariant!("A3", "chain_broken", None, "every hash of the audit trail follows from what is before it"),
    invariant!("N1", "notice_missing", None, "whoever is to be told of an end is told, and the mail is there"),
    invariant!("N2", "notice_twice", None, "a notice goes out under one message id, and there is no other mail"),
];

impl Invariant {
    /// The rows that violate it.
    ///
    /// # Errors
    /// Where the query cannot be run.
    pub fn violations(&self, work: &Work) -> rusqlite::Result<Vec<Violation>> {
        let mut statement = work.connection.prepare(self.sql)?;
        let rows = statement.query_map([], |row| {
            let order = row.get_ref(2)?.as_blob_or_null().unwrap_or_default().map(<[u8]>::to_vec);
            Ok(Violation { subject: shown(row.get_ref(0)?), detail: shown(row.get_ref(1)?), order })
        })?;
        let mut rows: Vec<Violation> = rows.collect::<Result<_, _>>()?;
        rows.sort();
        rows.dedup();
        Ok(rows)
    }
}

/// An id as people write it.
fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => match uuid::Uuid::from_slice(bytes) {
            Ok(id) => id.to_string(),
            Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        },
    }
}
