//! The bare limit of the pattern: the same messages, published and consumed with no logic, and the same commits,
//! fsynced, of nothing but their bytes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use rusqlite::Connection;
use serde::Serialize;

use super::volume::Volume;
use crate::exit::Failure;

/// Messages that may wait for their acknowledgement, as in the relay.
const IN_FLIGHT: usize = 64;

/// How long the bare runs took, and what that would be in orders.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bare {
    /// Messages alone.
    pub jetstream_orders_per_second: f64,
    /// Commits alone.
    pub sqlite_orders_per_second: f64,
    /// Both at once, on the same cores: the limit.
    pub orders_per_second: f64,
}

/// Measures what the machine does of the same volume.
///
/// # Errors
/// Where NATS or a file cannot be used.
pub async fn measure(nats_url: &str, folder: &Path, volume: &[Volume], orders: u64) -> Result<Bare, Failure> {
    let per_second = |took: Duration| orders as f64 / took.as_secs_f64();
    let messages = timed(all_messages(nats_url, "alone", volume)).await?;
    let commits = timed(all_commits(&folder.join("bare-alone"), volume)).await?;
    let both = timed(async {
        let folder = folder.join("bare-both");
        tokio::try_join!(all_messages(nats_url, "both", volume), all_commits(&folder, volume)).map(|_| ())
    })
    .await?;
    Ok(Bare {
        jetstream_orders_per_second: per_second(messages),
        sqlite_orders_per_second: per_second(commits),
        orders_per_second: per_second(both),
    })
}

async fn timed(work: impl Future<Output = Result<(), Failure>>) -> Result<Duration, Failure> {
    let began = Instant::now();
    work.await?;
    Ok(began.elapsed())
}

async fn all_messages(nats_url: &str, run: &str, volume: &[Volume]) -> Result<(), Failure> {
    let lines = volume.iter().filter(|line| line.batches > 0).map(|line| {
        let (url, run, line) = (nats_url.to_owned(), run.to_owned(), line.clone());
        tokio::spawn(async move { messages(&url, &run, &line).await.map_err(|e| e.to_string()) })
    });
    for line in futures::future::join_all(lines).await {
        line.map_err(|e| Failure::failed(e.to_string()))?
            .map_err(|e| Failure::failed(format!("the bare messages failed: {e}")))?;
    }
    Ok(())
}

/// One ledger's messages: published pipelined, and heard by as many as hear it.
async fn messages(url: &str, run: &str, line: &Volume) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let name = format!("bare-{run}-{}", line.ledger);
    let js = jetstream::new(async_nats::connect(url).await?);
    let config = stream::Config { name: name.clone(), subjects: vec![name.clone()], ..stream::Config::default() };
    let stream = js.create_stream(config).await?;
    let mut hearing = Vec::new();
    for listener in 0..line.listeners {
        let config = pull::Config {
            durable_name: Some(format!("listener-{listener}")),
            ack_policy: AckPolicy::Explicit,
            ..pull::Config::default()
        };
        let mut messages = stream.create_consumer(config).await?.messages().await?;
        let count = line.batches;
        hearing.push(tokio::spawn(async move {
            for _ in 0..count {
                match messages.next().await {
                    Some(message) => message?.ack().await?,
                    None => return Err("the pull ended".into()),
                }
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        }));
    }
    let body = Bytes::from(vec![b'x'; usize::try_from(line.bytes / line.batches.max(1))?]);
    let mut waiting = FuturesOrdered::new();
    for number in 0..line.batches {
        if waiting.len() >= IN_FLIGHT {
            waiting.next().await.transpose()?;
        }
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, number.to_string());
        let acknowledged = js.publish_with_headers(name.clone(), headers, body.clone()).await?;
        waiting.push_back(async move { acknowledged.await });
    }
    while waiting.next().await.transpose()?.is_some() {}
    for listener in hearing {
        listener.await??;
    }
    js.delete_stream(&name).await?;
    Ok(())
}

async fn all_commits(folder: &Path, volume: &[Volume]) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|e| Failure::failed(format!("{}: {e}", folder.display())))?;
    let folder: Arc<Path> = folder.into();
    let writers = volume.iter().filter(|line| line.batches > 0).map(|line| {
        let (folder, line) = (folder.clone(), line.clone());
        tokio::task::spawn_blocking(move || commits(&folder.join(format!("{}.db", line.ledger)), &line))
    });
    for writer in futures::future::join_all(writers).await {
        writer
            .map_err(|e| Failure::failed(e.to_string()))?
            .map_err(|e| Failure::failed(format!("the bare commits failed: {e}")))?;
    }
    Ok(())
}

/// One ledger's commits: its batches and nothing else, each with a full fsync.
fn commits(path: &Path, line: &Volume) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch("create table batch (id integer primary key, body blob not null)")?;
    let body = vec![b'x'; usize::try_from(line.bytes / line.batches.max(1)).unwrap_or(0)];
    for _ in 0..line.batches {
        connection.prepare_cached("insert into batch (body) values (?1)")?.execute([&body])?;
    }
    Ok(())
}
