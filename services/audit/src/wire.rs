//! An entry as the contract has it.

use spillway_proto::pb::ops::AuditEntry;
use spillway_proto::time;
use uuid::Uuid;

use crate::chain::Entry;
use crate::verify::Problem;

impl From<Entry> for AuditEntry {
    fn from(entry: Entry) -> Self {
        AuditEntry {
            partition: entry.partition,
            position: entry.position,
            source: entry.source,
            incarnation: entry.incarnation.to_string(),
            number: entry.number,
            record_time: Some(time::to_wire(time::from_micros(entry.record_us))),
            event_hashes: entry.event_hashes.into(),
            hash: entry.hash.to_vec().into(),
            body: entry.body,
        }
    }
}

impl TryFrom<&AuditEntry> for Entry {
    type Error = Problem;

    /// Every entry has one form on the wire; another that would mean the same is refused.
    fn try_from(entry: &AuditEntry) -> Result<Self, Problem> {
        let unreadable = |what: &str| Problem::Unreadable(what.to_owned());
        let incarnation = Uuid::try_parse(&entry.incarnation)
            .ok()
            .filter(|id| id.to_string() == entry.incarnation)
            .ok_or_else(|| unreadable("incarnation is no UUID in lower case"))?;
        let record_time = entry
            .record_time
            .as_ref()
            .and_then(time::from_wire)
            .filter(|at| time::whole_micros(*at) == *at)
            .ok_or_else(|| unreadable("record_time is missing or no whole microsecond"))?;
        Ok(Entry {
            partition: entry.partition,
            position: entry.position,
            source: entry.source.clone(),
            incarnation,
            number: entry.number,
            record_us: time::to_micros(record_time),
            event_hashes: entry.event_hashes.to_vec(),
            hash: entry.hash[..].try_into().map_err(|_| unreadable("hash is not 32 bytes"))?,
            body: entry.body.clone(),
        })
    }
}
