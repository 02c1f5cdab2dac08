use bytes::Bytes;
use spillway_audit::JsonLines;
use spillway_audit::chain::{Entry, GENESIS, Hash};
use spillway_proto::pb::ops::AuditEntry;
use spillway_proto::time;
use uuid::Uuid;

use super::*;

/// The lines of a sound export of so many erased entries in each partition.
fn export(partitions: u32, entries: i64) -> Vec<String> {
    let lines = JsonLines::default();
    let mut export = Vec::new();
    for partition in 0..partitions {
        let mut hash: Hash = GENESIS;
        for position in 1..=entries {
            let mut entry = Entry {
                partition,
                position,
                source: "orders".into(),
                incarnation: Uuid::from_u128(7),
                number: position,
                record_us: 1_000 + position,
                event_hashes: vec![u8::try_from(position).expect("small"); 32],
                hash: GENESIS,
                body: Bytes::new(),
            };
            entry.hash = entry.hash_after(&hash);
            hash = entry.hash;
            export.push(lines.to_json(&wire(&entry)).to_string());
        }
    }
    export
}

fn wire(entry: &Entry) -> AuditEntry {
    AuditEntry {
        partition: entry.partition,
        position: entry.position,
        source: entry.source.clone(),
        incarnation: entry.incarnation.to_string(),
        number: entry.number,
        record_time: Some(time::to_wire(time::from_micros(entry.record_us))),
        event_hashes: entry.event_hashes.clone().into(),
        hash: entry.hash.to_vec().into(),
        body: entry.body.clone(),
    }
}

fn verified(lines: &[String]) -> Result<Vec<Chain>, Failure> {
    verify(lines.join("\n").as_bytes(), |error| Failure::failed(error.to_string()))
}

#[test]
fn a_sound_export_is_verified_chain_by_chain() {
    let chains = verified(&export(2, 3)).expect("sound");
    assert_eq!(chains.len(), 2);
    for chain in chains {
        assert_eq!((chain.entries, chain.events, chain.broken), (3, 3, None));
        assert_eq!(chain.hash.len(), 64);
    }
}

#[test]
fn an_entry_that_was_changed_or_left_out_breaks_its_chain_alone() {
    let mut changed = export(2, 3);
    changed[1] = changed[1].replace("\"number\":2", "\"number\":9");
    let mut holed = export(2, 3);
    holed.remove(1);
    for lines in [changed, holed] {
        let chains = verified(&lines).expect("read");
        assert_eq!(chains[0].broken.as_ref().map(|broken| broken.position), Some(2));
        assert_eq!((chains[0].entries, chains[1].entries), (1, 3));
        assert_eq!(chains[1].broken, None);
    }
}

#[test]
fn what_is_no_export_is_a_usage_failure_and_a_line_broken_later_a_broken_trail() {
    assert_eq!(verified(&["hello".into()]).expect_err("no export").exit, crate::exit::Exit::Usage);
    let mut lines = export(1, 2);
    lines[1] = "hello".into();
    assert_eq!(verified(&lines).expect_err("broken").exit, crate::exit::Exit::Broken);
}
