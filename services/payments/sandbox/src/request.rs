//! Reading the body of a request to charge or refund: every wrong parameter is named at once.

use std::str::FromStr;
use std::sync::Arc;

use iso_currency::Currency;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::entry::{Create, Kind};

/// The most one charge may be, in minor units: sums over a whole ledger stay far from the end of 64 bits.
const AMOUNT_MAX: i64 = 1_000_000_000_000;
/// The longest idempotency key, in bytes, as at Stripe.
const KEY_MAX: usize = 255;
/// The longest reference or id, in bytes.
const TEXT_MAX: usize = 200;

/// One wrong parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Wrong {
    pub param: String,
    pub message: String,
}

/// What the request asks for.
///
/// # Errors
/// All that is wrong with it, in the order of the parameters.
pub(crate) fn read(kind: Kind, key: Option<&str>, body: &[u8]) -> Result<Create, Vec<Wrong>> {
    let mut wrong = Vec::new();
    let key = read_key(key, &mut wrong);
    let mut params = match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(params) => params,
        Err(error) => {
            wrong.push(Wrong { param: "(body)".to_owned(), message: format!("must be a JSON object: {error}") });
            return Err(wrong);
        }
    };
    let source = match kind {
        Kind::Charge => text(&mut params, "payment_method", &mut wrong, is_payment_method),
        Kind::Refund => text(&mut params, "charge_id", &mut wrong, is_plain),
    };
    let create = Create {
        kind,
        idempotency_key: Arc::from(key),
        reference: text(&mut params, "reference", &mut wrong, is_plain),
        amount: amount(&mut params, &mut wrong),
        currency: text(&mut params, "currency", &mut wrong, is_currency),
        source,
    };
    for name in params.into_iter().map(|(name, _)| name) {
        wrong.push(Wrong { param: name, message: "is not a parameter of this request".to_owned() });
    }
    if wrong.is_empty() { Ok(create) } else { Err(wrong) }
}

fn read_key<'a>(key: Option<&'a str>, wrong: &mut Vec<Wrong>) -> &'a str {
    let message = match key {
        None | Some("") => "this header is required".to_owned(),
        Some(key) if key.len() > KEY_MAX => format!("must have at most {KEY_MAX} characters"),
        Some(key) => return key,
    };
    wrong.push(Wrong { param: "Idempotency-Key".to_owned(), message });
    ""
}

fn text(
    params: &mut Map<String, Value>,
    name: &str,
    wrong: &mut Vec<Wrong>,
    rule: fn(&str) -> Result<(), &'static str>,
) -> String {
    let problem = match params.remove(name) {
        Some(Value::String(text)) => match rule(&text) {
            Ok(()) => return text,
            Err(problem) => problem,
        },
        Some(_) => "must be a string",
        None => "is required",
    };
    wrong.push(Wrong { param: name.to_owned(), message: problem.to_owned() });
    String::new()
}

fn amount(params: &mut Map<String, Value>, wrong: &mut Vec<Wrong>) -> i64 {
    let problem = match params.remove("amount").map(|value| value.as_i64()) {
        Some(Some(amount)) if (1..=AMOUNT_MAX).contains(&amount) => return amount,
        Some(_) => format!("must be an integer from 1 to {AMOUNT_MAX}, in minor units of the currency"),
        None => "is required".to_owned(),
    };
    wrong.push(Wrong { param: "amount".to_owned(), message: problem });
    0
}

fn is_plain(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > TEXT_MAX {
        return Err("must have 1 to 200 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters");
    }
    Ok(())
}

fn is_payment_method(text: &str) -> Result<(), &'static str> {
    let is_named = text
        .strip_prefix("pm_")
        .is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    if is_named && text.len() <= TEXT_MAX {
        Ok(())
    } else {
        Err("must be pm_ followed by letters, digits or underscores")
    }
}

fn is_currency(text: &str) -> Result<(), &'static str> {
    match Currency::from_str(text) {
        Ok(_) if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()) => Ok(()),
        Ok(_) | Err(_) => Err("must be an ISO 4217 code in capitals, such as EUR"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(kind: Kind, key: Option<&str>, body: &str) -> Vec<String> {
        let wrong = read(kind, key, body.as_bytes()).expect_err(body);
        wrong.into_iter().map(|wrong| wrong.param).collect()
    }

    #[test]
    fn a_valid_request_is_taken_as_it_is() {
        let body = br#"{"reference":"o-1","amount":1,"currency":"JPY","payment_method":"pm_Visa_1"}"#;
        let create = read(Kind::Charge, Some("k"), body).expect("valid");
        assert_eq!((create.amount, create.currency.as_str()), (1, "JPY"));
        assert_eq!((create.source.as_str(), &*create.idempotency_key), ("pm_Visa_1", "k"));
    }

    #[test]
    fn every_wrong_parameter_is_named_at_once() {
        let body = r#"{"reference":"","amount":0,"currency":"eur","payment_method":"visa","tip":1}"#;
        let all = ["Idempotency-Key", "payment_method", "reference", "amount", "currency", "tip"];
        assert_eq!(names(Kind::Charge, None, body), all);
        assert_eq!(names(Kind::Refund, Some("k"), "{}"), ["charge_id", "reference", "amount", "currency"]);
        assert_eq!(names(Kind::Charge, Some("k"), "[1]"), ["(body)"]);
    }

    #[test]
    fn each_parameter_has_its_bounds() {
        let long = "x".repeat(201);
        for (param, value) in [
            ("amount", "1.5".to_owned()),
            ("amount", "\"1\"".to_owned()),
            ("amount", "-1".to_owned()),
            ("amount", "1000000000001".to_owned()),
            ("amount", "99999999999999999999".to_owned()),
            ("currency", "\"XXQ\"".to_owned()),
            ("currency", "\"EURO\"".to_owned()),
            ("reference", "\"a\\u0000\"".to_owned()),
            ("reference", format!("\"{long}\"")),
            ("reference", "7".to_owned()),
            ("payment_method", "\"pm_\"".to_owned()),
            ("payment_method", "\"pm_a-b\"".to_owned()),
        ] {
            let mut body: Map<String, Value> =
                serde_json::from_str(r#"{"reference":"o","amount":1,"currency":"EUR","payment_method":"pm_ok"}"#)
                    .expect("the test's own JSON");
            body.insert(param.to_owned(), serde_json::from_str(&value).expect("the test's own JSON"));
            let body = Value::Object(body).to_string();
            assert_eq!(names(Kind::Charge, Some("k"), &body), [param], "{body}");
        }
        assert_eq!(names(Kind::Charge, Some(&"k".repeat(256)), "[]")[0], "Idempotency-Key");
    }
}
