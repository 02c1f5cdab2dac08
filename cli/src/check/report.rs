//! What a check tells: as a table for people, as JSON for programs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::invariants;
use super::judge::Found;
use super::source::Unread;
use crate::exit::{Exit, Failure};

/// The outcome of a check.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub orders: Orders,
    /// Undecided orders and other open work, by what it waits for. None of it is a violation.
    pub waiting: BTreeMap<String, i64>,
    pub invariants: Vec<Judged>,
    /// What could not be reached, and why.
    pub unreachable: Vec<Unreachable>,
    pub counts: Counts,
    /// Files that went in, so that the same check can be made again.
    pub inputs: Vec<Input>,
    /// `over NATS`, or the data folder.
    pub place: String,
    pub seconds: f64,
    /// How many looks it took: one more where something seemed wrong in a live system.
    pub looks: u32,
}

/// How the orders stand. What clients say is 0 without a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Orders {
    /// Requests that clients sent.
    pub submitted: i64,
    pub ok: i64,
    /// Refused for good.
    pub failed: i64,
    /// No client knows, and it is there.
    pub unknown_present: i64,
    /// No client knows, and it is not there.
    pub unknown_absent: i64,
    /// In the intake.
    pub accepted: i64,
    pub confirmed: i64,
    pub rejected: i64,
    pub cancelled: i64,
    pub refunded: i64,
    pub undecided: i64,
}

/// One invariant.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    pub id: &'static str,
    pub name: &'static str,
    pub meaning: &'static str,
    /// How many rows violate it; null where it could not be judged.
    pub violations: Option<usize>,
    /// The first of them.
    pub rows: Vec<Row>,
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub subject: String,
    pub detail: String,
}

/// What could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreachable {
    pub what: String,
    pub why: String,
}

/// A file that went in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    pub name: String,
    pub sha256: String,
}

/// What really happened, as far as the ledgers know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub events: i64,
    pub batches: i64,
    pub audit_entries: i64,
    pub stream_messages: i64,
    /// Batches that no stream holds (any more): no violation, whoever misses one asks for it.
    pub not_in_streams: i64,
    /// Messages that a stream holds more than once: told twice, heard once.
    pub said_again_in_streams: i64,
    pub provider_attempts: i64,
    /// Attempts that the provider knew by their key.
    pub provider_repeats_absorbed: i64,
    /// Attempts that it took in and did not answer.
    pub provider_unanswered: i64,
    /// Payments of which a call went unanswered.
    pub unknown_outcomes: i64,
    pub unknown_outcomes_settled: i64,
    /// Charges that went back, or are about to.
    pub compensations: i64,
    pub dead_letters: i64,
    pub dead_letter_repeats: i64,
    pub mails: i64,
    /// Answers in the history that showed a version of an order.
    pub orders_read: i64,
}

impl Report {
    /// Takes what was found; at most so many rows of each.
    pub fn judge(&mut self, found: &Found, rows: usize) {
        self.invariants = invariants::ALL
            .iter()
            .map(|invariant| {
                let violations = found.get(invariant.name);
                let first = violations.into_iter().flatten().take(rows);
                let row = |v: &invariants::Violation| Row { subject: v.subject.clone(), detail: v.detail.clone() };
                Judged {
                    id: invariant.id,
                    name: invariant.name,
                    meaning: invariant.meaning,
                    violations: violations.map(Vec::len),
                    rows: first.map(row).collect(),
                }
            })
            .collect();
    }

    /// Rows that violate something, in all.
    pub fn violations(&self) -> usize {
        self.invariants.iter().filter_map(|judged| judged.violations).sum()
    }

    /// Rows that violate this one; `None` where it could not be judged, or there is none of that name.
    pub fn violations_of(&self, name: &str) -> Option<usize> {
        self.invariants.iter().find(|judged| judged.name == name)?.violations
    }

    /// The names of those that are violated.
    pub fn broken(&self) -> Vec<&'static str> {
        let broken = self.invariants.iter().filter(|judged| judged.violations.is_some_and(|count| count > 0));
        broken.map(|judged| judged.name).collect()
    }

    pub fn unreachable(&mut self, unread: &Unread) {
        self.unreachable.push(Unreachable { what: unread.what.clone(), why: unread.why.clone() });
    }

    /// How the verb ends: 4 where something is violated, 3 where something could not be reached.
    ///
    /// # Errors
    /// Either of them; everything was told in the report.
    pub fn outcome(&self) -> Result<(), Failure> {
        if self.violations() > 0 {
            return Err(Failure::quiet(Exit::Broken));
        }
        if !self.unreachable.is_empty() {
            return Err(Failure::quiet(Exit::Missing));
        }
        Ok(())
    }
}
