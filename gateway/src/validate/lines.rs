//! The lines of an order, and what they come to.

use spillway_proto::pb::orders::OrderLine;
use spillway_proto::{Currency, Money};

use super::amount::{MAX_AMOUNT_MINOR, amount};
use super::text::{self, Rule};
use super::{Violations, stock};

const MAX_LINES: usize = 200;
const MAX_QUANTITY: i64 = 1_000_000;

/// The sum of the lines. `None` where one of them is not right.
pub(super) fn lines(violations: &mut Violations, lines: &[OrderLine]) -> Option<Money> {
    if lines.is_empty() {
        violations.add("lines", "must have at least 1 line");
        return None;
    }
    // Before anything is done with them.
    if lines.len() > MAX_LINES {
        violations.add("lines", format_args!("must have at most {MAX_LINES} lines, not {}", lines.len()));
        return None;
    }
    let mut currency = None;
    let mut sum = Some(0_i64);
    for (index, line) in lines.iter().enumerate() {
        sku(violations, lines, index);
        let price = line_amount(violations, index, line, &mut currency);
        sum = sum.zip(price).and_then(|(sum, price)| sum.checked_add(price.minor));
    }
    let (sum, currency) = (sum?, currency?);
    if sum > MAX_AMOUNT_MINOR {
        let most = Money::new(MAX_AMOUNT_MINOR, currency);
        violations.add("lines", format_args!("must not come to more than {most}"));
        return None;
    }
    Some(Money::new(sum, currency))
}

fn sku(violations: &mut Violations, lines: &[OrderLine], index: usize) {
    let sku = lines[index].sku.as_str();
    text::check(violations, format_args!("lines[{index}].sku"), sku, Rule::name(stock::MAX_SKU));
    let earlier = lines[..index].iter().position(|other| other.sku == sku);
    if let Some(earlier) = earlier.filter(|_| !sku.is_empty()) {
        let rule = format_args!("must not be on two lines: add its quantity to lines[{earlier}]");
        violations.add(format_args!("lines[{index}].sku"), rule);
    }
}

/// Price times quantity. The first currency that can be read is the order's.
fn line_amount(
    violations: &mut Violations,
    index: usize,
    line: &OrderLine,
    currency: &mut Option<Currency>,
) -> Option<Money> {
    let is_countable = (1..=MAX_QUANTITY).contains(&line.quantity);
    if !is_countable {
        let rule = format_args!("must be 1 to {MAX_QUANTITY}, not {}", line.quantity);
        violations.add(format_args!("lines[{index}].quantity"), rule);
    }
    let Some(unit_price) = &line.unit_price else {
        violations.add(format_args!("lines[{index}].unit_price"), "must be set");
        return None;
    };
    let price = amount(violations, format_args!("lines[{index}].unit_price"), unit_price)?;
    let currency = *currency.get_or_insert(price.currency);
    if price.currency != currency {
        let rule = format_args!("must be {}, as on the lines before", currency.code());
        violations.add(format_args!("lines[{index}].unit_price.currency_code"), rule);
        return None;
    }
    if !is_countable {
        return None;
    }
    let total = price.checked_mul(line.quantity).filter(|total| total.minor <= MAX_AMOUNT_MINOR);
    if total.is_none() {
        let most = Money::new(MAX_AMOUNT_MINOR, currency);
        violations.add(format_args!("lines[{index}]"), format_args!("must not come to more than {most}"));
    }
    total
}
