//! One real server per test: on free ports, in a temporary folder, gone when it is dropped.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{NatsServer, Obtain, ObtainError, Running};

/// What JetStream may set aside, in bytes: nothing is written for it, and no test may depend on how much room the machine's
/// disk has, of which nats-server would take three quarters as its bound.
const ROOM: u64 = 1 << 40;

/// A server of this test's own, with all that [`Running`] can do.
#[derive(Debug)]
pub struct TestServer {
    // Dropped in this order: the server goes before its folder.
    running: Running,
    _folder: TempDir,
}

impl TestServer {
    /// Starts a server. The binary is found or fetched once per process (see [`Obtain`]).
    ///
    /// # Panics
    /// When there is no nats-server and none can be fetched, with what to install; and when it
    /// does not start, with what it said.
    pub async fn start() -> TestServer {
        TestServer::start_with(|_| {}).await
    }

    /// Starts a server that `change` has had its say about.
    ///
    /// # Panics
    /// As [`TestServer::start`].
    pub async fn start_with(change: impl FnOnce(&mut NatsServer)) -> TestServer {
        let binary = match nats_server().await {
            Ok(binary) => binary,
            Err(error) => panic!("this test needs a nats-server:\n{error}"),
        };
        let folder = match tempfile::Builder::new().prefix("spillway-nats-").tempdir() {
            Ok(folder) => folder,
            Err(error) => panic!("this test needs a temporary folder: {error}"),
        };
        let mut server = NatsServer::new(binary, folder.path());
        server.max_file_store = Some(ROOM);
        change(&mut server);
        match server.start().await {
            Ok(running) => TestServer { running, _folder: folder },
            Err(error) => panic!("nats-server does not start: {error}"),
        }
    }
}

impl Deref for TestServer {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for TestServer {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

/// The binary that tests run: from PATH, the cache, or fetched. The tests of one process ask once,
/// also when the answer is an error.
pub async fn nats_server() -> Result<&'static Path, &'static ObtainError> {
    static BINARY: OnceCell<Result<PathBuf, ObtainError>> = OnceCell::const_new();
    let obtain = || async {
        let say = |line: &str| eprintln!("{line}");
        let found = Obtain { explicit: None, fetch: true, say: &say }.run().await;
        found.map(|obtained| obtained.path)
    };
    BINARY.get_or_init(obtain).await.as_deref()
}
