//! Orders that end, and a running role without a bus: what it hears is handed in.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailparse::{MailHeaderMap, ParsedMail};
use spillway_notifications::{Notifications, NotificationsConfig, SmtpTls, start};
use spillway_proto::batch::{self, BatchNumber, BatchWriter};
use spillway_proto::pb::orders::{Contact, Reason};
use spillway_proto::pb::{self, events as v1};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Event, Incarnation, Ledger as Source, NewEvent, OrderId, Partition, Subject};
use spillway_shared::bus::{Bus, BusConfig};
use spillway_shared::ledger::{Batch, Heard, Ledger, SystemClock};
use spillway_shared::lifecycle::Life;
use spillway_shared::role::Place;
use tempfile::TempDir;

pub const HERE: Partition = Partition(0);

pub fn order(n: u8) -> OrderId {
    OrderId::new(Timestamp::UNIX_EPOCH, HERE, [n; 10])
}

fn contact(email: &str) -> Option<Contact> {
    Some(Contact { email: email.to_owned() })
}

fn total() -> Option<pb::Money> {
    Some(pb::Money { currency_code: "EUR".to_owned(), units: 12, nanos: 500_000_000 })
}

pub fn confirmed(n: u8, email: &str) -> NewEvent {
    let confirmed = v1::OrderConfirmed { contact: contact(email), customer_id: "ada-17".to_owned(), total: total() };
    said(n, confirmed.into())
}

pub fn rejected(n: u8, email: &str, reason: Reason) -> NewEvent {
    let rejected = v1::OrderRejected { reason: reason.into(), contact: contact(email), ..Default::default() };
    said(n, rejected.into())
}

pub fn cancelled(n: u8, email: &str, reason: i32) -> NewEvent {
    said(n, v1::OrderCancelled { reason, contact: contact(email), ..Default::default() }.into())
}

pub fn said(n: u8, event: Event) -> NewEvent {
    NewEvent {
        shop: "default".to_owned(),
        subject: Subject::Order(order(n)),
        occurrence: String::new(),
        traceparent: format!("00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{n:02x}-bbbbbbbbbbbbbbbb-01"),
        event,
    }
}

/// Batch `number` of orders.
pub fn batch(number: i64, events: &[NewEvent]) -> Batch {
    let mut writer = BatchWriter::default();
    for event in events {
        writer.push(event, Source::Orders, time::from_micros(1_767_225_600_000_000));
    }
    let number = BatchNumber { incarnation: Incarnation(uuid::Uuid::from_u128(9)), partition: HERE, number };
    Batch { source: Source::Orders, number: Some(number), time_us: 1, body: writer.into_bytes().into(), asked: false }
}

pub async fn hear(ledger: &Ledger<Notifications>, batches: &[Batch]) {
    let heard = batches.iter().map(|batch| Heard::read(ledger, batch)).collect();
    ledger.hear(heard).await.expect("taken");
}

/// Tries again at once, and gives up only when told to.
pub fn config() -> NotificationsConfig {
    let mut config = NotificationsConfig { from: "Shop <orders@shop.example>".to_owned(), ..Default::default() };
    config.workers = NonZeroUsize::new(4).expect("not zero");
    config.retry.base_ms = 2;
    config.retry.max_ms = 20;
    config
}

/// For a mail server that hangs, it is given up after 200 ms.
pub fn smtp(address: SocketAddr) -> NotificationsConfig {
    let mut config = config();
    config.smtp.host = Some(address.ip().to_string());
    config.smtp.port = Some(address.port());
    config.smtp.tls = SmtpTls::None;
    config
}

/// The role, running.
pub struct Running {
    /// That of partition 0.
    pub ledger: Ledger<Notifications>,
    /// By partition.
    pub ledgers: Vec<Ledger<Notifications>>,
    pub folder: Arc<TempDir>,
    place: Place,
}

impl Running {
    pub async fn start(config: &NotificationsConfig) -> Self {
        Self::start_in(config, Arc::new(tempfile::tempdir().expect("a folder")), 1).await
    }

    pub async fn start_in(config: &NotificationsConfig, folder: Arc<TempDir>, partitions: u16) -> Self {
        // Nobody listens there: the role goes on without its bus.
        let bus = BusConfig { url: "nats://127.0.0.1:1".to_owned(), ..BusConfig::default() };
        let bus = Bus::connect(&bus, "notifications").await.expect("an address");
        let life = Life::new("notifications", Duration::from_secs(10));
        let place = Place::new(partitions, folder.path(), bus, Arc::new(SystemClock), life);
        let ledgers = start(config, &place).expect("starts");
        Running { ledger: ledgers[0].clone(), ledgers, folder, place }
    }

    pub async fn tell(&self, number: i64, event: NewEvent) {
        hear(&self.ledger, &[batch(number, &[event])]).await;
    }

    /// Ends the role, and answers its folder.
    pub async fn end(self) -> Arc<TempDir> {
        self.place.life.shut_down();
        let (drained, ended) = self.place.life.finish().await;
        assert_eq!((drained.cut, ended), (vec![], Ok(())));
        let gone = self.ledger.gone();
        drop((self.ledger, self.ledgers, self.place));
        gone.await;
        self.folder
    }

    /// (state, attempt, error) of every delivery, by order.
    pub async fn deliveries(&self) -> Vec<(String, i64, Option<String>)> {
        let rows = self.ledger.query(|tx| {
            tx.read("select state, attempt, error from delivery order by order_id, event_id", &[], |row| {
                Ok((row.text(0)?, row.int(1)?, row.opt_text(2)?))
            })
        });
        rows.await.expect("reads")
    }

    /// Waits until all deliveries are as wanted.
    pub async fn until(&self, wanted: impl Fn(&[(String, i64, Option<String>)]) -> bool) {
        let reached = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            loop {
                tick.tick().await;
                if wanted(&self.deliveries().await) {
                    return;
                }
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), reached).await.is_err() {
            panic!("not reached in time: {:?}", self.deliveries().await);
        }
    }

    pub async fn until_all(&self, state: &str, count: usize) {
        self.until(|all| all.len() == count && all.iter().all(|(found, _, _)| found == state)).await;
    }

    /// What was said, in order.
    pub async fn events(&self) -> Vec<Event> {
        let batches = self.ledger.outbox(HERE, 1, i64::MAX, usize::MAX).await.expect("reads");
        let events = batches.into_iter().flat_map(|one| batch::read(one.body).expect("a batch"));
        events
            .map(|event| {
                let event = event.expect("an event");
                let kind = event.kind().expect("known");
                Event::decode(kind, event.payload).expect("a payload")
            })
            .collect()
    }

    pub fn mail_folder(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// All bytes of all columns in which something is kept.
    pub async fn kept(&self) -> String {
        let all = self.ledger.query(|tx| {
            let mut kept = Vec::new();
            for sql in [
                "select order_id, event_id, channel || shop || kind || state || coalesce(error, '') from delivery",
                "select key, payload, kind from due",
                "select body, incarnation, '' from outbox",
                "select body, id, error from dead_letter",
            ] {
                for (one, two, three) in tx.read(sql, &[], |row| Ok((row.blob(0)?, row.blob(1)?, row.text(2)?)))? {
                    kept.extend([one, two, three.into_bytes()].concat());
                }
            }
            Ok(kept)
        });
        String::from_utf8_lossy(&all.await.expect("reads")).into_owned()
    }
}

/// All values of a header.
pub fn header(mail: &ParsedMail<'_>, name: &str) -> Vec<String> {
    mail.headers.get_all_values(name)
}

pub fn cut(mut batch: Batch) -> Batch {
    batch.body = Bytes::copy_from_slice(&batch.body[..batch.body.len() - 1]);
    batch
}
