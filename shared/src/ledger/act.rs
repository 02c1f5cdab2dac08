//! What operators did: once for each request id, with what it left in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use spillway_proto::time::{self, Timestamp};
use spillway_proto::{DEFAULT_SHOP, Event, LedgerId, NewEvent, Subject};
use uuid::Uuid;

use super::error::StoreError;
use super::pause::{self, Pause};
use super::setting;
use super::tx::{Tx, Value};

/// An operator's act, in the operator's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The same for every try of the same act.
    pub request_id: Uuid,
    /// Why.
    pub reason: String,
    /// Who, as they call themselves.
    pub by: String,
    /// W3C trace context; empty where there is none.
    pub traceparent: String,
}

impl Act {
    /// What is said of it. Every ledger that is told of the act says it under an id of its own.
    pub(super) fn event(&self, ledger: LedgerId, about: &str, event: impl Into<Event>) -> NewEvent {
        NewEvent {
            shop: DEFAULT_SHOP.to_owned(),
            subject: Subject::Flow(about.to_owned()),
            occurrence: format!("{}/{ledger}", self.request_id),
            traceparent: self.traceparent.clone(),
            event: event.into(),
        }
    }
}

/// What became of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// It is done.
    Done,
    /// Nothing was to be done: it was so before.
    Already,
    /// This request was taken before; nothing was done again.
    Repeated,
    /// Its request id stands for another act; nothing was done.
    Reused,
}

/// Everything that operators left in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InForce {
    pub pauses: Arc<BTreeMap<String, Pause>>,
    pub settings: Arc<BTreeMap<String, String>>,
}

impl InForce {
    pub(super) fn load(tx: &Tx<'_>) -> Result<Self, StoreError> {
        Ok(InForce { pauses: Arc::new(pause::load(tx)?), settings: Arc::new(setting::load(tx)?) })
    }
}

/// Writes the act down. `Some` where it is not to be done: its request was taken before.
pub(super) fn remember(tx: &Tx<'_>, act: &Act, what: &str, at: Timestamp) -> Result<Option<Acted>, StoreError> {
    let known =
        tx.read("select what from operator_act where request_id = $1", &[act.request_id.as_bytes().into()], |row| {
            row.text(0)
        })?;
    if let Some(known) = known.first() {
        return Ok(Some(if known == what { Acted::Repeated } else { Acted::Reused }));
    }
    tx.write(
        "insert into operator_act (request_id, what, at_us) values ($1, $2, $3)",
        &[act.request_id.as_bytes().into(), Value::Text(what), time::to_micros(at).into()],
    )?;
    Ok(None)
}
