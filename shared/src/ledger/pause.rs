//! What operators hold up: kept in the ledger whose work it is, so that it holds over restarts.

use std::collections::BTreeMap;

use spillway_proto::LedgerId;
use spillway_proto::pb::events::{FlowPaused, FlowResumed};
use spillway_proto::time::{self, Timestamp};

use super::act::{self, Act, Acted, InForce};
use super::error::{NotTaken, StoreError};
use super::handle::Ledger;
use super::says::Says;
use super::service::Service;
use super::tx::{Tx, Value};

/// Why a flow stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// In the operator's words.
    pub reason: String,
    /// Who paused it, as they call themselves.
    pub by: String,
    pub since: Timestamp,
}

impl<S: Service> Ledger<S> {
    /// Holds a flow up. It is in force with the commit: nothing new is taken, what is in hand is finished.
    ///
    /// # Errors
    /// Where it was not committed.
    pub async fn pause(&self, flow: &str, act: Act) -> Result<Acted, NotTaken> {
        let (id, flow) = (self.identity().id, flow.to_owned());
        self.act(move |tx, says, at| pause(tx, says, at, id, &flow, &act)).await
    }

    /// Lets a flow go on.
    ///
    /// # Errors
    /// Where it was not committed.
    pub async fn resume(&self, flow: &str, act: Act) -> Result<Acted, NotTaken> {
        let (id, flow) = (self.identity().id, flow.to_owned());
        self.act(move |tx, says, at| resume(tx, says, at, id, &flow, &act)).await
    }
}

fn pause(
    tx: &Tx<'_>,
    says: &mut Says,
    at: Timestamp,
    id: LedgerId,
    flow: &str,
    act: &Act,
) -> Result<Acted, StoreError> {
    if let Some(before) = act::remember(tx, act, &format!("pause {flow}: {}", act.reason), at)? {
        return Ok(before);
    }
    let added = tx.write(
        "insert into pause (flow, reason, paused_by, since_us) values ($1, $2, $3, $4) on conflict (flow) do nothing",
        &[Value::Text(flow), Value::Text(&act.reason), Value::Text(&act.by), time::to_micros(at).into()],
    )?;
    if added == 0 {
        return Ok(Acted::Already);
    }
    let (flow, reason, by) = (flow.to_owned(), act.reason.clone(), act.by.clone());
    says.event(&act.event(id, &flow.clone(), FlowPaused { flow, reason, by }));
    says.in_force = Some(InForce::load(tx)?);
    Ok(Acted::Done)
}

fn resume(
    tx: &Tx<'_>,
    says: &mut Says,
    at: Timestamp,
    id: LedgerId,
    flow: &str,
    act: &Act,
) -> Result<Acted, StoreError> {
    if let Some(before) = act::remember(tx, act, &format!("resume {flow}: {}", act.reason), at)? {
        return Ok(before);
    }
    if tx.write("delete from pause where flow = $1", &[Value::Text(flow)])? == 0 {
        return Ok(Acted::Already);
    }
    let (flow, reason, by) = (flow.to_owned(), act.reason.clone(), act.by.clone());
    says.event(&act.event(id, &flow.clone(), FlowResumed { flow, reason, by }));
    says.in_force = Some(InForce::load(tx)?);
    Ok(Acted::Done)
}

pub(super) fn load(tx: &Tx<'_>) -> Result<BTreeMap<String, Pause>, StoreError> {
    let rows = tx.read("select flow, reason, paused_by, since_us from pause", &[], |row| {
        let pause = Pause { reason: row.text(1)?, by: row.text(2)?, since: time::from_micros(row.int(3)?) };
        Ok((row.text(0)?, pause))
    })?;
    Ok(rows.into_iter().collect())
}
