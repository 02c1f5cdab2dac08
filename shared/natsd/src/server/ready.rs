//! When a started server is ready, on which ports, and what it said when it never was.

use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

use super::{NatsServer, config};
use crate::command::last_lines;
use crate::supervised::{Exit, Supervised};

/// How often the file with the ports is looked for; a start on an empty store takes 20 ms.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Longest first line of a server; it is about 400 bytes.
const GREETING_BYTES: u64 = 16 * 1024;
/// Most of the log that an error quotes.
const TAIL_BYTES: u64 = 8 * 1024;
const TAIL_LINES: usize = 10;

/// The ports that the server listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub client: u16,
    pub monitor: u16,
}

/// What the server writes into its ports file.
#[derive(Deserialize)]
struct PortsFile {
    nats: Vec<String>,
    monitoring: Vec<String>,
}

/// The first line that the server sends to a client.
#[derive(Deserialize)]
struct Greeting {
    #[serde(default)]
    jetstream: bool,
}

/// Waits until the server greets clients as one that has JetStream. It opens its client port only
/// after its streams are recovered, so this is enough; `/healthz` would also refuse a server with
/// one damaged stream, which the ledgers can mend only once it runs.
///
/// The error is how the server ended. The caller bounds the wait.
pub(super) async fn wait(server: &NatsServer, running: &Supervised) -> Result<Ports, Exit> {
    let ready = async {
        let told_in = config::ports_folder(&server.folder);
        let mut look_again = tokio::time::interval(LOOK_EVERY);
        loop {
            look_again.tick().await;
            // A file that is not there yet, or half written, is looked at again.
            let Some(ports) = read_ports(&told_in) else { continue };
            let address = SocketAddr::new(server.listen, ports.client);
            match greeting(address).await {
                Ok(greeting) if greeting.jetstream => return Ok(ports),
                Ok(_) => tracing::debug!("nats-server is there, JetStream is not"),
                Err(error) => tracing::debug!(%error, "nats-server does not greet"),
            }
        }
    };
    let exited = running.exited();
    tokio::select! {
        ready = ready => ready,
        exit = exited => Err(exit),
    }
}

/// The folder was emptied before the start, and holds at most the one file of this server.
fn read_ports(folder: &Path) -> Option<Ports> {
    let file = std::fs::read_dir(folder).ok()?.next()?.ok()?.path();
    let found: PortsFile = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let port = |urls: Vec<String>| urls.first()?.rsplit_once(':')?.1.parse::<u16>().ok();
    Some(Ports { client: port(found.nats)?, monitor: port(found.monitoring)? })
}

async fn greeting(address: SocketAddr) -> io::Result<Greeting> {
    let stream = TcpStream::connect(address).await?;
    let mut line = String::new();
    BufReader::new(stream).take(GREETING_BYTES).read_line(&mut line).await?;
    let json = line.strip_prefix("INFO ").unwrap_or_default();
    Ok(serde_json::from_str(json)?)
}

/// The log of one start: what was there before is another story.
pub(super) struct Log {
    folder: PathBuf,
    begins_at: u64,
}

impl Log {
    pub fn open(folder: &Path) -> Log {
        let length = std::fs::metadata(config::log_file(folder)).map(|log| log.len());
        Log { folder: folder.to_owned(), begins_at: length.unwrap_or(0) }
    }

    /// The last lines of what the server said since, in its log and outside of it.
    pub fn tail(&self) -> String {
        let log = end_of(&config::log_file(&self.folder), self.begins_at).unwrap_or_default();
        let output = end_of(&config::output_file(&self.folder), 0).unwrap_or_default();
        let said = last_lines(&format!("{log}\n{output}"), TAIL_LINES);
        if said.is_empty() { "it said nothing".to_owned() } else { said }
    }
}

fn end_of(path: &Path, begins_at: u64) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    // A log shorter than it was has been rotated: all of it is new.
    let begins_at = if begins_at > length { 0 } else { begins_at };
    file.seek(SeekFrom::Start(begins_at.max(length.saturating_sub(TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
