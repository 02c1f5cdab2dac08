//! A service that is no shop: it sums numbers by name. Small enough to see through, and real in every respect.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use spillway_proto::batch::{BatchNumber, BatchWriter};
use spillway_proto::pb::events as v1;
use spillway_proto::time::Timestamp;
use spillway_proto::{
    Envelope, Event, EventKind, Incarnation, Ledger as Source, LedgerId, NewEvent, Partition, Subject,
};
use spillway_shared::bus::{Bus, BusConfig, Routes};
use spillway_shared::ledger::{
    AboutDue, Batch, Due, Heard, Ledger, LedgerSpec, Migration, Numbering, Says, Service, StoreError, SystemClock, Tx,
    Unreadable, Value,
};
use spillway_shared::lifecycle::Life;
use spillway_shared::role::Place;

pub const MIGRATIONS: &[Migration] =
    &[("tally", "create table tally (name text primary key, total integer not null check (total < 1000000))")];

/// Sums `StockAdjusted`: by name, and says every new total.
pub struct Tally {
    /// Panics on this name.
    pub shaky: AtomicBool,
    /// Names that begin with "bulk" are of a kind that it knows.
    pub knows_bulk: AtomicBool,
}

impl Tally {
    pub fn new() -> Self {
        Tally { shaky: AtomicBool::new(true), knows_bulk: AtomicBool::new(true) }
    }
}

#[derive(Debug)]
pub struct Add {
    pub name: String,
    pub delta: i64,
    /// Says it again later, through due work.
    pub later: Option<Timestamp>,
    pub done: bool,
    /// By which its caller repeats it.
    pub call: Option<uuid::Uuid>,
}

impl Add {
    pub fn new(name: &str, delta: i64) -> Self {
        Add { name: name.to_owned(), delta, later: None, done: false, call: None }
    }
}

impl Service for Tally {
    type Input = Add;
    type Answer = i64;
    type Book = BTreeMap<String, i64>;

    fn hear(&self, kind: EventKind, event: &Envelope) -> Result<Option<Add>, Unreadable> {
        let Subject::Sku(name) = &event.subject else { return Ok(None) };
        if name.starts_with("bulk") && !self.knows_bulk.load(Ordering::Relaxed) {
            return Err(Unreadable::Newer("bulk".to_owned()));
        }
        match Event::decode(kind, event.payload.clone()).map_err(|e| Unreadable::Undecodable(e.to_string()))? {
            Event::StockAdjusted(adjusted) => Ok(Some(Add::new(name, adjusted.delta))),
            _ => Ok(None),
        }
    }

    fn load(&self, tx: &Tx<'_>, inputs: &[&Add]) -> Result<Self::Book, StoreError> {
        let names: std::collections::BTreeSet<&str> = inputs.iter().map(|add| add.name.as_str()).collect();
        let keys = names.into_iter().map(|name| [Value::Text(name)]);
        let rows =
            tx.read_each("select name, total from tally where name = $1", keys, |row| Ok((row.text(0)?, row.int(1)?)))?;
        Ok(rows.into_iter().collect())
    }

    fn decide(&self, book: &mut Self::Book, add: &Add, at: Timestamp, says: &mut Says) -> i64 {
        assert!(!(add.name == "shaky" && self.shaky.load(Ordering::Relaxed)), "shaky input");
        if add.name == "fatal" {
            std::process::abort();
        }
        let total = book.entry(add.name.clone()).or_insert(0);
        *total += add.delta;
        if add.done {
            says.done("again", add.name.clone().into_bytes());
        }
        if let Some(at) = add.later {
            let key = Bytes::from(add.name.clone().into_bytes());
            says.due(Due { kind: "again", key, at, attempt: 1, payload: Bytes::new() });
        }
        says.event(&adjusted(&add.name, *total, &format!("{}-{at}", *total)));
        *total
    }

    fn command_id(&self, add: &Add) -> Option<uuid::Uuid> {
        add.call
    }

    fn about_due(&self, due: &Due) -> AboutDue {
        let name = String::from_utf8_lossy(&due.key).into_owned();
        let input = vec![("delta", "10".to_owned())];
        AboutDue { subject: Some(Subject::Sku(name)), input, ..AboutDue::default() }
    }

    fn save(&self, tx: &Tx<'_>, book: Self::Book) -> Result<(), StoreError> {
        tx.write_each(
            "insert into tally (name, total) values ($1, $2) on conflict (name) do update set total = excluded.total",
            book.iter().map(|(name, total)| [Value::Text(name), Value::Int(*total)]),
        )?;
        Ok(())
    }
}

pub fn adjusted(name: &str, delta: i64, occurrence: &str) -> NewEvent {
    NewEvent {
        shop: "default".into(),
        subject: Subject::Sku(name.into()),
        occurrence: occurrence.into(),
        traceparent: String::new(),
        event: v1::StockAdjusted { delta, ..Default::default() }.into(),
    }
}

/// A batch of inventory: names and deltas.
pub fn batch(incarnation: Incarnation, number: i64, adds: &[(&str, i64)]) -> Batch {
    let mut writer = BatchWriter::default();
    for (name, delta) in adds {
        writer.push(&adjusted(name, *delta, &number.to_string()), Source::Inventory, Timestamp::UNIX_EPOCH);
    }
    let number = BatchNumber { incarnation, partition: Partition(0), number };
    let body = writer.into_bytes().into();
    Batch { source: Source::Inventory, number: Some(number), time_us: 7, body, asked: false }
}

pub fn spec(folder: &std::path::Path, ledger: Source) -> LedgerSpec {
    LedgerSpec::new(LedgerId { ledger, partition: Partition(0) }, 1, folder, MIGRATIONS)
}

pub fn open(folder: &std::path::Path) -> Ledger<Tally> {
    Ledger::open(spec(folder, Source::Payments), Tally::new(), &["again"]).expect("opens")
}

/// A ledger that is on the bus, with everything that it does there, and its place. It asks for what is missing after
/// so many milliseconds.
pub async fn attached(
    nats_url: &str,
    ledger: Source,
    folder: &std::path::Path,
    missing_after_ms: u64,
) -> (Ledger<Tally>, Place) {
    let mut config = BusConfig { url: nats_url.to_owned(), ..BusConfig::default() };
    config.consumer.missing_after_ms = missing_after_ms;
    let bus = Bus::connect(&config, ledger.name()).await.expect("an address");
    let life = Life::new(ledger.name(), std::time::Duration::from_secs(10));
    let place = Place::new(1, folder, bus, Arc::new(SystemClock), life);
    let id = LedgerId { ledger, partition: Partition(0) };
    let ledger = place.open(id, Numbering::InCommit, MIGRATIONS, Tally::new(), &["again"]).expect("opens");
    place.attach(&ledger, Routes::new());
    (ledger, place)
}

pub async fn hear(ledger: &Ledger<Tally>, batches: &[Batch]) {
    let heard = batches.iter().map(|batch| Heard::read(ledger, batch)).collect();
    ledger.hear(heard).await.expect("taken");
}

pub async fn total(ledger: &Ledger<Tally>, name: &'static str) -> i64 {
    let rows = ledger
        .query(move |tx| tx.read("select total from tally where name = $1", &[Value::Text(name)], |row| row.int(0)))
        .await
        .expect("answers");
    rows.first().copied().unwrap_or(0)
}

/// (cause, count) of every dead letter.
pub async fn dead_letters(ledger: &Ledger<Tally>) -> Vec<(String, i64)> {
    ledger
        .query(|tx| {
            tx.read("select cause, count from dead_letter order by cause", &[], |row| Ok((row.text(0)?, row.int(1)?)))
        })
        .await
        .expect("answers")
}

/// Waits until so many batches were acknowledged by the stream.
pub async fn until_relayed(ledger: &Ledger<Tally>, wanted: i64) {
    let mut every = tokio::time::interval(std::time::Duration::from_millis(20));
    let relayed = async {
        while ledger.relayed_up_to(Partition(0)) < wanted {
            every.tick().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), relayed).await.expect("all is acknowledged");
}
