//! `/sandbox/*`: steering the provider, and the truth about what it did.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Shared;
use crate::answer::EntryView;
use crate::code::Code;
use crate::entry::Entry;
use crate::ledger::{LedgerError, Summary, unix_ms};
use crate::mode::Mode;
use crate::traffic::Second;

/// Attempts in one page, unless asked otherwise, and at most.
const PAGE: usize = 1_000;
const PAGE_MAX: usize = 10_000;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/sandbox/mode", get(show_mode).post(change_mode))
        .route("/sandbox/ledger", get(show_ledger))
        .route("/sandbox/summary", get(show_summary))
        .fallback(async || Refusal { code: Code::NotFound, message: Code::NotFound.message().to_owned() })
        .with_state(shared)
}

async fn show_mode(State(shared): State<Arc<Shared>>) -> axum::Json<Mode> {
    let mode = shared.mode.borrow().clone();
    axum::Json(Mode::clone(&mode))
}

/// Whatever the content type says, so that a plain `curl -d` will do.
async fn change_mode(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<axum::Json<Mode>, Refusal> {
    let changes: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|error| invalid(format!("the body must be a JSON object: {error}")))?;
    let mut result = Err(String::new());
    shared.mode.send_if_modified(|mode| {
        result = mode.merged(changes);
        if let Ok(merged) = &result {
            *mode = Arc::new(merged.clone());
        }
        result.is_ok()
    });
    let mode = result.map_err(invalid)?;
    tracing::info!(?mode, "sandbox provider has a new mode");
    Ok(axum::Json(mode))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    after: i64,
    limit: Option<usize>,
    #[serde(default)]
    format: Format,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    /// One attempt a line, all that there are unless a limit is given.
    Jsonl,
}

async fn show_ledger(
    State(shared): State<Arc<Shared>>,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(page) = page.map_err(|wrong| invalid(wrong.body_text()))?;
    if page.limit == Some(0) {
        return Err(invalid("limit must be at least 1".to_owned()));
    }
    match page.format {
        Format::Json => one_page(&shared, &page).await,
        Format::Jsonl => Ok(lines(shared, page)),
    }
}

async fn one_page(shared: &Shared, page: &Page) -> Result<Response, Refusal> {
    #[derive(Serialize)]
    struct Shown<'a> {
        entries: Vec<EntryView<'a>>,
        /// What to ask for as `after` next; none at the end.
        next: Option<i64>,
    }
    let limit = page.limit.unwrap_or(PAGE).min(PAGE_MAX);
    let entries = shared.ledger.attempts_after(page.after, limit).await?;
    let is_full = entries.len() == limit;
    let shown = Shown {
        entries: entries.iter().map(|entry| view(shared, entry)).collect(),
        next: entries.last().filter(|_| is_full).map(|entry| entry.id),
    };
    Ok(axum::Json(shown).into_response())
}

/// Streams page after page: no ledger has to fit into memory.
fn lines(shared: Arc<Shared>, page: Page) -> Response {
    let begin = (page.after, page.limit.unwrap_or(usize::MAX));
    let pages = stream::try_unfold(begin, move |(after, left)| {
        let shared = shared.clone();
        async move {
            let entries = shared.ledger.attempts_after(after, left.min(PAGE)).await?;
            let Some(last) = entries.last() else {
                return Ok::<_, LedgerError>(None);
            };
            let next = (last.id, left - entries.len());
            Ok(Some((written(&shared, &entries), next)))
        }
    });
    ([(CONTENT_TYPE, "application/jsonl")], Body::from_stream(pages)).into_response()
}

fn written(shared: &Shared, entries: &[Entry]) -> Bytes {
    let mut text = Vec::with_capacity(entries.len() * 384);
    for entry in entries {
        match serde_json::to_writer(&mut text, &view(shared, entry)) {
            Ok(()) => text.push(b'\n'),
            Err(error) => tracing::error!(%error, "an attempt cannot be told as JSON"),
        }
    }
    Bytes::from(text)
}

fn view<'a>(shared: &Shared, entry: &'a Entry) -> EntryView<'a> {
    EntryView::new(shared.ledger.public_id(entry), entry)
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    summary: Summary,
    /// Of the last ten minutes, only seconds in which something came; counted since the start.
    requests_per_second: Vec<Second>,
}

async fn show_summary(State(shared): State<Arc<Shared>>) -> Result<axum::Json<Shown>, Refusal> {
    let now_ms = unix_ms(SystemTime::now());
    let summary = shared.ledger.summary(now_ms).await?;
    let requests_per_second = shared.traffic.seconds(now_ms.unsigned_abs() / 1_000);
    Ok(axum::Json(Shown { summary, requests_per_second }))
}

/// The same shape of error as the provider's API has.
struct Refusal {
    code: Code,
    message: String,
}

fn invalid(message: String) -> Refusal {
    Refusal { code: Code::InvalidParams, message }
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        tracing::error!(%error, "the ledger could not be shown");
        Refusal { code: Code::Unavailable, message: error.to_string() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.http()).unwrap_or(StatusCode::BAD_REQUEST);
        let error = serde_json::json!({
            "error": {"type": self.code.error_type(), "code": self.code.name(), "message": self.message}
        });
        (status, axum::Json(error)).into_response()
    }
}
