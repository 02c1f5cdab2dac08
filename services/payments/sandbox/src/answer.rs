//! What is answered: the JSON of charges, refunds and errors.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{Either, Full};
use serde::Serialize;

use crate::code::Code;
use crate::entry::{Entry, Kind, Status};
use crate::request::Wrong;
use crate::steering::{OTHER_CURRENCY, steered_by};

/// The common answers are one piece of bytes; those of `/sandbox/*` may be streams.
pub(crate) type Answer = Response<Either<Full<Bytes>, Body>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Stripe's name for it.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A charge or refund as clients see it.
#[derive(Serialize)]
struct ObjectView<'a> {
    id: &'a str,
    reference: &'a str,
    status: &'static str,
    /// What moved, in minor units.
    amount: i64,
    currency: &'a str,
    #[serde(flatten)]
    source: SourceView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<&'static str>,
    idempotency_key: &'a str,
    /// Unix time in milliseconds.
    created: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum SourceView<'a> {
    PaymentMethod(&'a str),
    ChargeId(&'a str),
}

impl<'a> SourceView<'a> {
    fn of(entry: &'a Entry) -> Self {
        match entry.asked.kind {
            Kind::Charge => SourceView::PaymentMethod(&entry.asked.source),
            Kind::Refund => SourceView::ChargeId(&entry.asked.source),
        }
    }
}

impl<'a> ObjectView<'a> {
    fn new(id: &'a str, entry: &'a Entry, status: Status) -> Self {
        ObjectView {
            id,
            reference: &entry.asked.reference,
            status: status.name(),
            amount: entry.amount,
            currency: told_currency(entry),
            source: SourceView::of(entry),
            decline_code: entry.decline.map(Code::name),
            idempotency_key: &entry.asked.idempotency_key,
            created: entry.time_ms,
        }
    }
}

/// The ledger is right; what clients are told may be a lie.
fn told_currency(entry: &Entry) -> &str {
    let is_lie = entry.asked.kind == Kind::Charge && steered_by(&entry.asked.source).wrong_currency;
    if is_lie { OTHER_CURRENCY } else { &entry.asked.currency }
}

/// The answer to an attempt, or the same answer again.
pub(crate) fn attempt(id: &str, told: &Entry, is_replay: bool, retry_after_s: u32) -> Answer {
    let mut answer = match told.error {
        Some(Code::Throttled) => throttled(retry_after_s),
        Some(code) => error(code),
        None => {
            let status = StatusCode::from_u16(told.http).unwrap_or(StatusCode::CREATED);
            json(status, &ObjectView::new(id, told, told.status))
        }
    };
    if is_replay {
        answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    answer
}

/// One charge or refund as a lookup finds it.
pub(crate) fn found(id: &str, entry: &Entry, now_ms: i64) -> Answer {
    json(StatusCode::OK, &ObjectView::new(id, entry, entry.status_at(now_ms)))
}

/// A list of charges or refunds with their public ids.
pub(crate) fn list(found: &[(String, Entry)], has_more: bool, now_ms: i64) -> Answer {
    #[derive(Serialize)]
    struct List<'a> {
        data: Vec<ObjectView<'a>>,
        has_more: bool,
    }
    let data = found.iter().map(|(id, entry)| ObjectView::new(id, entry, entry.status_at(now_ms))).collect();
    json(StatusCode::OK, &List { data, has_more })
}

pub(crate) fn error(code: Code) -> Answer {
    told(code, code.message(), &[])
}

pub(crate) fn throttled(retry_after_s: u32) -> Answer {
    let mut answer = error(Code::Throttled);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
    answer
}

/// All wrong parameters at once: a sentence for humans, a list for programs.
pub(crate) fn invalid(wrong: &[Wrong]) -> Answer {
    let sentences: Vec<String> = wrong.iter().map(|wrong| format!("{} {}", wrong.param, wrong.message)).collect();
    told(Code::InvalidParams, &sentences.join("; "), wrong)
}

fn told(code: Code, message: &str, params: &[Wrong]) -> Answer {
    #[derive(Serialize)]
    struct Error<'a> {
        #[serde(rename = "type")]
        error_type: &'static str,
        code: &'static str,
        message: &'a str,
        /// The first wrong parameter; all of them are in `params`.
        param: Option<&'a str>,
        #[serde(skip_serializing_if = "<[Wrong]>::is_empty")]
        params: &'a [Wrong],
    }
    #[derive(Serialize)]
    struct Body<'a> {
        error: Error<'a>,
    }
    let error = Error {
        error_type: code.error_type(),
        code: code.name(),
        message,
        param: params.first().map(|wrong| wrong.param.as_str()),
        params,
    };
    let status = StatusCode::from_u16(code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, &Body { error })
}

/// An attempt as `/sandbox/ledger` shows it.
#[derive(Serialize)]
pub(crate) struct EntryView<'a> {
    id: i64,
    /// Unix time in milliseconds.
    time: i64,
    attempt: i64,
    idempotency_key: &'a str,
    reference: &'a str,
    kind: &'static str,
    /// What moved, in minor units; what was asked for where nothing moved.
    amount: i64,
    asked_amount: i64,
    currency: &'a str,
    #[serde(flatten)]
    source: SourceView<'a>,
    effect: bool,
    answered: bool,
    status: &'static str,
    /// Of the charge or refund that this attempt made.
    object_id: Option<String>,
    decline_code: Option<&'static str>,
    error_code: Option<&'static str>,
    http_status: u16,
    /// When a pending charge succeeds, in Unix time in milliseconds.
    settles: Option<i64>,
}

impl<'a> EntryView<'a> {
    pub(crate) fn new(object_id: String, entry: &'a Entry) -> Self {
        EntryView {
            id: entry.id,
            time: entry.time_ms,
            attempt: entry.attempt,
            idempotency_key: &entry.asked.idempotency_key,
            reference: &entry.asked.reference,
            kind: entry.asked.kind.name(),
            amount: entry.amount,
            asked_amount: entry.asked.amount,
            currency: &entry.asked.currency,
            source: SourceView::of(entry),
            effect: entry.status.has_effect(),
            answered: entry.answered,
            status: entry.status.name(),
            object_id: entry.status.is_object().then_some(object_id),
            decline_code: entry.decline.map(Code::name),
            error_code: entry.error.map(Code::name),
            http_status: entry.http,
            settles: entry.settles_ms,
        }
    }
}

pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let mut text = Vec::with_capacity(384);
    if let Err(error) = serde_json::to_writer(&mut text, body) {
        tracing::error!(%error, "an answer cannot be told as JSON");
        text.clear();
    }
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from(text))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}
