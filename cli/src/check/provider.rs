//! The provider's ledger: the truth about money. Asked over HTTP a line at a time, or read from the sandbox's file.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rusqlite::{Connection, OpenFlags, params};
use serde::Deserialize;

use super::looking::Provider;
use super::work::Work;

/// One attempt, as the provider tells it.
#[derive(Debug, Deserialize)]
struct Attempt {
    id: i64,
    time: i64,
    idempotency_key: String,
    reference: String,
    kind: String,
    amount: i64,
    currency: String,
    effect: bool,
    answered: bool,
    status: String,
}

/// Takes what the provider did after what was taken before. `look` is 0 before the ledgers are read, 1 after.
///
/// # Errors
/// Why it cannot be read.
pub async fn gather(work: &mut Work, provider: &Provider, look: i64) -> Result<(), String> {
    let last = work.number("select max(id) from attempt").map_err(|e| e.to_string())?;
    let last = last.max(work.number("select value from known where name = 'attempt'").unwrap_or(0));
    match provider {
        Provider::Asked(url) => ask(work, url, last, look).await,
        Provider::File(path) => read(work, path, last, look).map_err(|e| format!("{}: {e}", path.display())),
    }
}

async fn ask(work: &mut Work, url: &str, after: i64, look: i64) -> Result<(), String> {
    let uri = format!("{}/sandbox/ledger?format=jsonl&after={after}", url.trim_end_matches('/'));
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let uri = uri.parse().map_err(|_| format!("{url} is no address"))?;
    let answer = client.get(uri).await.map_err(|e| format!("{url} does not answer: {e}"))?;
    if answer.status() != http::StatusCode::OK {
        return Err(format!("{url} answers {}: it is no sandbox provider, leave it out", answer.status()));
    }
    let mut body = answer.into_body();
    let mut rest = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| format!("{url} broke off: {e}"))?;
        let Ok(bytes) = frame.into_data() else { continue };
        rest.extend_from_slice(&bytes);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        let lines: Vec<u8> = rest.drain(..=end).collect();
        take_lines(work, &lines, look)?;
    }
    take_lines(work, &rest, look)
}

fn take_lines(work: &mut Work, lines: &[u8], look: i64) -> Result<(), String> {
    work.begin().map_err(|e| e.to_string())?;
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let attempt: Attempt = serde_json::from_slice(line).map_err(|e| format!("a line of the provider: {e}"))?;
        put(&work.connection, &attempt, look).map_err(|e| e.to_string())?;
    }
    work.commit().map_err(|e| e.to_string())
}

fn read(work: &mut Work, path: &Path, after: i64, look: i64) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let file = Connection::open_with_flags(path, flags)?;
    let mut statement = file.prepare(
        "select id, time_ms, idempotency_key, reference, kind, amount, currency, effect, answered, status
         from attempts where id > ?1 order by id",
    )?;
    let mut rows = statement.query([after])?;
    work.begin()?;
    while let Some(row) = rows.next()? {
        let attempt = Attempt {
            id: row.get(0)?,
            time: row.get(1)?,
            idempotency_key: row.get(2)?,
            reference: row.get(3)?,
            kind: row.get(4)?,
            amount: row.get(5)?,
            currency: row.get(6)?,
            effect: row.get(7)?,
            answered: row.get(8)?,
            status: row.get(9)?,
        };
        put(&work.connection, &attempt, look)?;
    }
    work.commit()
}

fn put(work: &Connection, attempt: &Attempt, look: i64) -> rusqlite::Result<()> {
    // A charge goes by its order's id, a refund by a key that begins with it.
    let order = attempt.reference.get(..36).and_then(|text| uuid::Uuid::try_parse(text).ok());
    work.prepare_cached(
        "insert or ignore into attempt (id, time_ms, idempotency_key, reference, order_id, kind, status, effect,
             answered, amount, currency, look)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        attempt.id,
        attempt.time,
        attempt.idempotency_key,
        attempt.reference,
        order.as_ref().map(uuid::Uuid::as_bytes),
        attempt.kind,
        attempt.status,
        attempt.effect,
        attempt.answered,
        attempt.amount,
        attempt.currency,
        look
    ])
    .map(|_| ())
}
