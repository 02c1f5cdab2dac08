//! Answering with evidence, from one consistent view.

use bytes::Bytes;
use prost::Message;
use spillway_proto::pb::internal::evidence_value::Kind as WireKind;
use spillway_proto::pb::internal::{Call, EvidenceRequest, EvidenceResponse, EvidenceRow, EvidenceValue, Refusal};

use super::{Cell, Evidence, find};
use crate::bus::refusal::{self, Code};
use crate::ledger::{Ledger, Service, StoreError, Tx};

/// Bytes of an answer after which no row is added: half of the `max_payload` that servers have by default.
const ANSWER_BYTES: usize = 512 << 10;

/// Rows of one answer at most, and where none or less than one is asked for.
const MOST_ROWS: i32 = 4096;

/// Subjects of one question at most.
const MOST_SUBJECTS: usize = 256;

/// Rows of a table, from one view.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub rows: Vec<Vec<Cell>>,
    /// There is nothing after them.
    pub end: bool,
    /// How many of the subjects that were asked for are answered in full.
    pub subjects_done: usize,
    /// The last row of the outbox in that view.
    pub as_of: i64,
}

/// Endpoint `evidence`: an [`EvidenceRequest`] is answered with an [`EvidenceResponse`].
///
/// # Errors
/// NOT_FOUND for a table that is no evidence here; INVALID_ARGUMENT for a key that is none; UNAVAILABLE where the
/// ledger cannot be read.
pub async fn answer<S: Service>(ledger: Ledger<S>, call: Call) -> Result<Bytes, Refusal> {
    let request: EvidenceRequest = refusal::read(&call)?;
    let Some(evidence) = find(S::EVIDENCE, &request.table) else {
        return Err(refusal::new(Code::NotFound, "UNKNOWN_EVIDENCE", "this ledger shows no such table"));
    };
    let after: Vec<Cell> = request.after.into_iter().map(Cell::from).collect();
    if !after.is_empty() && after.len() != evidence.key.len() {
        return Err(refusal::new(Code::InvalidArgument, "INVALID_KEY", "the key has another number of columns"));
    }
    let (subjects, limit) = (request.subjects, request.limit);
    let callee = ledger.identity().id.ledger;
    let page = ledger.query(move |tx| {
        if subjects.is_empty() { page(tx, evidence, after, limit) } else { about(tx, evidence, &subjects) }
    });
    let page = page.await.map_err(|error| refusal::not_read(callee, &error))?;
    Ok(EvidenceResponse::from(page).encode_to_vec().into())
}

/// Rows after a key.
pub(super) fn page(tx: &Tx<'_>, evidence: &Evidence, after: Vec<Cell>, limit: i32) -> Result<Page, StoreError> {
    let limit = if limit < 1 { MOST_ROWS } else { limit.min(MOST_ROWS) };
    let limit = usize::try_from(limit).unwrap_or(1);
    let mut page = Page { as_of: as_of(tx)?, ..Page::default() };
    let mut after = if after.is_empty() { evidence.start() } else { after };
    let mut bytes = 0;
    while page.rows.len() < limit && bytes < ANSWER_BYTES {
        let chunk = evidence.chunk.min(limit - page.rows.len());
        let mut values: Vec<_> = after.iter().map(Cell::as_value).collect();
        values.push(i64::try_from(chunk).unwrap_or(1).into());
        let rows = tx.read(evidence.page, &values, |row| evidence.read_row(row))?;
        page.end = rows.len() < chunk;
        for row in rows {
            let size = row.iter().map(Cell::len).sum::<usize>();
            if bytes + size > ANSWER_BYTES && !page.rows.is_empty() {
                page.end = false;
                return Ok(page);
            }
            bytes += size;
            page.rows.push(row);
        }
        match page.rows.last() {
            Some(last) if !page.end => after = evidence.key_of(last),
            Some(_) | None => break,
        }
    }
    Ok(page)
}

/// Rows about these subjects; as many of them as fit.
pub(super) fn about(tx: &Tx<'_>, evidence: &Evidence, subjects: &[Bytes]) -> Result<Page, StoreError> {
    let mut page = Page { as_of: as_of(tx)?, ..Page::default() };
    let Some(sql) = evidence.about else {
        return Err(StoreError::Statement(format!("{} is about no subject", evidence.table)));
    };
    let mut bytes = 0;
    for subject in subjects.iter().take(MOST_SUBJECTS) {
        let rows = tx.read(sql, &[(&subject[..]).into()], |row| evidence.read_row(row))?;
        bytes += rows.iter().flatten().map(Cell::len).sum::<usize>();
        if bytes > ANSWER_BYTES && page.subjects_done > 0 {
            return Ok(page);
        }
        page.rows.extend(rows);
        page.subjects_done += 1;
    }
    page.end = page.subjects_done == subjects.len();
    Ok(page)
}

fn as_of(tx: &Tx<'_>) -> Result<i64, StoreError> {
    let last = tx.read("select coalesce(max(id), 0) from outbox", &[], |row| row.int(0))?;
    Ok(last.into_iter().next().unwrap_or(0))
}

impl From<Page> for EvidenceResponse {
    fn from(page: Page) -> Self {
        let row = |row: Vec<Cell>| EvidenceRow { values: row.into_iter().map(EvidenceValue::from).collect() };
        EvidenceResponse {
            rows: page.rows.into_iter().map(row).collect(),
            end: page.end,
            subjects_done: i32::try_from(page.subjects_done).unwrap_or(i32::MAX),
            as_of: page.as_of,
        }
    }
}

impl From<EvidenceResponse> for Page {
    fn from(answer: EvidenceResponse) -> Self {
        let row = |row: EvidenceRow| row.values.into_iter().map(Cell::from).collect();
        Page {
            rows: answer.rows.into_iter().map(row).collect(),
            end: answer.end,
            subjects_done: usize::try_from(answer.subjects_done).unwrap_or(0),
            as_of: answer.as_of,
        }
    }
}

impl From<Cell> for EvidenceValue {
    fn from(cell: Cell) -> Self {
        let kind = match cell {
            Cell::Null => None,
            Cell::Int(value) => Some(WireKind::Integer(value)),
            Cell::Text(value) => Some(WireKind::Text(value)),
            Cell::Blob(value) => Some(WireKind::Blob(value.into())),
        };
        EvidenceValue { kind }
    }
}

impl From<EvidenceValue> for Cell {
    fn from(value: EvidenceValue) -> Self {
        match value.kind {
            None => Cell::Null,
            Some(WireKind::Integer(value)) => Cell::Int(value),
            Some(WireKind::Text(value)) => Cell::Text(value),
            Some(WireKind::Blob(value)) => Cell::Blob(value.into()),
        }
    }
}
