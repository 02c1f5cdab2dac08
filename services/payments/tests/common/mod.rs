//! A real sandbox provider over HTTP and a real payments ledger on disk, with workers between them.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use spillway_payments::breaker::Breaker;
use spillway_payments::domain::{Answered, Payment, State, Task};
use spillway_payments::gate::{Gate, Lane};
use spillway_payments::{
    DUE_KINDS, HttpProvider, Input, MIGRATIONS, Payments, PaymentsConfig, Worker, tell_of_outages,
};
use spillway_proto::batch::{self, BatchNumber, BatchWriter};
use spillway_proto::pb::events;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{
    Currency, Envelope, Event, EventKind, Incarnation, Ledger as Role, LedgerId, Money, NewEvent, OrderId, Partition,
    Subject,
};
use spillway_sandbox::{Sandbox, SandboxConfig};
use spillway_shared::ledger::{self, Batch, Clock, Due, Heard, Held, Ledger, LedgerSpec, Tx, Wait};
use spillway_shared::telemetry::Tracer;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Far beyond anything a test waits for.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The machine's clock, moved by so many microseconds.
#[derive(Clone, Default)]
pub struct MovedClock(Arc<AtomicI64>);

impl MovedClock {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).expect("a test's own time"), Ordering::SeqCst);
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        time::from_micros(time::to_micros(Timestamp::now()) + self.0.load(Ordering::SeqCst))
    }
}

/// Quick retries, and a breaker that stays out of the way.
pub fn config() -> PaymentsConfig {
    let mut config = PaymentsConfig { workers: NonZeroUsize::new(16).expect("not zero"), ..PaymentsConfig::default() };
    config.provider.timeout_ms = 2_000;
    config.provider.in_flight_s = 2;
    config.breaker.failures = NonZeroU32::new(1_000).expect("not zero");
    config.breaker.open_ms = 50;
    let retry = &mut config.retry;
    for class in [&mut retry.unavailable, &mut retry.throttled, &mut retry.unknown, &mut retry.pending] {
        (class.base_ms, class.max_ms) = (10, 100);
    }
    config
}

pub fn sandbox_config() -> SandboxConfig {
    SandboxConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        synchronous: spillway_sandbox::Synchronous::Off,
        pending_ms: 200,
        hold_ms: 200,
        slow_ms: 500,
        ..SandboxConfig::default()
    }
}

/// A sandbox that runs.
pub struct Provider {
    pub address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    client: Client<HttpConnector, Full<Bytes>>,
    folder: TempDir,
}

impl Provider {
    pub async fn start(config: SandboxConfig) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sandbox = Sandbox::bind(config, folder.path()).await.expect("the sandbox starts");
        let (address, stop) = (sandbox.addresses().api, CancellationToken::new());
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move { sandbox.run(stopped).await.expect("the sandbox runs") });
        Provider { address, stop, task, client: Client::builder(TokioExecutor::new()).build_http(), folder }
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Value {
        let response = self.client.request(request).await.expect("the sandbox answers");
        let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
        serde_json::from_slice(&body).expect("JSON")
    }

    /// Changes how the whole provider behaves.
    pub async fn mode(&self, change: &str) {
        let uri = format!("http://{}/sandbox/mode", self.address);
        let request = Request::post(uri).body(Full::new(Bytes::from(change.to_owned()))).expect("a request");
        let mode = self.ask(request).await;
        assert!(mode.get("error").is_none(), "{mode}");
    }

    /// The truth: every attempt.
    pub async fn attempts(&self) -> Vec<Value> {
        let uri = format!("http://{}/sandbox/ledger?limit=10000", self.address);
        let ledger = self.ask(Request::get(uri).body(Full::default()).expect("a request")).await;
        ledger["entries"].as_array().expect("entries").clone()
    }

    /// Minor units that moved for an order, by kind of attempt ("charge", "refund").
    pub async fn moved(&self, order: OrderId, kind: &str) -> Vec<i64> {
        let is_meant = |entry: &&Value| {
            let reference = entry["reference"].as_str().expect("a reference");
            entry["kind"] == kind && entry["effect"] == true && reference.starts_with(&order.to_string())
        };
        self.attempts().await.iter().filter(is_meant).map(|entry| entry["amount"].as_i64().expect("minor")).collect()
    }
}

/// A ledger, its workers and its provider.
pub struct Rig {
    pub provider: Provider,
    pub ledger: Ledger<Payments>,
    pub breaker: Breaker,
    pub gate: Gate,
    /// The operator's bound while a backlog is worked off.
    pub drain_rate: watch::Sender<Option<f64>>,
    pub clock: MovedClock,
    config: PaymentsConfig,
    stop: CancellationToken,
    hands: Vec<JoinHandle<()>>,
    heard: AtomicI64,
    folder: TempDir,
}

impl Rig {
    pub async fn start() -> Self {
        Rig::start_with(config(), sandbox_config()).await
    }

    pub async fn start_with(config: PaymentsConfig, sandbox: SandboxConfig) -> Self {
        let mut rig = Rig::idle(config, sandbox).await;
        rig.set_to_work();
        rig
    }

    /// Nobody works yet.
    pub async fn idle(mut config: PaymentsConfig, sandbox: SandboxConfig) -> Self {
        let provider = Provider::start(sandbox).await;
        config.provider.url = format!("http://{}", provider.address);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = MovedClock::default();
        let ledger = try_open(&config, &folder, &clock).expect("a ledger");
        let breaker = Breaker::new(config.breaker.failures.get(), Duration::from_millis(config.breaker.open_ms));
        let (stop, heard) = (CancellationToken::new(), AtomicI64::new(0));
        let (drain_rate, rate) = watch::channel((config.drain_rate > 0).then(|| f64::from(config.drain_rate)));
        let gate = Gate::new(breaker.clone(), rate, Arc::new(clock.clone()), None);
        Rig { provider, ledger, breaker, gate, drain_rate, clock, config, stop, hands: vec![], heard, folder }
    }

    pub fn set_to_work(&mut self) {
        let config = self.config.clone();
        self.set_to_work_with(&config);
    }

    pub fn worker(&self) -> Worker<HttpProvider> {
        self.worker_with(&self.config)
    }

    fn worker_with(&self, config: &PaymentsConfig) -> Worker<HttpProvider> {
        let provider = HttpProvider::new(&config.provider, 16).expect("a provider");
        let timeout = Duration::from_millis(config.provider.timeout_ms);
        Worker::new(Arc::new(provider), timeout, Arc::new(self.clock.clone()), Tracer::off())
    }

    /// Every due row, as a worker would take it.
    pub async fn take_due(&self) -> Vec<Due> {
        let rows = "select key, due_us, attempt, payload from due where kind = 'charge' order by due_us";
        let due = move |tx: &Tx<'_>| {
            tx.read(rows, &[], |row| {
                let (key, at) = (row.blob(0)?.into(), time::from_micros(row.int(1)?));
                Ok(Due { kind: "charge", key, at, attempt: row.int(2)?, payload: row.blob(3)?.into() })
            })
        };
        self.ledger.query(due).await.expect("a query")
    }

    pub fn set_to_work_with(&mut self, config: &PaymentsConfig) {
        let worker = self.worker_with(config);
        for work in [("charge", "payments"), ("refund", "refunds")] {
            let (ledger, worker, stop) = (self.ledger.clone(), worker.clone(), self.stop.clone());
            let (workers, lane) = (self.config.workers.get(), self.gate.lane());
            self.hands.push(tokio::spawn(async move {
                let hand = move |due, wait, permit| worker.clone().work(due, wait, permit);
                ledger.work_off_through(work, workers, stop, lane, hand).await;
            }));
        }
        let telling = tell_of_outages(self.ledger.clone(), self.gate.clone(), self.stop.clone());
        self.hands.push(tokio::spawn(telling));
    }

    /// Does one piece of work, as a worker would.
    pub async fn work(&self, due: Due) -> Input {
        let lane: Lane = self.gate.lane();
        let wait = Wait { due: due.at, taken: due.at, held: Held::Queue };
        self.worker().work(due, wait, ledger::Gate::pass(&lane).await).await
    }

    /// Takes events in one batch, as a listener would.
    pub async fn hear(&self, events: &[(OrderId, Event)]) {
        let mut writer = BatchWriter::default();
        for (order, event) in events {
            writer.push(&about(*order, event.clone()), Role::Inventory, self.ledger.now());
        }
        self.hear_bytes(Bytes::from(writer.into_bytes())).await;
    }

    pub async fn hear_bytes(&self, body: Bytes) {
        let number = BatchNumber {
            incarnation: Incarnation(uuid::Uuid::from_u128(1)),
            partition: Partition(0),
            number: self.heard.fetch_add(1, Ordering::SeqCst) + 1,
        };
        let batch = Batch { source: Role::Inventory, number: Some(number), time_us: 0, body, asked: false };
        let heard = Heard::read(&self.ledger, &batch);
        self.ledger.hear(vec![heard]).await.expect("heard");
    }

    /// Everything said so far about an order.
    pub async fn said(&self, order: OrderId) -> Vec<Event> {
        let about = self.envelopes().await.into_iter().filter(|event| event.subject.order() == Some(order));
        about.map(|event| Event::decode(event.kind().expect("known"), event.payload).expect("a payload")).collect()
    }

    pub async fn payment(&self, order: OrderId) -> Option<Payment> {
        self.ledger.query(move |tx| spillway_payments::find(tx, order)).await.expect("a query")
    }

    /// Waits until the payment of an order is in this state.
    pub async fn until(&self, order: OrderId, state: State) -> Payment {
        wait_for(&format!("{order} {}", state.name()), || async {
            self.payment(order).await.filter(|payment| payment.state == state)
        })
        .await
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        let count = move |tx: &Tx<'_>| tx.read(sql, &[], |row| row.int(0));
        self.ledger.query(count).await.expect("a query")[0]
    }

    /// The same folder and the same provider, opened anew.
    pub async fn restart(self) -> Self {
        let Rig { provider, ledger, breaker, gate, drain_rate, clock, config, stop, hands, heard, folder } = self;
        assert!(hands.is_empty(), "the workers rest first");
        drop(ledger);
        // The writer lets go of the file once it has seen that nobody is left.
        let ledger = wait_for("the file", || async { try_open(&config, &folder, &clock).ok() }).await;
        Rig { provider, ledger, breaker, gate, drain_rate, clock, config, stop, hands, heard, folder }
    }

    /// Writes what no build can read into every due row.
    pub fn spoil_due(&self) {
        let path = self.folder.path().join("payments-0.db");
        let file = rusqlite::Connection::open(path).expect("the ledger's file");
        let changed = file.execute("update due set payload = x'ff'", []).expect("written");
        assert!(changed > 0);
    }

    /// Everything said so far.
    pub async fn envelopes(&self) -> Vec<Envelope> {
        let batches = self.ledger.outbox(Partition(0), 1, i64::MAX, usize::MAX).await.expect("the outbox");
        let events = batches.into_iter().flat_map(|batch| batch::read(batch.body).expect("a batch"));
        events.map(|event| event.expect("an event")).collect()
    }

    /// The same answer, for another order.
    pub fn of_order(&self, answer: &Input, order: OrderId) -> Input {
        retold(answer, |task| Task { order, ..task })
    }

    /// The same answer, for another attempt.
    pub fn of_attempt(&self, answer: &Input, attempt: i32) -> Input {
        retold(answer, |task| Task { attempt, ..task })
    }

    /// Stops the workers when what is in hand is finished.
    pub async fn rest(&mut self) {
        self.stop.cancel();
        for hand in self.hands.drain(..) {
            hand.await.expect("a worker ends");
        }
        self.stop = CancellationToken::new();
    }
}

fn retold(answer: &Input, change: impl FnOnce(Task) -> Task) -> Input {
    let Input::Answered(answered) = answer.clone() else { panic!("{answer:?} is no answer") };
    let task = change(answered.task);
    let charge_id = task.key().id;
    Input::Answered(Answered { task, charge_id, ..answered })
}

fn try_open(
    config: &PaymentsConfig,
    folder: &TempDir,
    clock: &MovedClock,
) -> Result<Ledger<Payments>, spillway_shared::ledger::OpenError> {
    let id = LedgerId { ledger: Role::Payments, partition: Partition(0) };
    let mut spec = LedgerSpec::new(id, 1, folder.path(), MIGRATIONS);
    spec.clock = Arc::new(clock.clone());
    Ledger::open(spec, Payments::new(config.policy()), DUE_KINDS)
}

/// Asks again and again, until there is an answer.
pub async fn wait_for<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let asking = async {
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

pub fn order(number: u8) -> OrderId {
    OrderId::new(Timestamp::UNIX_EPOCH, Partition(0), [number; 10])
}

pub fn about(order: OrderId, event: Event) -> NewEvent {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let (shop, occurrence) = ("default".to_owned(), String::new());
    NewEvent { shop, subject: Subject::Order(order), occurrence, traceparent, event }
}

pub fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").expect("a currency"))
}

pub fn held(minor: i64, payment_method: &str) -> Event {
    let (total, payment_method) = (Some(eur(minor).to_wire()), payment_method.to_owned());
    Event::from(events::StockHeld { total, payment_method })
}

pub fn cancelled() -> Event {
    Event::from(events::OrderCancelled::default())
}

pub fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(Event::kind).collect()
}
