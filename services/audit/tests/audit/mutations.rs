//! Every kind of change to an exported chain is noticed, wherever it is made; and what a bare chain cannot notice is
//! written down here too.

use bytes::Bytes;
use prost::Message;
use spillway_audit::chain::{Entry, GENESIS};
use spillway_audit::{Broken, Problem, Verifier};
use spillway_proto::pb::cloudevents::CloudEventBatch;
use spillway_proto::pb::ops::AuditEntry;

use crate::kit;

fn verify(entries: &[AuditEntry]) -> Result<Verifier, Broken> {
    let mut verifier = Verifier::new();
    entries.iter().try_for_each(|entry| verifier.next(entry))?;
    Ok(verifier)
}

/// Makes an entry's own hash fit what it now says.
fn rehash(entries: &mut [AuditEntry], at: usize) {
    let previous = if at == 0 { GENESIS } else { entries[at - 1].hash[..].try_into().expect("a hash") };
    let entry = Entry::try_from(&entries[at]).expect("readable");
    entries[at].hash = entry.hash_after(&previous).to_vec().into();
}

fn flip(bytes: &Bytes, at: usize) -> Bytes {
    let mut flipped = bytes.to_vec();
    let byte = at * 7 % flipped.len();
    flipped[byte] ^= 1 << (at % 8);
    flipped.into()
}

fn renumber(entries: &mut [AuditEntry]) {
    for (index, entry) in entries.iter_mut().enumerate() {
        entry.position = i64::try_from(index + 1).expect("few");
    }
}

fn later(entry: &mut AuditEntry) {
    if let Some(time) = &mut entry.record_time {
        time.seconds += 1;
    }
}

fn with_events(entry: &mut AuditEntry, change: impl FnOnce(&mut CloudEventBatch)) {
    let mut batch = CloudEventBatch::decode(entry.body.clone()).expect("a batch");
    change(&mut batch);
    entry.body = batch.encode_to_vec().into();
}

type Mutation = (&'static str, fn(&mut Vec<AuditEntry>, usize));

/// Changes at a position `at` that is not the last; `at + 1` is another batch.
const MUTATIONS: &[Mutation] = &[
    ("a bit of the body", |e, at| e[at].body = flip(&e[at].body, at)),
    ("a bit of the hash", |e, at| e[at].hash = flip(&e[at].hash, at)),
    ("a bit of the event hashes", |e, at| e[at].event_hashes = flip(&e[at].event_hashes, at)),
    ("a bit of the event hashes of an erased body", |e, at| {
        e[at].body = Bytes::new();
        e[at].event_hashes = flip(&e[at].event_hashes, at);
    }),
    ("an erased body and its hashes", |e, at| (e[at].body, e[at].event_hashes) = (Bytes::new(), Bytes::new())),
    ("another source", |e, at| e[at].source.push('x')),
    ("another source, hash to match", |e, at| {
        e[at].source.push('x');
        rehash(e, at);
    }),
    ("another number", |e, at| e[at].number += 1),
    ("another number, hash to match", |e, at| {
        e[at].number += 1;
        rehash(e, at);
    }),
    ("another incarnation, hash to match", |e, at| {
        e[at].incarnation = uuid::Uuid::from_u128(7).to_string();
        rehash(e, at);
    }),
    ("an incarnation in capitals", |e, at| e[at].incarnation = e[at].incarnation.to_uppercase()),
    ("another partition, hash to match", |e, at| {
        e[at].partition += 1;
        rehash(e, at);
    }),
    ("another time", |e, at| later(&mut e[at])),
    ("another time, hash to match", |e, at| {
        later(&mut e[at]);
        rehash(e, at);
    }),
    ("a time finer than a microsecond", |e, at| {
        e[at].record_time.iter_mut().for_each(|time| time.nanos += 1);
    }),
    ("no time", |e, at| e[at].record_time = None),
    ("a hash cut short", |e, at| e[at].hash.truncate(31)),
    ("an event hash cut short", |e, at| e[at].event_hashes.truncate(31)),
    ("a deleted entry", |e, at| drop(e.remove(at))),
    ("a deleted entry, the rest renumbered", |e, at| {
        e.remove(at);
        renumber(e);
    }),
    ("a duplicated entry", |e, at| e.insert(at, e[at].clone())),
    ("a duplicated entry, the rest renumbered", |e, at| {
        e.insert(at, e[at].clone());
        renumber(e);
    }),
    ("an inserted entry, hash to match, the rest renumbered", |e, at| {
        let mut forged = e[at + 1].clone();
        forged.number += 1000;
        e.insert(at, forged);
        renumber(e);
        rehash(e, at);
    }),
    ("two entries swapped", |e, at| e.swap(at, at + 1)),
    ("two entries swapped and renumbered", |e, at| {
        e.swap(at, at + 1);
        renumber(e);
    }),
    ("a position of another", |e, at| e[at].position += 1),
    ("a position below", |e, at| e[at].position -= 1),
    ("the body of another batch", |e, at| e[at].body = e[at + 1].body.clone()),
    ("the body and the event hashes of another batch", |e, at| {
        e[at].body = e[at + 1].body.clone();
        e[at].event_hashes = e[at + 1].event_hashes.clone();
    }),
    ("the body and the event hashes of another batch, hash to match", |e, at| {
        e[at].body = e[at + 1].body.clone();
        e[at].event_hashes = e[at + 1].event_hashes.clone();
        rehash(e, at);
    }),
    ("an event less", |e, at| {
        with_events(&mut e[at], |batch| drop(batch.events.pop()));
        if e[at].body.is_empty() {
            // A body without events is an erased one: this would be no change that counts.
            e[at].body = Bytes::from_static(b"\x10\x00");
        }
    }),
    ("an event more", |e, at| with_events(&mut e[at], |batch| batch.events.push(batch.events[0].clone()))),
    ("events in another order", |e, at| {
        with_events(&mut e[at], |batch| batch.events.push(Default::default()));
        with_events(&mut e[at], |batch| batch.events.rotate_right(1));
    }),
    ("bytes between the events", |e, at| {
        e[at].body = [&b"\x12\x06hidden"[..], &e[at].body].concat().into();
    }),
];

#[tokio::test]
async fn every_kind_of_change_is_noticed_wherever_it_is_made() {
    let chain = kit::chain(12).await;
    assert_eq!(verify(&chain).expect("untouched").position(), 60);
    for (what, mutate) in MUTATIONS {
        for at in 0..chain.len() - 1 {
            let mut changed = chain.clone();
            mutate(&mut changed, at);
            assert_ne!(changed, chain, "{what} at {at} changes nothing");
            let broken = verify(&changed).err().unwrap_or_else(|| panic!("{what} at {at} is not noticed"));
            let first = i64::try_from(at + 1).expect("few");
            assert!([first, first + 1].contains(&broken.position), "{what} at {at}: {broken}");
        }
    }
}

#[tokio::test]
async fn the_problem_is_told_in_words() {
    let mut chain = kit::chain(2).await;
    chain.remove(3);
    let broken = verify(&chain).expect_err("a hole");
    assert_eq!(broken, Broken { position: 4, problem: Problem::Missing { found: 5 } });
    assert_eq!(broken.to_string(), "entry 4: it is missing; the next entry is 5");

    let mut chain = kit::chain(2).await;
    chain.insert(3, chain[1].clone());
    let broken = verify(&chain).expect_err("an entry twice");
    assert_eq!(broken.to_string(), "entry 4: entry 2 stands in its place");
}

#[tokio::test]
async fn erased_bodies_leave_the_chain_whole() {
    let mut chain = kit::chain(6).await;
    let whole = verify(&chain).expect("untouched");
    for at in (0..chain.len()).step_by(3) {
        chain[at].body = Bytes::new();
    }
    let verifier = verify(&chain).expect("still whole");
    assert_eq!((verifier.hash(), verifier.events(), verifier.erased()), (whole.hash(), whole.events(), 10));
}

/// The limits of a bare chain, as docs/audit.md tells them: what was noted elsewhere is what shows them.
#[tokio::test]
async fn a_cut_tail_and_a_forged_last_entry_show_only_against_what_was_noted() {
    let chain = kit::chain(4).await;
    let noted = verify(&chain).expect("untouched");

    let cut = verify(&chain[..15]).expect("a bare chain cannot see that its tail was cut");
    assert_ne!((cut.position(), cut.hash()), (noted.position(), noted.hash()));

    let mut forged = chain.clone();
    let last = forged.len() - 1;
    later(&mut forged[last]);
    rehash(&mut forged, last);
    let forged = verify(&forged).expect("a bare chain cannot see that its last entry was written anew");
    assert_eq!(forged.position(), noted.position());
    assert_ne!(forged.hash(), noted.hash());
}

#[tokio::test]
async fn verifying_in_stretches_is_verifying_the_whole() {
    let chain = kit::chain(5).await;
    let whole = verify(&chain).expect("untouched");
    for split in 0..=chain.len() {
        let mut first = Verifier::new();
        chain[..split].iter().try_for_each(|entry| first.next(entry)).expect("fits");
        let mut second = Verifier::after(first.position(), *first.hash());
        chain[split..].iter().try_for_each(|entry| second.next(entry)).expect("fits");
        assert_eq!((second.position(), second.hash()), (whole.position(), whole.hash()));
        assert_eq!(first.events() + second.events(), whole.events());
    }
}
