//! A system whose NATS is in the test's own hands: a real nats-server behind a proxy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use rustix::process::{Pid, Signal, kill_process};
use spillway_natsd::NatsServer;
use spillway_natsd::testing::TestServer;
use spillway_proto::ledgers;
use spillway_proto::{Ledger, LedgerId};

use super::proxy::Proxy;
use super::shoppers::{Placed, accepted_within};
use super::{Options, System};

/// Orders that are accepted before, during and after something is done to it.
const SOME: usize = 40;

const SHOPPERS: usize = 4;

/// Accepting an order waits for no JetStream: all but one of each shopper take less than this, also on a slow day.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(3);

/// Dropped in this order: the system before what it is connected to.
pub struct World {
    pub system: System,
    pub proxy: Proxy,
    pub nats: TestServer,
    /// Every order that was ever accepted.
    placed: Vec<Placed>,
    /// So much of the log was there when orders last began to run.
    log_before: usize,
}

impl World {
    pub async fn start() -> World {
        World::start_with(|_| {}, Options::default()).await
    }

    /// `change` has its say about the nats-server.
    pub async fn start_with(change: impl FnOnce(&mut NatsServer), options: Options) -> World {
        let nats = TestServer::start_with(change).await;
        let proxy = Proxy::to(address(&nats.client_url())).await;
        let nats_url = Some(format!("nats://{}", proxy.address()));
        let system = System::start_with(Options { nats_url, ..options }).await;
        system.add_stock("tea", 1_000_000).await;
        World { system, proxy, nats, placed: Vec::new(), log_before: 0 }
    }

    /// Orders run, something is done, orders run on, it is undone, orders run on. Then all is well: nothing is lost, nothing
    /// was said or done twice, and no client had to wait for it.
    pub async fn orders_run_on(
        &mut self,
        what: &str,
        begin: impl AsyncFnOnce(&mut World),
        end: impl AsyncFnOnce(&mut World),
    ) {
        let began = Instant::now();
        self.log_before = self.system.log().len();
        let mut shoppers = self.system.shop(SHOPPERS);
        shoppers.more(SOME).await;
        begin(self).await;
        shoppers.more(SOME).await;
        end(self).await;
        shoppers.more(SOME).await;
        let placed = shoppers.stop().await;
        let (count, within) = (placed.len(), accepted_within(&placed, SHOPPERS));
        let refused: usize = placed.iter().map(|order| order.refused).sum();
        self.placed.extend(placed);
        let (ran, done) = (began.elapsed(), Instant::now());
        self.system.all_is_well(&self.placed).await;
        let (ran, took) = (ran.as_secs_f32(), done.elapsed().as_secs_f32());
        eprintln!(
            "{what}: {ran:.1} s, then all was well after {took:.1} s; {count} accepted, nearly all within \
            {within:?}, {refused} calls refused; {:?}",
            self.system.incidents()
        );
        assert!(within < ACCEPTED_WITHIN, "{what}: accepting took {within:?}");
    }

    /// JetStream, without the proxy.
    pub async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.nats.client_url()).await.expect("connects"))
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.nats.pid().cast_signed()).expect("an id");
        kill_process(pid, signal).expect("it is there");
    }

    /// The folder in which the server keeps a stream.
    pub fn stream_folder(&self, stream: &str) -> PathBuf {
        self.store().join("$G/streams").join(stream)
    }

    /// The folder in which the server keeps everything.
    pub fn store(&self) -> PathBuf {
        self.nats.log_file().with_file_name("jetstream")
    }

    /// Block files of a stream, oldest first.
    pub fn blocks(&self, stream: &str) -> Vec<PathBuf> {
        let folder = self.stream_folder(stream).join("msgs");
        let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let blocks = files.map(|file| file.expect("an entry").path());
        let mut blocks: Vec<PathBuf> = blocks.filter(|path| path.extension().is_some_and(|e| e == "blk")).collect();
        blocks.sort_by_key(|path| path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok()));
        blocks
    }

    /// Waits until there is such a word in the log, since orders last began to run.
    pub async fn until_logged(&self, word: &str) {
        let mut every = tokio::time::interval(Duration::from_millis(100));
        let said = async {
            loop {
                every.tick().await;
                if self.system.log()[self.log_before..].contains(word) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), said).await.unwrap_or_else(|_| {
            panic!("{word:?} is not in the log:\n{}", self.system.log());
        });
    }
}

/// The names of all streams.
pub fn streams(partitions: u16) -> Vec<String> {
    let ledgers = Ledger::ALL.into_iter().flat_map(|ledger| LedgerId::all(ledger, partitions));
    ledgers.flat_map(|id| ledgers::streams_of(id, partitions)).map(|stream| stream.name).collect()
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("nats://").parse().expect("an address")
}

/// A copy of a folder, with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
