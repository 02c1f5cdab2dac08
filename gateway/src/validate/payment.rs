//! The provider's token for a means of payment.

use super::Violations;

const PATH: &str = "payment_method";
const MAX_LENGTH: usize = 128;

/// Digits of a card number, by ISO/IEC 7812.
pub(super) const CARD_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;

/// 1 to 128 visible ASCII characters, and no card number. The value itself is never told.
pub(super) fn check(violations: &mut Violations, token: &str) {
    if token.is_empty() {
        violations.add(PATH, "must be set to the provider's token");
        return;
    }
    if token.len() > MAX_LENGTH {
        violations.add(PATH, format_args!("must have at most {MAX_LENGTH} characters"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        violations.add(PATH, "must consist of visible ASCII characters");
    }
    if is_card_number(token) {
        violations
            .add(PATH, "must be the provider's token: this looks like a card number, which must not be sent here");
    }
}

/// Nothing but digits and separators, as many digits as a card has, and the check digit is right (Luhn's formula).
fn is_card_number(token: &str) -> bool {
    let is_separator = |byte: &u8| matches!(byte, b'-' | b' ' | b'.');
    let digits = || token.bytes().filter(|byte| !is_separator(byte));
    if !digits().all(|byte| byte.is_ascii_digit()) || !CARD_DIGITS.contains(&digits().count()) {
        return false;
    }
    let reversed = token.bytes().rev().filter(u8::is_ascii_digit).map(|digit| u32::from(digit - b'0'));
    let sum: u32 = reversed
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (1, doubled @ 10..) => doubled - 9,
            (1, doubled) => doubled,
            (_, _) => digit,
        })
        .sum();
    sum.is_multiple_of(10)
}
