//! PlaceOrder.

use std::collections::BTreeMap;
use std::str::FromStr;

use spillway_proto::pb::events::OrderPlaced;
use spillway_proto::pb::orders::{Contact, PlaceOrderRequest};
use spillway_proto::{Money, pb};
use spillway_shared::grpc::CallError;
use uuid::Uuid;

use super::text::{self, Rule};
use super::{MAX_CUSTOMER_ID, Violations, amount, id, lines, payment};

/// RFC 5321, 4.5.3.1.3: a path has 256 octets, two of them the angle brackets.
const MAX_EMAIL: usize = 254;

const MAX_LABELS: usize = 32;
const MAX_LABEL_KEY: usize = 63;
const MAX_LABEL_VALUE: usize = 256;

/// A request that may be accepted, in its one canonical form.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    pub request_id: Uuid,
    pub validate_only: bool,
    /// What is asked for, without the request's id: the same for whatever asks for the same.
    pub content: OrderPlaced,
}

/// Checks a request to place an order.
///
/// # Errors
/// INVALID_ARGUMENT with every violation.
pub fn place_order(request: PlaceOrderRequest) -> Result<Placement, CallError> {
    let mut violations = Violations::default();
    let request_id = id::uuid(&mut violations, "request_id", &request.request_id);
    text::check(&mut violations, "customer_id", &request.customer_id, Rule::name(MAX_CUSTOMER_ID));
    let sum = lines::lines(&mut violations, &request.lines);
    payment::check(&mut violations, &request.payment_method);
    if let Some(told) = &request.total {
        total(&mut violations, told, sum);
    }
    if let Some(contact) = &request.contact {
        email(&mut violations, contact);
    }
    labels(&mut violations, &request.labels);
    let (request_id, sum) = violations.finish(request_id.zip(sum))?;
    Ok(Placement {
        request_id,
        validate_only: request.validate_only,
        content: OrderPlaced {
            request_id: String::new(),
            customer_id: request.customer_id,
            lines: request.lines,
            payment_method: request.payment_method,
            total: Some(sum.to_wire()),
            contact: request.contact,
            labels: request.labels,
        },
    })
}

fn total(violations: &mut Violations, told: &pb::Money, sum: Option<Money>) {
    let Some((told, sum)) = amount::amount(violations, "total", told).zip(sum) else { return };
    if told.currency != sum.currency {
        let rule = format_args!("must be {}, as on the lines", sum.currency.code());
        violations.add("total.currency_code", rule);
    } else if told != sum {
        violations.add("total", format_args!("must equal the sum of the lines, {sum}, or be left out"));
    }
}

fn email(violations: &mut Violations, contact: &Contact) {
    const PATH: &str = "contact.email";
    let before = violations.0.len();
    text::check(violations, PATH, &contact.email, Rule::name(MAX_EMAIL));
    if violations.0.len() == before && lettre::Address::from_str(&contact.email).is_err() {
        violations.add(PATH, "must be a mail address, such as ada@example.com");
    }
}

fn labels(violations: &mut Violations, labels: &BTreeMap<String, String>) {
    if labels.len() > MAX_LABELS {
        violations.add("labels", format_args!("must have at most {MAX_LABELS} labels, not {}", labels.len()));
        return;
    }
    for (key, value) in labels {
        let shown = || if may_be_private(key) { "***".to_owned() } else { key.chars().take(MAX_LABEL_KEY).collect() };
        if !is_label_key(key) {
            let rule =
                format_args!("its key must have 1 to {MAX_LABEL_KEY} characters of a-z, 0-9, '.', '_', '-', '/'");
            violations.add(format_args!("labels[{:?}]", shown()), rule);
            continue;
        }
        text::check(violations, format_args!("labels[{key:?}]"), value, Rule::free(MAX_LABEL_VALUE));
    }
}

/// A mail address or a card number where a key should be is not told again, not even to who sent it: errors are logged.
fn may_be_private(key: &str) -> bool {
    key.contains('@') || key.bytes().filter(u8::is_ascii_digit).count() >= *payment::CARD_DIGITS.start()
}

fn is_label_key(key: &str) -> bool {
    let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/');
    (1..=MAX_LABEL_KEY).contains(&key.len()) && key.bytes().all(is_allowed)
}
