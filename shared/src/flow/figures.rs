//! What a ledger tells of itself.

use std::path::Path;

use spillway_proto::pb::ops;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Incarnation, Partition};

use crate::ledger::{
    Incident, Ledger, Pause, ReadError, SET_ASIDE_US, Service, Setting, StoreError, Tx, incidents_told, settings_told,
};

/// The flow of a ledger, as it is now.
///
/// # Errors
/// Where it cannot be read.
pub async fn of<S: Service>(ledger: &Ledger<S>, is_connected: bool) -> Result<ops::LedgerFlow, ReadError> {
    let identity = ledger.identity().clone();
    let heads = ledger.heads().borrow().clone();
    let spoken: Vec<(Partition, i64, i64)> =
        identity.serves.iter().map(|p| (*p, heads.get(p).copied().unwrap_or(0), ledger.relayed_up_to(*p))).collect();
    let now_us = time::to_micros(ledger.now());
    let mut flow = ledger
        .query(move |tx| {
            Ok(ops::LedgerFlow {
                said: said(tx, identity.incarnation, &spoken)?,
                listeners: listeners(tx, identity.incarnation, &spoken)?,
                due: due(tx, now_us)?,
                dead_letters: count(tx, "select count(*) from dead_letter where state = 'DEAD'")?,
                settings: settings_told(tx)?.into_iter().map(setting).collect(),
                incidents: incidents_told(tx)?.into_iter().map(incident).collect(),
                ..ops::LedgerFlow::default()
            })
        })
        .await?;
    let id = ledger.identity().id;
    flow.ledger = id.ledger.name().to_owned();
    flow.partition = u32::from(id.partition.0);
    flow.problem = ledger.is_ready().await.err().map(|why| why.to_string()).unwrap_or_default();
    flow.jetstream_connected = is_connected;
    flow.missing = missing(ledger);
    flow.pauses = ledger.pauses().borrow().iter().map(|(flow, pause)| told_pause(flow, pause)).collect();
    flow.disk_free_bytes = free_bytes(ledger.folder());
    Ok(flow)
}

fn count(tx: &Tx<'_>, sql: &str) -> Result<i64, StoreError> {
    Ok(tx.read(sql, &[], |row| row.int(0))?.into_iter().sum())
}

fn wire(us: Option<i64>) -> Option<prost_types::Timestamp> {
    us.map(|us| time::to_wire(time::from_micros(us)))
}

/// When a batch was committed.
fn committed_us(
    tx: &Tx<'_>,
    incarnation: Incarnation,
    partition: Partition,
    number: i64,
) -> Result<Option<i64>, StoreError> {
    let found = tx.read(
        "select time_us from outbox where partition = $1 and number = $2 and incarnation = $3",
        &[i64::from(partition.0).into(), number.into(), incarnation.as_bytes().into()],
        |row| row.int(0),
    )?;
    Ok(found.into_iter().next())
}

fn said(tx: &Tx<'_>, incarnation: Incarnation, spoken: &[(Partition, i64, i64)]) -> Result<Vec<ops::Said>, StoreError> {
    let told = spoken.iter().map(|(partition, head, relayed)| {
        let unnumbered = tx.read(
            "select count(*), min(time_us) from outbox where number is null and partition = $1",
            &[i64::from(partition.0).into()],
            |row| Ok((row.int(0)?, row.opt_int(1)?)),
        )?;
        let (unnumbered, since) = unnumbered.into_iter().next().unwrap_or_default();
        let oldest = committed_us(tx, incarnation, *partition, relayed + 1)?.or(since);
        Ok(ops::Said {
            partition: u32::from(partition.0),
            head: *head,
            backlog: (head - relayed).max(0) + unnumbered,
            oldest_time: wire(oldest),
        })
    });
    told.collect()
}

fn listeners(
    tx: &Tx<'_>,
    incarnation: Incarnation,
    spoken: &[(Partition, i64, i64)],
) -> Result<Vec<ops::Listener>, StoreError> {
    let marks = tx.read(
        "select listener, listener_partition, partition, number, told_us from listener_mark
         where incarnation = $1 order by listener, listener_partition, partition",
        &[incarnation.as_bytes().into()],
        |row| Ok((row.text(0)?, row.int(1)?, row.int(2)?, row.int(3)?, row.int(4)?)),
    )?;
    let told = marks.into_iter().map(|(ledger, own, partition, number, told_us)| {
        let head = spoken.iter().find(|(spoken, ..)| i64::from(spoken.0) == partition).map_or(0, |(_, head, _)| *head);
        let partition = Partition(u16::try_from(partition).unwrap_or(u16::MAX));
        let lag = (head - number).max(0);
        Ok(ops::Listener {
            ledger,
            partition: u32::try_from(own).unwrap_or(u32::MAX),
            heard_partition: u32::from(partition.0),
            number,
            lag,
            oldest_time: if lag > 0 { wire(committed_us(tx, incarnation, partition, number + 1)?) } else { None },
            told_time: wire(Some(told_us)),
        })
    });
    told.collect()
}

fn due(tx: &Tx<'_>, now_us: i64) -> Result<Vec<ops::DueWork>, StoreError> {
    tx.read(
        "select kind, count(*), sum(case when due_us <= $1 then 1 else 0 end),
                min(case when due_us <= $1 then due_us end), min(case when due_us > $1 and due_us < $2 then due_us end)
         from due group by kind order by kind",
        &[now_us.into(), SET_ASIDE_US.into()],
        |row| {
            Ok(ops::DueWork {
                kind: row.text(0)?,
                rows: row.int(1)?,
                overdue: row.int(2)?,
                oldest_time: wire(row.opt_int(3)?),
                next_time: wire(row.opt_int(4)?),
            })
        },
    )
}

/// What is missing below something that was heard.
fn missing<S: Service>(ledger: &Ledger<S>) -> Vec<ops::Missing> {
    let inbox = ledger.inbox().borrow().clone();
    let mut missing: Vec<ops::Missing> = inbox
        .lines()
        .flat_map(|(line, mark)| {
            let gaps = mark.missing(mark.above.last().copied().unwrap_or(0));
            let first = gaps.first().map(|(first, _)| *first);
            first.map(|first| ops::Missing {
                ledger: line.source.name().to_owned(),
                partition: u32::from(line.partition.0),
                first,
                batches: gaps.iter().map(|(from, to)| to - from + 1).sum(),
            })
        })
        .collect();
    missing.sort_by(|a, b| (&a.ledger, a.partition).cmp(&(&b.ledger, b.partition)));
    missing
}

/// A pause as it is told.
pub(super) fn told_pause(flow: &str, pause: &Pause) -> ops::Pause {
    ops::Pause {
        flow: flow.to_owned(),
        reason: pause.reason.clone(),
        by: pause.by.clone(),
        since: Some(time::to_wire(pause.since)),
    }
}

fn setting(setting: Setting) -> ops::Setting {
    let Setting { name, value, reason, by, since } = setting;
    ops::Setting { name, value, reason, by, since: Some(time::to_wire(since)) }
}

fn incident(incident: Incident) -> ops::Incident {
    let at = |time: Timestamp| Some(time::to_wire(time));
    ops::Incident {
        kind: incident.kind,
        source: incident.source,
        partition: u32::from(incident.partition),
        first_time: at(incident.first),
        last_time: at(incident.last),
        count: incident.count,
    }
}

/// 0 where the disk does not say.
fn free_bytes(folder: &Path) -> i64 {
    let free = rustix::fs::statvfs(folder).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)).unwrap_or(0);
    i64::try_from(free).unwrap_or(i64::MAX)
}
