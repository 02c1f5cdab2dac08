//! Whether a running server works: its own `/healthz`, without any of the options that make it overlook JetStream.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Most of an answer that is read; it is about 100 bytes.
const ANSWER_BYTES: u64 = 16 * 1024;

/// Why a server that runs does not work.
#[derive(Debug, Error)]
pub enum Sick {
    /// It is stopped, wedged, or has no time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    #[error("it does not answer: {0}")]
    Unreachable(#[source] io::Error),
    /// In its own words. Without space on its disk, for instance, it stays so until it is started again, however much
    /// space there is.
    #[error("it says: {0}")]
    Says(String),
}

/// Asks the server how it is.
pub(super) async fn ask(monitor: SocketAddr, within: Duration) -> Result<(), Sick> {
    let answer = timeout(within, get(monitor)).await.map_err(|_elapsed| Sick::Silent(within))?;
    let answer = answer.map_err(Sick::Unreachable)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status == "200" { Ok(()) } else { Err(Sick::Says(format!("{status} {}", body.trim()))) }
}

async fn get(monitor: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(monitor).await?;
    stream.write_all(format!("GET /healthz HTTP/1.0\r\nHost: {monitor}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
