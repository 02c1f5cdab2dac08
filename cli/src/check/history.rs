//! The clients' history: one JSON document a line for each call, written by `load --history`, read by `check --history`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use rusqlite::params;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::work::Work;

/// What a client knows of the outcome of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was answered OK.
    Ok,
    /// It was refused for good: nothing of it may be there.
    Fail,
    /// It may or may not have been done.
    Unknown,
}

impl Outcome {
    /// What a status leaves known. Only refusals that say so of themselves are definite.
    pub fn of(code: tonic::Code) -> Self {
        use tonic::Code;
        match code {
            Code::Ok => Outcome::Ok,
            Code::InvalidArgument
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::ResourceExhausted => Outcome::Fail,
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Aborted
            | Code::DataLoss
            | Code::Internal => Outcome::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Unknown => "unknown",
        }
    }
}

/// One call of one client. Times are Unix microseconds on the client's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The call's own name.
    pub call: String,
    /// The customer on whose behalf: every order of it is in the history.
    pub process: String,
    pub shop: String,
    /// `place`, or `get`, `watch`, `list` of an order.
    pub op: String,
    /// A UUID.
    pub request_id: Option<String>,
    /// The fingerprint of the content, in hexadecimal digits: what the gateway keeps of it.
    pub req_sha: Option<String>,
    pub invoke_us: i64,
    pub complete_us: i64,
    pub outcome: Outcome,
    /// The gRPC code, such as `OK` or `UNAVAILABLE`.
    pub code: String,
    /// A UUID.
    pub order_id: Option<String>,
    /// The version of the order that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    pub attempts: u32,
}

/// Takes a history file.
///
/// # Errors
/// Which line cannot be read, or why the file cannot.
pub fn read(work: &mut Work, path: &Path) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let file = File::open(path).map_err(|e| failed(&e))?;
    work.begin().map_err(|e| failed(&e))?;
    for (number, line) in (1i64..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|e| failed(&e))?;
        let call: Call = serde_json::from_str(&line).map_err(|e| failed(&format!("line {number}: {e}")))?;
        put(work, number, &call).map_err(|e| failed(&e))?;
    }
    work.commit().map_err(|e| failed(&e))
}

fn put(work: &Work, number: i64, call: &Call) -> rusqlite::Result<()> {
    work.connection
        .prepare_cached(
            "insert or replace into call (line, call, process, shop, op, request_id, req_sha, invoke_us, complete_us,
                 outcome, code, order_id, version, attempts)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            number,
            call.call,
            call.process,
            call.shop,
            call.op,
            id_of(call.request_id.as_deref()),
            call.req_sha.as_deref().map(bytes_of),
            call.invoke_us,
            call.complete_us,
            call.outcome.name(),
            call.code,
            id_of(call.order_id.as_deref()),
            call.version,
            call.attempts
        ])
        .map(|_| ())
}

fn id_of(text: Option<&str>) -> Option<[u8; 16]> {
    Uuid::try_parse(text?).ok().map(Uuid::into_bytes)
}

/// From hexadecimal digits; what is none is left out.
fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
