//! What all attempts come to.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use serde::Serialize;

/// References told by name among those that were charged more than once.
const NAMED_MAX: i64 = 100;

#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub attempts: i64,
    pub by_status: Vec<StatusSum>,
    pub by_currency: BTreeMap<String, CurrencySum>,
    pub charged_more_than_once: MoreThanOnce,
}

#[derive(Debug, Serialize)]
pub(crate) struct StatusSum {
    pub kind: String,
    pub status: String,
    pub currency: String,
    pub count: i64,
    /// In minor units: what moved, or was asked for where nothing moved.
    pub amount: i64,
}

/// What moved in one currency, in minor units.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CurrencySum {
    pub captured: i64,
    pub pending: i64,
    pub refunded: i64,
    /// Captured and pending less refunded.
    pub net: i64,
}

/// Strict double charges: counted before any refund is taken off.
#[derive(Debug, Serialize)]
pub(crate) struct MoreThanOnce {
    pub count: i64,
    /// The first hundred of them.
    pub references: Vec<ChargedReference>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ChargedReference {
    pub reference: String,
    pub charges: i64,
    /// In minor units.
    pub captured: i64,
    /// In minor units.
    pub refunded: i64,
}

/// All figures are of one moment: one read transaction.
pub(super) fn summarize(reading: &Connection, ledger: &str, now_ms: i64) -> rusqlite::Result<Summary> {
    let moment = reading.unchecked_transaction()?;
    let by_status = by_status(&moment, now_ms)?;
    let summary = Summary {
        attempts: by_status.iter().map(|sum| sum.count).sum(),
        by_currency: by_currency(&by_status),
        by_status,
        charged_more_than_once: charged_more_than_once(&moment, ledger)?,
    };
    moment.commit()?;
    Ok(summary)
}

fn by_status(reading: &Connection, now_ms: i64) -> rusqlite::Result<Vec<StatusSum>> {
    let sum = |row: &rusqlite::Row<'_>| {
        Ok(StatusSum {
            kind: row.get(0)?,
            status: row.get(1)?,
            currency: row.get(2)?,
            count: row.get(3)?,
            amount: row.get(4)?,
        })
    };
    reading
        .prepare_cached(
            "SELECT kind, CASE WHEN status = 'pending' AND settles_ms <= ?1 THEN 'succeeded' ELSE status END, \
                    currency, count(*), sum(amount) \
             FROM attempts GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        )?
        .query_map([now_ms], sum)?
        .collect()
}

fn by_currency(by_status: &[StatusSum]) -> BTreeMap<String, CurrencySum> {
    let mut sums: BTreeMap<String, CurrencySum> = BTreeMap::new();
    for part in by_status {
        let sum = sums.entry(part.currency.clone()).or_default();
        match (part.kind.as_str(), part.status.as_str()) {
            ("charge", "succeeded") => sum.captured += part.amount,
            ("charge", "pending") => sum.pending += part.amount,
            ("refund", "succeeded") => sum.refunded += part.amount,
            (_, _) => {}
        }
        sum.net = sum.captured + sum.pending - sum.refunded;
    }
    sums
}

fn charged_more_than_once(reading: &Connection, ledger: &str) -> rusqlite::Result<MoreThanOnce> {
    let count = reading
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM attempts WHERE kind = 'charge' AND effect = 1 \
             GROUP BY reference HAVING count(*) > 1)",
        )?
        .query_row([], |row| row.get(0))?;
    let reference = |row: &rusqlite::Row<'_>| {
        Ok(ChargedReference {
            reference: row.get(0)?,
            charges: row.get(1)?,
            captured: row.get(2)?,
            refunded: row.get(3)?,
        })
    };
    let references = reading
        .prepare_cached(
            "WITH twice AS (SELECT reference FROM attempts WHERE kind = 'charge' AND effect = 1 \
                            GROUP BY reference HAVING count(*) > 1 ORDER BY reference LIMIT ?1) \
             SELECT reference, count(*), sum(amount), \
                    sum((SELECT coalesce(sum(refund.amount), 0) FROM attempts AS refund \
                         WHERE refund.kind = 'refund' AND refund.effect = 1 \
                         AND refund.source = ?2 || charge.id)) \
             FROM attempts AS charge \
             WHERE kind = 'charge' AND effect = 1 AND reference IN (SELECT reference FROM twice) \
             GROUP BY reference ORDER BY reference",
        )?
        .query_map(params![NAMED_MAX, format!("ch_{ledger}_")], reference)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(MoreThanOnce { count, references })
}
