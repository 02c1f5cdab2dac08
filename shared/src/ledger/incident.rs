//! What went wrong around a ledger and was healed, or could not be: one row for each kind, source and partition, so that
//! a person learns of it also when nobody looked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use spillway_proto::Partition;
use spillway_proto::time::{self, Timestamp};
use tokio::sync::Notify;

use super::error::StoreError;
use super::handle::Ledger;
use super::service::Service;
use super::tx::{Tx, Value};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IncidentKind {
    /// Batches were missing, and their ledger gave them again. Counts batches.
    AskedFor,
    /// Batches are missing, and their ledger has them no more.
    GoneForGood,
    /// A stream was deleted, and made again.
    StreamRecreated,
    /// A stream went back behind what it had acknowledged.
    StreamBehind,
    /// Messages are missing in the middle of a stream.
    StreamHoles,
    /// A stream lost all its messages.
    StreamEmptied,
    /// A stream gave a sequence number twice.
    SequenceReused,
    /// A consumer was deleted or replaced, and hears from the start again.
    ConsumerRecreated,
    /// A publish was not acknowledged, and said again.
    PublishRetried,
    /// The connection was lost, and made again.
    Reconnected,
    /// Somebody changed a stream, and it was changed back.
    StreamChangedBack,
    /// Somebody changed a consumer, and it was changed back.
    ConsumerChangedBack,
    /// NATS was connected, and its JetStream did not answer.
    JetstreamSilent,
}

impl IncidentKind {
    pub const ALL: [IncidentKind; 13] = [
        IncidentKind::AskedFor,
        IncidentKind::GoneForGood,
        IncidentKind::StreamRecreated,
        IncidentKind::StreamBehind,
        IncidentKind::StreamHoles,
        IncidentKind::StreamEmptied,
        IncidentKind::SequenceReused,
        IncidentKind::ConsumerRecreated,
        IncidentKind::PublishRetried,
        IncidentKind::Reconnected,
        IncidentKind::StreamChangedBack,
        IncidentKind::ConsumerChangedBack,
        IncidentKind::JetstreamSilent,
    ];

    /// Its name in SQL, metrics and answers.
    pub const fn name(self) -> &'static str {
        match self {
            IncidentKind::AskedFor => "asked_for",
            IncidentKind::GoneForGood => "gone_for_good",
            IncidentKind::StreamRecreated => "stream_recreated",
            IncidentKind::StreamBehind => "stream_behind",
            IncidentKind::StreamHoles => "stream_holes",
            IncidentKind::StreamEmptied => "stream_emptied",
            IncidentKind::SequenceReused => "sequence_reused",
            IncidentKind::ConsumerRecreated => "consumer_recreated",
            IncidentKind::PublishRetried => "publish_retried",
            IncidentKind::Reconnected => "reconnected",
            IncidentKind::StreamChangedBack => "stream_changed_back",
            IncidentKind::ConsumerChangedBack => "consumer_changed_back",
            IncidentKind::JetstreamSilent => "jetstream_silent",
        }
    }
}

/// The names of all kinds.
pub const INCIDENTS: &[&str] = &{
    let mut names = [""; IncidentKind::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = IncidentKind::ALL[at].name();
        at += 1;
    }
    names
};

/// All incidents of one kind, source and partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    pub kind: String,
    /// Whose stream or outbox; "nats" for a connection.
    pub source: String,
    pub partition: u16,
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: i64,
}

type Key = (IncidentKind, &'static str, u16);

/// First and last time, and how often. In microseconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    first_us: i64,
    last_us: i64,
    count: i64,
}

/// Incidents that the next commit writes down.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    tallies: Mutex<BTreeMap<Key, Tally>>,
    /// There are some.
    noted: Notify,
}

/// What one commit writes down.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted(BTreeMap<Key, Tally>);

impl Unwritten {
    fn note(&self, key: Key, at_us: i64, count: i64) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry(key).or_insert(Tally { first_us: at_us, last_us: at_us, count: 0 });
        tally.last_us = at_us.max(tally.last_us);
        tally.count += count;
        drop(tallies);
        self.noted.notify_one();
    }

    pub fn so_far(&self) -> Noted {
        Noted(self.tallies.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// After the commit.
    pub fn written(&self, noted: &Noted) {
        if noted.0.is_empty() {
            return;
        }
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, tally| {
            tally.count -= noted.0.get(key).map_or(0, |written| written.count);
            tally.count > 0
        });
    }
}

impl Noted {
    pub fn write(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.write_each(
            "insert into incident (kind, source, partition, first_us, last_us, count) values ($1, $2, $3, $4, $5, $6)
             on conflict (kind, source, partition)
             do update set last_us = excluded.last_us, count = incident.count + excluded.count",
            self.0.iter().map(|((kind, source, partition), tally)| {
                [
                    Value::Text(kind.name()),
                    Value::Text(source),
                    i64::from(*partition).into(),
                    tally.first_us.into(),
                    tally.last_us.into(),
                    tally.count.into(),
                ]
            }),
        )?;
        Ok(())
    }
}

impl<S: Service> Ledger<S> {
    /// Notes that something happened. It is counted at once, and written down with the next commit.
    pub fn note(&self, kind: IncidentKind, source: &'static str, partition: Partition, count: i64) {
        let role = self.identity().id.ledger.name();
        metrics::counter!("spillway_incidents_total", "role" => role, "kind" => kind.name())
            .increment(count.unsigned_abs());
        self.shared.incidents.note((kind, source, partition.0), time::to_micros(self.now()), count);
    }

    /// Waits until something was noted. Spurious returns are possible.
    pub async fn noted(&self) {
        self.shared.incidents.noted.notified().await;
    }
}

/// All incidents that are written down, newest first.
///
/// # Errors
/// Where the database cannot answer.
pub fn told(tx: &Tx<'_>) -> Result<Vec<Incident>, StoreError> {
    tx.read(
        "select kind, source, partition, first_us, last_us, count from incident order by last_us desc, kind",
        &[],
        |row| {
            Ok(Incident {
                kind: row.text(0)?,
                source: row.text(1)?,
                partition: u16::try_from(row.int(2)?).map_err(|_| row.nonsense("partition"))?,
                first: time::from_micros(row.int(3)?),
                last: time::from_micros(row.int(4)?),
                count: row.int(5)?,
            })
        },
    )
}
