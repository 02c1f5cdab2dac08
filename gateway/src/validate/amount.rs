//! Amounts of money.

use std::fmt;

use spillway_proto::money::MoneyError;
use spillway_proto::{Currency, Money, pb};

use super::Violations;

/// No line and no order is worth more, in minor units: 10 billion EUR. It keeps every sum of sums far from the end of
/// 64 bits, and catches a client that counts wrongly.
pub const MAX_AMOUNT_MINOR: i64 = 1_000_000_000_000;

/// An amount that is neither negative nor absurd.
pub(super) fn amount(violations: &mut Violations, path: impl fmt::Display, wire: &pb::Money) -> Option<Money> {
    let well_formed = is_well_formed(violations, &path, wire);
    if !well_formed {
        return None;
    }
    let money = match Money::from_wire(wire) {
        Ok(money) => money,
        Err(error @ MoneyError::UnknownCurrency(_)) => {
            violations.add(format_args!("{path}.currency_code"), error);
            return None;
        }
        Err(error @ MoneyError::Overflow) => {
            violations.add(format_args!("{path}.units"), error);
            return None;
        }
        Err(error @ (MoneyError::TooFine(_) | MoneyError::MixedSigns | MoneyError::NanosOutOfRange)) => {
            violations.add(format_args!("{path}.nanos"), error);
            return None;
        }
    };
    if money.minor > MAX_AMOUNT_MINOR {
        let most = Money::new(MAX_AMOUNT_MINOR, money.currency);
        violations.add(format_args!("{path}.units"), format_args!("must be at most {most}"));
        return None;
    }
    Some(money)
}

/// What can be said of an amount without its currency; with an unknown one everything else is told as well.
fn is_well_formed(violations: &mut Violations, path: &impl fmt::Display, wire: &pb::Money) -> bool {
    let before = violations.0.len();
    if wire.currency_code.is_empty() {
        violations.add(format_args!("{path}.currency_code"), "must be set to an ISO 4217 code, such as EUR");
    } else if Currency::parse(&wire.currency_code).is_none() {
        let unknown = MoneyError::UnknownCurrency(wire.currency_code.chars().take(8).collect());
        violations.add(format_args!("{path}.currency_code"), unknown);
    }
    if !(-999_999_999..=999_999_999).contains(&wire.nanos) {
        violations.add(format_args!("{path}.nanos"), MoneyError::NanosOutOfRange);
    } else if (wire.units > 0 && wire.nanos < 0) || (wire.units < 0 && wire.nanos > 0) {
        violations.add(format_args!("{path}.nanos"), MoneyError::MixedSigns);
    } else if wire.units < 0 {
        violations.add(format_args!("{path}.units"), "must not be negative");
    } else if wire.nanos < 0 {
        violations.add(format_args!("{path}.nanos"), "must not be negative");
    }
    violations.0.len() == before
}
