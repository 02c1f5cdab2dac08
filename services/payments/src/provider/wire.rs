//! The provider's JSON, and the class of every answer.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Charge, Refund};
use crate::domain::{Outcome, Receipt, Sight};

/// The longest wait that a provider may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The longest name that is kept of what the provider says, in bytes.
const TEXT_MAX: usize = 255;

/// The longest code that is kept, in bytes.
const CODE_MAX: usize = 64;

/// As many digits may be a card number (ISO/IEC 7812).
const CARD_DIGITS: usize = 12;

/// The body of a charge.
pub(super) fn charge(charge: Charge<'_>) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        reference: &'a str,
        amount: i64,
        currency: &'a str,
        payment_method: &'a str,
    }
    let Charge { key: _, reference, minor, currency, payment_method } = charge;
    json(&Body { reference, amount: minor, currency, payment_method })
}

/// The body of a refund.
pub(super) fn refund(refund: Refund<'_>) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        charge_id: &'a str,
        reference: &'a str,
        amount: i64,
        currency: &'a str,
    }
    let Refund { key, minor, currency, charge } = refund;
    json(&Body { charge_id: charge, reference: key, amount: minor, currency })
}

fn json(body: &impl Serialize) -> Bytes {
    let mut text = Vec::with_capacity(256);
    serde_json::to_writer(&mut text, body).expect("plain text and numbers are JSON");
    Bytes::from(text)
}

/// What came back, with the only header that matters.
pub(super) struct Answer {
    pub status: StatusCode,
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

/// A charge or a refund, as the provider shows it. Fields of a newer provider are passed over.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    reference: Cow<'a, str>,
    status: Status,
    amount: i64,
    #[serde(borrow)]
    currency: Cow<'a, str>,
    #[serde(borrow, default)]
    decline_code: Option<Cow<'a, str>>,
    /// Of a refund: what it was taken from.
    #[serde(borrow, default)]
    charge_id: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Status {
    Succeeded,
    Declined,
    Pending,
    RequiresAction,
}

impl Status {
    /// Money moves, or will.
    fn is_effective(self) -> bool {
        match self {
            Status::Succeeded | Status::Pending => true,
            Status::Declined | Status::RequiresAction => false,
        }
    }
}

impl Object<'_> {
    fn outcome(&self) -> Outcome {
        let provider_reference = self.id.clone().into_owned();
        let code = |otherwise: &str| self.decline_code.as_deref().map_or(otherwise.to_owned(), word);
        match self.status {
            Status::Succeeded => Outcome::Approved(Receipt {
                provider_reference,
                minor: self.amount,
                currency: self.currency.clone().into_owned(),
            }),
            Status::Declined => Outcome::Declined { provider_reference, code: code("declined") },
            Status::RequiresAction => Outcome::ActionRequired { provider_reference, code: code("requires_action") },
            Status::Pending => Outcome::Pending { provider_reference },
        }
    }

    fn is_plausible(&self, reference: &str) -> bool {
        self.reference == reference && !self.id.is_empty() && self.id.len() <= TEXT_MAX && self.currency.len() <= 16
    }
}

/// The class of the answer to a charge or refund. What cannot be understood is unknown: it may have been carried out.
pub(super) fn sent(answer: &Answer, reference: &str) -> Outcome {
    match answer.status {
        StatusCode::OK | StatusCode::CREATED => made(&answer.body, reference).unwrap_or(Outcome::Unknown),
        StatusCode::PAYMENT_REQUIRED => declined(&answer.body, reference),
        StatusCode::TOO_MANY_REQUESTS => throttled(answer),
        StatusCode::CONFLICT => Outcome::InFlight,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => Outcome::Unavailable,
        // Nothing at that path is a wrong address, not a wrong payment.
        StatusCode::NOT_FOUND => match error_code(&answer.body) {
            Some(code) if code == "charge_not_found" => Outcome::Rejected { code },
            Some(_) | None => Outcome::Unavailable,
        },
        StatusCode::SERVICE_UNAVAILABLE => unavailable(&answer.body),
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            let code = error_code(&answer.body).unwrap_or_else(|| format!("http_{}", answer.status.as_u16()));
            Outcome::Rejected { code }
        }
        _other_status => Outcome::Unknown,
    }
}

/// The class of what a lookup found.
pub(super) fn looked_up(answer: &Answer, reference: &str) -> Outcome {
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        data: Vec<Object<'a>>,
        has_more: bool,
    }
    match answer.status {
        StatusCode::OK => {}
        StatusCode::TOO_MANY_REQUESTS => return throttled(answer),
        _no_answer => return Outcome::Unavailable,
    }
    let Ok(list) = serde_json::from_slice::<List<'_>>(&answer.body) else {
        return Outcome::Unavailable;
    };
    if list.data.iter().any(|found| !found.is_plausible(reference)) {
        return Outcome::Unavailable;
    }
    let effective: Vec<&Object<'_>> = list.data.iter().filter(|found| found.status.is_effective()).collect();
    match (effective.as_slice(), list.data.first()) {
        ([only], _) if !list.has_more => only.outcome(),
        ([], Some(first)) if !list.has_more => first.outcome(),
        ([], None) => Outcome::Absent,
        _several => Outcome::Several,
    }
}

/// What one charge or refund is, asked for by the provider's name for it.
pub(super) fn found(answer: &Answer, name: &str) -> Option<Sight> {
    match answer.status {
        StatusCode::OK => {
            let object = serde_json::from_slice::<Object<'_>>(&answer.body).ok()?;
            (object.id == name && object.reference.len() <= TEXT_MAX && object.currency.len() <= 16).then(|| {
                Sight::Shown {
                    outcome: object.outcome(),
                    reference: object.reference.clone().into_owned(),
                    charge: object.charge_id.clone().map(Cow::into_owned).unwrap_or_default(),
                }
            })
        }
        StatusCode::NOT_FOUND if error_code(&answer.body).is_some() => Some(Sight::Nothing),
        _no_answer => None,
    }
}

fn made(body: &[u8], reference: &str) -> Option<Outcome> {
    let object = serde_json::from_slice::<Object<'_>>(body).ok()?;
    object.is_plausible(reference).then(|| object.outcome())
}

/// A decline with the charge that was declined, or a refusal that made none.
fn declined(body: &[u8], reference: &str) -> Outcome {
    if let Some(outcome) = made(body, reference) {
        return outcome;
    }
    match error_code(body) {
        Some(code) => Outcome::Declined { provider_reference: String::new(), code },
        None => Outcome::Unknown,
    }
}

/// 503 of the provider itself says that nothing was carried out; 503 of something before it says nothing.
fn unavailable(body: &[u8]) -> Outcome {
    match error_code(body) {
        Some(code) if code == "unavailable" => Outcome::Unavailable,
        Some(_) | None => Outcome::Unknown,
    }
}

fn throttled(answer: &Answer) -> Outcome {
    Outcome::Throttled { after: answer.retry_after.unwrap_or(Duration::from_secs(1)).min(RETRY_AFTER_MAX) }
}

fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: Error<'a>,
    }
    #[derive(Deserialize)]
    struct Error<'a> {
        #[serde(borrow)]
        code: Cow<'a, str>,
    }
    serde_json::from_slice::<Body<'_>>(body).ok().map(|body| word(&body.error.code))
}

/// A code is a word. What is none is a text, which may hold a customer's: it is not kept.
fn word(code: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let digits = code.bytes().filter(u8::is_ascii_digit).count();
    if (1..=CODE_MAX).contains(&code.len()) && code.bytes().all(is_plain) && digits < CARD_DIGITS {
        code.to_owned()
    } else {
        "unreadable_code".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &str = r#"{"id":"ch_1","reference":"r","status":"succeeded","amount":5,"currency":"EUR","new":1}"#;

    fn check(class: fn(&Answer, &str) -> Outcome, cases: &[(u16, &str, &str)]) {
        for (status, body, expected) in cases {
            let status = StatusCode::from_u16(*status).expect("a status");
            let retry_after = Some(Duration::from_secs(7));
            let answer = Answer { status, retry_after, body: Bytes::copy_from_slice(body.as_bytes()) };
            let found = format!("{:?}", class(&answer, "r"));
            assert!(found.starts_with(expected), "{status} {body}: {found}, not {expected}");
        }
    }

    fn error(code: &str) -> String {
        format!(r#"{{"error":{{"type":"t","code":"{code}","message":"m"}}}}"#)
    }

    #[test]
    fn every_answer_to_a_charge_has_its_class() {
        check(
            sent,
            &[
                (201, OBJECT, "Approved"),
                (200, OBJECT, "Approved"),
                (201, &OBJECT.replace("succeeded", "pending"), "Pending"),
                (201, &OBJECT.replace("succeeded", "requires_action"), "ActionRequired"),
                (402, &OBJECT.replace("succeeded", "declined"), "Declined"),
                (402, &error("refund_exceeds_charge"), "Declined"),
                (402, "<html>", "Unknown"),
                (201, &OBJECT.replace("succeeded", "teleported"), "Unknown"),
                (201, &OBJECT.replace("\"r\"", "\"another\""), "Unknown"),
                (201, &OBJECT.replace("\"ch_1\"", "\"\""), "Unknown"),
                (201, &OBJECT.replace(":5", ":\"5\""), "Unknown"),
                (201, "", "Unknown"),
                (400, &error("invalid_params"), "Rejected"),
                (422, "", "Rejected"),
                (401, &error("unauthorized"), "Unavailable"),
                (404, &error("not_found"), "Unavailable"),
                (404, &error("charge_not_found"), "Rejected"),
                (409, &error("idempotency_key_in_use"), "InFlight"),
                (429, &error("throttled"), "Throttled { after: 7s }"),
                (500, &error("internal_error"), "Unknown"),
                (502, "<html>", "Unknown"),
                (503, &error("unavailable"), "Unavailable"),
                (503, "<html>", "Unknown"),
                (302, "", "Unknown"),
            ],
        );
    }

    #[test]
    fn a_lookup_concludes_nothing_but_from_a_whole_answer() {
        let list = |data: &str, has_more| format!(r#"{{"data":[{data}],"has_more":{has_more}}}"#);
        let declined = OBJECT.replace("succeeded", "declined");
        check(
            looked_up,
            &[
                (200, &list(OBJECT, false), "Approved"),
                (200, &list("", false), "Absent"),
                (200, &list(&format!("{declined},{OBJECT}"), false), "Approved"),
                (200, &list(&declined, false), "Declined"),
                (200, &list(&format!("{OBJECT},{OBJECT}"), false), "Several"),
                (200, &list(OBJECT, true), "Several"),
                (200, &list(&OBJECT.replace("\"r\"", "\"other\""), false), "Unavailable"),
                (200, r#"{"data":[]}"#, "Unavailable"),
                (200, "", "Unavailable"),
                (404, &error("not_found"), "Unavailable"),
                (500, &error("internal_error"), "Unavailable"),
                (401, &error("unauthorized"), "Unavailable"),
                (429, &error("throttled"), "Throttled"),
            ],
        );
    }

    #[test]
    fn what_is_kept_of_a_strangers_text_is_bounded() {
        for code in ["card_declined", "91", "do-not-honor.v2"] {
            assert_eq!(word(code), code);
        }
        for text in ["", "ada@example.com", "no 4242", "card4242424242424242", &"x".repeat(65), "ä"] {
            assert_eq!(word(text), "unreadable_code", "{text}");
        }
    }
}
