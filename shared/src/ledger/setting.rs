//! Settings that operators change while it runs. They are kept in the ledger of who goes by them, and win over the
//! configuration.

use std::collections::BTreeMap;

use spillway_proto::LedgerId;
use spillway_proto::pb::events::FlowSettingChanged;
use spillway_proto::time::{self, Timestamp};

use super::act::{self, Act, Acted, InForce};
use super::error::{NotTaken, StoreError};
use super::handle::Ledger;
use super::says::Says;
use super::service::Service;
use super::tx::{Tx, Value};

/// A setting in force, with its why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: String,
    /// In the operator's words.
    pub reason: String,
    /// Who set it, as they call themselves.
    pub by: String,
    pub since: Timestamp,
}

impl<S: Service> Ledger<S> {
    /// Sets `name`; an empty value goes back to the configuration. It is in force with the commit.
    ///
    /// # Errors
    /// Where it was not committed.
    pub async fn set(&self, name: &str, value: &str, act: Act) -> Result<Acted, NotTaken> {
        let (id, name, value) = (self.identity().id, name.to_owned(), value.to_owned());
        self.act(move |tx, says, at| set(tx, says, at, id, &name, &value, &act)).await
    }
}

fn set(
    tx: &Tx<'_>,
    says: &mut Says,
    at: Timestamp,
    id: LedgerId,
    name: &str,
    value: &str,
    act: &Act,
) -> Result<Acted, StoreError> {
    if let Some(before) = act::remember(tx, act, &format!("set {name} {value}: {}", act.reason), at)? {
        return Ok(before);
    }
    let changed = match value {
        "" => tx.write("delete from setting where name = $1", &[Value::Text(name)])?,
        value => tx.write(
            "insert into setting (name, value, reason, set_by, since_us) values ($1, $2, $3, $4, $5)
             on conflict (name)
             do update set value = excluded.value, reason = excluded.reason, set_by = excluded.set_by,
                           since_us = excluded.since_us
             where setting.value <> excluded.value",
            &[
                Value::Text(name),
                Value::Text(value),
                Value::Text(&act.reason),
                Value::Text(&act.by),
                time::to_micros(at).into(),
            ],
        )?,
    };
    if changed == 0 {
        return Ok(Acted::Already);
    }
    let (setting, value, reason, by) = (name.to_owned(), value.to_owned(), act.reason.clone(), act.by.clone());
    says.event(&act.event(id, name, FlowSettingChanged { setting, value, reason, by }));
    says.in_force = Some(InForce::load(tx)?);
    Ok(Acted::Done)
}

pub(super) fn load(tx: &Tx<'_>) -> Result<BTreeMap<String, String>, StoreError> {
    Ok(told(tx)?.into_iter().map(|setting| (setting.name, setting.value)).collect())
}

/// Every setting, by name, with its why.
///
/// # Errors
/// Where the database cannot answer.
pub fn told(tx: &Tx<'_>) -> Result<Vec<Setting>, StoreError> {
    tx.read("select name, value, reason, set_by, since_us from setting order by name", &[], |row| {
        Ok(Setting {
            name: row.text(0)?,
            value: row.text(1)?,
            reason: row.text(2)?,
            by: row.text(3)?,
            since: time::from_micros(row.int(4)?),
        })
    })
}
