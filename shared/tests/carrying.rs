//! What the stream itself carries, with asking out of the way: a listener here would ask after an hour only. So each of
//! these fails if a publish is not repeated, a stream or a consumer not made again, even where asking would heal it.

mod common;
#[path = "../../tests/support/proxy.rs"]
#[allow(dead_code, reason = "each test file uses its own part of this")]
mod proxy;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_nats::jetstream;
use async_nats::jetstream::consumer::{FromConsumer as _, PullConsumer, pull};
use common::{Add, Tally, attached, total, until_relayed};
use proxy::{Fault, Proxy, Way};
use rustix::process::{Pid, Signal, kill_process};
use spillway_natsd::testing::TestServer;
use spillway_proto::Partition;
use spillway_proto::ledgers::Ledger as Source;
use spillway_shared::ledger::Ledger;

const HERE: Partition = Partition(0);
const STREAM: &str = "spillway-inventory";

/// Everything must come to its end within this, also on a slow day.
const PATIENCE: Duration = Duration::from_secs(60);

/// A consumer is looked at every 10 s, whatever happens; what is noticed at once takes a small part of it.
const SOONER_THAN_LOOKED_AT: Duration = Duration::from_secs(6);

/// Inventory says, payments hears; neither asks.
struct Pair {
    inventory: Ledger<Tally>,
    payments: Ledger<Tally>,
    proxy: Proxy,
    server: TestServer,
    _folder: Arc<tempfile::TempDir>,
    added: i64,
}

async fn ledger(url: &str, ledger: Source, folder: &tempfile::TempDir) -> Ledger<Tally> {
    attached(url, ledger, folder.path(), 3_600_000).await.0
}

impl Pair {
    /// Inventory reaches the server through a proxy.
    async fn start() -> Pair {
        let server = TestServer::start().await;
        let address = server.client_url().trim_start_matches("nats://").parse().expect("an address");
        let proxy = Proxy::to(address).await;
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let inventory = ledger(&format!("nats://{}", proxy.address()), Source::Inventory, &folder).await;
        let payments = ledger(&server.client_url(), Source::Payments, &folder).await;
        let mut pair = Pair { inventory, payments, proxy, server, _folder: folder, added: 0 };
        pair.add(3).await;
        pair.until_heard().await;
        pair.until_relayed().await;
        pair
    }

    async fn add(&mut self, times: i64) {
        for _ in 0..times {
            self.inventory.command(Add::new("tea", 1)).await.expect("taken");
        }
        self.added += times;
    }

    /// Payments hears inventory's totals: 1, 2, 3 and so on.
    async fn until_heard(&self) {
        let wanted: i64 = (1..=self.added).sum();
        let mut inbox = self.payments.inbox();
        let heard = async {
            while total(&self.payments, "tea").await != wanted {
                inbox.changed().await.expect("open");
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, heard).await.is_ok();
        assert!(in_time, "heard {} where it should be {wanted}", total(&self.payments, "tea").await);
    }

    async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.server.client_url()).await.expect("connects"))
    }

    /// How often each batch is in the stream, in its order.
    async fn stored(&self) -> Vec<i64> {
        let mut stream = self.jetstream().await.get_stream(STREAM).await.expect("there");
        let state = stream.info().await.expect("told").state.clone();
        let mut numbers = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await.expect("stored");
            let number = message.headers.get("spillway-number").expect("numbered");
            numbers.push(number.as_str().parse().expect("a number"));
        }
        numbers
    }

    async fn until_relayed(&self) {
        until_relayed(&self.inventory, self.added).await;
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.server.pid().cast_signed()).expect("an id");
        kill_process(pid, signal).expect("it is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_fails_is_repeated_until_it_is_acknowledged() {
    let mut pair = Pair::start().await;
    // Nothing comes back: everything is stored, nothing is known of it.
    pair.proxy.set(Way::ToClient, Fault::drop());
    pair.add(5).await;
    let mut stream = pair.jetstream().await.get_stream(STREAM).await.expect("there");
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let stored = async {
        while stream.info().await.expect("told").state.messages < 8 {
            every.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.expect("stored");
    assert_eq!(pair.inventory.relayed_up_to(HERE), 3, "what was not acknowledged does not count");
    pair.add(5).await;
    pair.proxy.heal();
    pair.until_relayed().await;
    pair.until_heard().await;
    // The same id absorbs what was said again.
    assert_eq!(pair.stored().await, (1..=13).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_off_on_its_way_is_said_again() {
    let mut pair = Pair::start().await;
    for _ in 0..5 {
        pair.proxy.set(Way::ToServer, Fault::cut_after(700));
        pair.add(4).await;
        pair.proxy.heal();
    }
    pair.until_relayed().await;
    pair.until_heard().await;
    let stored: BTreeSet<i64> = pair.stored().await.into_iter().collect();
    assert_eq!(stored, (1..=23).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_waited_for_and_told() {
    let mut pair = Pair::start().await;
    pair.signal(Signal::STOP);
    pair.add(5).await;
    let noted = async {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        loop {
            every.tick().await;
            let sql = "select count from incident where kind = 'jetstream_silent'";
            let rows = pair.inventory.query(|tx| tx.read(sql, &[], |row| row.int(0))).await.expect("answers");
            if !rows.is_empty() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.expect("its silence is noted");
    pair.signal(Signal::CONT);
    pair.until_relayed().await;
    pair.until_heard().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_gone_is_made_again_and_takes_what_was_not_acknowledged() {
    let mut pair = Pair::start().await;
    pair.jetstream().await.delete_stream(STREAM).await.expect("deleted");
    pair.add(5).await;
    pair.until_heard().await;
    assert_eq!(pair.stored().await, (4..=8).collect::<Vec<i64>>());
    // Also where nothing is said: whoever listens needs it.
    pair.jetstream().await.delete_stream(STREAM).await.expect("deleted");
    let js = pair.jetstream().await;
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let made = async {
        while js.get_stream(STREAM).await.is_err() {
            every.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, made).await.expect("it is there again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_gone_is_made_again_at_once() {
    let mut pair = Pair::start().await;
    let stream = pair.jetstream().await.get_stream(STREAM).await.expect("there");
    let mut took = Vec::new();
    // Once in three times at the least: a machine may stand still.
    while took.len() < 3 && took.iter().all(|took| *took >= SOONER_THAN_LOOKED_AT) {
        stream.delete_consumer("payments-0").await.expect("deleted");
        let deleted = Instant::now();
        pair.add(5).await;
        pair.until_heard().await;
        took.push(deleted.elapsed());
    }
    assert!(took.iter().any(|took| *took < SOONER_THAN_LOOKED_AT), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_somebody_paused_or_narrowed_is_changed_back() {
    let mut pair = Pair::start().await;
    let js = pair.jetstream().await;
    let stream = js.get_stream(STREAM).await.expect("there");
    let info = async || {
        let consumer: PullConsumer = stream.get_consumer("payments-0").await.expect("there");
        consumer.cached_info().clone()
    };
    let found = pull::Config::try_from_consumer_config(info().await.config).expect("a pull consumer");
    let changed = pull::Config { max_deliver: 1, max_ack_pending: 1, ..found };
    js.update_consumer_on_stream(changed, STREAM).await.expect("changed");
    let until = SystemTime::now() + Duration::from_secs(3600);
    assert!(stream.pause_consumer("payments-0", until.into()).await.expect("paused").paused);
    pair.add(5).await;
    pair.until_heard().await;
    let found = info().await;
    assert_eq!((found.paused, found.config.max_deliver, found.config.max_ack_pending), (false, -1, 1000));
}
