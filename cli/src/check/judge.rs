//! Judges what was gathered: every invariant, and the figures of the report.

use std::collections::{BTreeMap, BTreeSet};

use spillway_proto::time::{self, Timestamp};

use super::invariants::{self, Invariant, Violation};
use super::looking::{Looking, Part};
use super::report::{Counts, Orders};
use super::work::Work;

/// What violates each invariant that could be judged, by its name.
pub type Found = BTreeMap<&'static str, Vec<Violation>>;

/// Sets what queries go by, and makes the tables that follow from others.
fn prepare(work: &Work, looking: &Looking, seen: &BTreeSet<Part>, now: Timestamp) -> rusqlite::Result<()> {
    let stuck_us = i64::try_from(looking.stuck_after.as_micros()).unwrap_or(i64::MAX);
    work.set("old_us", time::to_micros(now).saturating_sub(stuck_us))?;
    work.set("mail", i64::from(seen.contains(&Part::Mail)))?;
    work.connection.execute_batch(include_str!("sql/moves.sql"))?;
    work.connection.execute_batch("analyze")
}

/// Everything that violates something.
///
/// # Errors
/// Where a query cannot be run: a mistake in this build.
pub fn judge(work: &Work, looking: &Looking, seen: &BTreeSet<Part>, now: Timestamp) -> rusqlite::Result<Found> {
    prepare(work, looking, seen, now)?;
    let mut found = Found::new();
    for invariant in invariants::ALL.iter().filter(|invariant| is_judged(invariant, seen)) {
        found.insert(invariant.name, invariant.violations(work)?);
    }
    Ok(found)
}

/// Whether everything is there that it takes.
pub fn is_judged(invariant: &Invariant, seen: &BTreeSet<Part>) -> bool {
    invariant.needs.is_none_or(|part| seen.contains(&part))
}

/// What violated the same in both looks, as the second one tells it.
pub fn in_both(first: &Found, second: Found) -> Found {
    let in_first = |name: &'static str| -> BTreeSet<&str> {
        first.get(name).into_iter().flatten().map(|violation| violation.subject.as_str()).collect()
    };
    let kept = second.into_iter().map(|(name, violations)| {
        let before = in_first(name);
        (name, violations.into_iter().filter(|violation| before.contains(violation.subject.as_str())).collect())
    });
    kept.collect()
}

/// The orders that violations are about.
pub fn orders_of(found: &Found) -> Vec<bytes::Bytes> {
    let orders: BTreeSet<&Vec<u8>> =
        found.values().flatten().filter_map(|violation| violation.order.as_ref()).collect();
    orders.into_iter().map(|order| bytes::Bytes::copy_from_slice(order)).collect()
}

/// How the orders stand.
///
/// # Errors
/// Where a query cannot be run.
pub fn orders(work: &Work) -> rusqlite::Result<Orders> {
    let calls = |outcome: &str| {
        let unique = "select count(distinct shop || hex(request_id)) from call where op = 'place'";
        work.number(&format!("{unique} and {outcome}"))
    };
    let is_there = "exists (select 1 from intake i where i.shop = call.shop and i.request_id = call.request_id)";
    // Of the requests of which no call was answered for certain.
    let open = "outcome = 'unknown' and not exists (select 1 from call c where c.shop = call.shop
                and c.request_id = call.request_id and c.outcome = 'ok')";
    let state = |state: &str| work.number(&format!("select count(*) from orders where state = '{state}'"));
    Ok(Orders {
        submitted: calls("1")?,
        ok: calls("outcome = 'ok'")?,
        failed: calls("outcome = 'fail'")?,
        unknown_present: calls(&format!("{open} and {is_there}"))?,
        unknown_absent: calls(&format!("{open} and not {is_there}"))?,
        accepted: work.number("select count(*) from intake")?,
        confirmed: state("CONFIRMED")?,
        rejected: state("REJECTED")?,
        cancelled: state("CANCELLED")?,
        refunded: state("REFUNDED")?,
        undecided: state("PENDING")?,
    })
}

/// Undecided orders by what they wait for, and what else waits for a human.
///
/// # Errors
/// Where a query cannot be run.
pub fn waiting(work: &Work) -> rusqlite::Result<BTreeMap<String, i64>> {
    let mut waiting = BTreeMap::new();
    let sql = "select coalesce(why, 'on its way'), count(distinct order_id) from waiting group by 1
               union all
               select 'mail to be sent', count(*) from delivery where state = 'PENDING'
               union all
               select 'mail given up', count(*) from delivery where state = 'FAILED'
               union all
               select 'dead letters', count(*) from dead_letter where state = 'DEAD'
               union all
               select 'payments to be looked up again', count(*) from due d join payment p on p.order_id = d.order_id
               where d.role = 'payments' and p.state in ('CANCELLED', 'PARKED')
               union all
               select 'parked payments', count(*) from payment where state = 'PARKED'";
    let mut statement = work.connection.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    for row in rows {
        let (why, count) = row?;
        if count > 0 {
            waiting.insert(why, count);
        }
    }
    Ok(waiting)
}

/// What really happened.
///
/// # Errors
/// Where a query cannot be run.
pub fn counts(work: &Work) -> rusqlite::Result<Counts> {
    let number = |sql: &str| work.number(sql);
    Ok(Counts {
        events: number("select count(*) from event")?,
        batches: number("select count(*) from batch")?,
        audit_entries: number("select count(*) from entry")?,
        stream_messages: number("select count(*) from stream_message")?,
        not_in_streams: number(
            "select count(*) from batch b where exists (select 1 from stream_message) and not exists (
                 select 1 from stream_message s where s.role = b.role and s.incarnation = b.incarnation
                 and s.partition = b.partition and s.number = b.number)",
        )?,
        said_again_in_streams: number(
            "select coalesce(sum(n - 1), 0) from (select count(*) as n from stream_message
             group by role, incarnation, partition, number)",
        )?,
        provider_attempts: number("select count(*) from attempt")?,
        provider_repeats_absorbed: number("select count(*) from attempt where status = 'replayed'")?,
        provider_unanswered: number("select count(*) from attempt where answered = 0")?,
        unknown_outcomes: number("select count(*) from payment where sent_us is not null")?,
        unknown_outcomes_settled: number(
            "select count(*) from payment where sent_us is not null
             and state in ('CAPTURED', 'DECLINED', 'CANCELLED', 'REFUNDED')",
        )?,
        compensations: number("select count(*) from payment where state in ('COMPENSATING', 'REFUNDED')")?,
        dead_letters: number("select count(*) from dead_letter")?,
        dead_letter_repeats: number("select coalesce(sum(count - 1), 0) from dead_letter")?,
        mails: number("select count(*) from mail")?,
        orders_read: number("select count(*) from call where op <> 'place' and version is not null")?,
    })
}
