//! What JetStream still holds: every message, by its number and the hash of its body.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use futures::StreamExt;
use rusqlite::params;
use spillway_proto::batch::header;
use spillway_proto::{Ledger, LedgerId, ledgers};

use super::decode::sha;
use super::work::Work;

/// A stream that says nothing for so long while it has messages left does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Messages that go into the working file at a time.
const AT_A_TIME: usize = 200;

/// Takes every message after those taken before, up to the end that each stream has now.
///
/// # Errors
/// Why a stream cannot be read. One that is not there is empty.
pub async fn gather(work: &mut Work, client: &async_nats::Client, partitions: u16) -> Result<(), String> {
    let jetstream = jetstream::new(client.clone());
    for ledger in Ledger::ALL {
        for id in LedgerId::all(ledger, partitions) {
            for stream in ledgers::streams_of(id, partitions) {
                read(work, &jetstream, ledger, &stream.name).await.map_err(|e| format!("{}: {e}", stream.name))?;
            }
        }
    }
    Ok(())
}

async fn read(work: &mut Work, jetstream: &jetstream::Context, role: Ledger, name: &str) -> Result<(), String> {
    let stream = match jetstream.get_stream(name).await {
        Ok(stream) => stream,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let state = &stream.cached_info().state;
    let (last, messages) = (state.last_sequence, state.messages);
    let seen = "select max(seq) from stream_message where stream = ?1";
    let seen = work.connection.query_row(seen, [name], |row| row.get::<_, Option<i64>>(0));
    let seen = seen.map_err(|e| e.to_string())?.unwrap_or(0);
    let known = work.number(&format!("select value from known where name = 'stream {name}'")).unwrap_or(0);
    let from = u64::try_from(seen.max(known)).unwrap_or(0) + 1;
    if messages == 0 || from > last {
        return Ok(());
    }
    let config = OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
        replay_policy: ReplayPolicy::Instant,
        ..OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|e| e.to_string())?;
    if consumer.cached_info().num_pending == 0 {
        return Ok(());
    }
    let mut messages = consumer.messages().await.map_err(|e| e.to_string())?.ready_chunks(AT_A_TIME);
    loop {
        let next = tokio::time::timeout(PATIENCE, messages.next()).await;
        let Some(chunk) = next.map_err(|_| "it does not answer".to_owned())? else { return Ok(()) };
        work.begin().map_err(|e| e.to_string())?;
        let mut is_over = false;
        for message in chunk {
            let message = message.map_err(|e| e.to_string())?;
            let info = message.info().map_err(|e| e.to_string())?;
            let (seq, pending) = (info.stream_sequence, info.pending);
            if seq <= last {
                put(work, name, role, seq, &message).map_err(|e| e.to_string())?;
            }
            is_over |= seq >= last || pending == 0;
        }
        work.commit().map_err(|e| e.to_string())?;
        if is_over {
            return Ok(());
        }
    }
}

fn put(work: &Work, stream: &str, role: Ledger, seq: u64, message: &jetstream::Message) -> rusqlite::Result<()> {
    let text = |name: &str| message.headers.as_ref().and_then(|all| all.get(name)).map(|value| value.as_str());
    let incarnation = text(header::INCARNATION).and_then(|id| uuid::Uuid::try_parse(id).ok());
    let number = |name: &str| text(name).and_then(|number| number.parse::<i64>().ok());
    work.connection
        .prepare_cached(
            "insert or ignore into stream_message (stream, seq, role, incarnation, partition, number, body_sha)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            stream,
            i64::try_from(seq).unwrap_or(i64::MAX),
            role.name(),
            incarnation.as_ref().map(uuid::Uuid::as_bytes),
            number(header::PARTITION),
            number(header::NUMBER),
            sha(&message.payload)
        ])
        .map(|_| ())
}

fn is_absent(error: &jetstream::context::GetStreamError) -> bool {
    use jetstream::context::GetStreamErrorKind::JetStream;
    matches!(error.kind(), JetStream(e) if e.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND)
}
