//! Money: whole minor units of an ISO 4217 currency in code and SQL, `google.type.Money` on the wire.

use std::fmt;

use crate::pb;

/// An ISO 4217 currency that has a minor unit or is counted whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

impl Currency {
    /// By its alphabetic code, such as "EUR". `None` where ISO 4217 knows none, or counts no units of it.
    pub fn parse(code: &str) -> Option<Self> {
        let known = iso_currency::Currency::from_code(code)?;
        let exponent = u8::try_from(known.exponent()?).ok()?;
        Some(Currency { code: code.as_bytes().try_into().ok()?, exponent })
    }

    /// The alphabetic code.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).expect("parsed from text")
    }

    /// Minor units in one unit: 100 for EUR, 1 for JPY, 1,000 for KWD.
    fn minor_per_unit(self) -> i64 {
        10i64.pow(u32::from(self.exponent))
    }
}

/// Why an amount on the wire is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("currency_code {0:?} is not an ISO 4217 currency with units")]
    UnknownCurrency(String),
    #[error("units and nanos differ in sign")]
    MixedSigns,
    #[error("nanos must lie between -999999999 and 999999999")]
    NanosOutOfRange,
    #[error("is finer than the smallest unit of {0}")]
    TooFine(&'static str),
    #[error("is too large")]
    Overflow,
}

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// Minor units: cents of EUR, whole JPY.
    pub minor: i64,
    pub currency: Currency,
}

impl Money {
    pub fn new(minor: i64, currency: Currency) -> Self {
        Money { minor, currency }
    }

    /// Nothing, in this currency.
    pub fn zero(currency: Currency) -> Self {
        Money { minor: 0, currency }
    }

    /// From the wire: exact, or an error.
    pub fn from_wire(wire: &pb::Money) -> Result<Self, MoneyError> {
        let currency = Currency::parse(&wire.currency_code)
            .ok_or_else(|| MoneyError::UnknownCurrency(printable(&wire.currency_code)))?;
        if !(-999_999_999..=999_999_999).contains(&wire.nanos) {
            return Err(MoneyError::NanosOutOfRange);
        }
        if (wire.units > 0 && wire.nanos < 0) || (wire.units < 0 && wire.nanos > 0) {
            return Err(MoneyError::MixedSigns);
        }
        let per_unit = currency.minor_per_unit();
        let nanos_per_minor = 1_000_000_000 / per_unit;
        let nanos = i64::from(wire.nanos);
        if nanos % nanos_per_minor != 0 {
            return Err(MoneyError::TooFine(smallest(currency.exponent)));
        }
        let minor = wire
            .units
            .checked_mul(per_unit)
            .and_then(|units| units.checked_add(nanos / nanos_per_minor))
            .ok_or(MoneyError::Overflow)?;
        Ok(Money { minor, currency })
    }

    /// For the wire.
    pub fn to_wire(self) -> pb::Money {
        let per_unit = self.currency.minor_per_unit();
        let nanos = (self.minor % per_unit) * (1_000_000_000 / per_unit);
        pb::Money {
            currency_code: self.currency.code().to_owned(),
            units: self.minor / per_unit,
            nanos: i32::try_from(nanos).expect("under a billion"),
        }
    }

    /// `None` where the currencies differ or the sum is too large.
    pub fn checked_add(self, other: Money) -> Option<Money> {
        if self.currency != other.currency {
            return None;
        }
        Some(Money { minor: self.minor.checked_add(other.minor)?, ..self })
    }

    /// So many of it. `None` where that is too large.
    pub fn checked_mul(self, count: i64) -> Option<Money> {
        Some(Money { minor: self.minor.checked_mul(count)?, ..self })
    }
}

/// "12.50 EUR".
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_unit = self.currency.minor_per_unit().unsigned_abs();
        let (whole, part) = (self.minor.unsigned_abs() / per_unit, self.minor.unsigned_abs() % per_unit);
        let sign = if self.minor < 0 { "-" } else { "" };
        match usize::from(self.currency.exponent) {
            0 => write!(f, "{sign}{whole} {}", self.currency.code()),
            digits => write!(f, "{sign}{whole}.{part:0digits$} {}", self.currency.code()),
        }
    }
}

/// How the smallest unit reads in an error.
fn smallest(exponent: u8) -> &'static str {
    match exponent {
        0 => "its currency (1)",
        1 => "its currency (0.1)",
        2 => "its currency (0.01)",
        3 => "its currency (0.001)",
        _ => "its currency (0.0001)",
    }
}

/// What may be shown of a client's text: short, and nothing that steers a terminal.
fn printable(text: &str) -> String {
    text.chars().take(8).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(units: i64, nanos: i32, code: &str) -> pb::Money {
        pb::Money { currency_code: code.into(), units, nanos }
    }

    #[test]
    fn amounts_are_exact_in_every_kind_of_currency() {
        let minor = |units, nanos, code| Money::from_wire(&wire(units, nanos, code)).map(|m| m.minor);
        assert_eq!(minor(12, 500_000_000, "EUR"), Ok(1250));
        assert_eq!(minor(12, 0, "JPY"), Ok(12));
        assert_eq!(minor(1, 234_000_000, "KWD"), Ok(1234));
        assert_eq!(minor(-1, -500_000_000, "EUR"), Ok(-150));
        assert!(matches!(minor(0, 1, "EUR"), Err(MoneyError::TooFine(_))));
        assert!(matches!(minor(0, 500_000_000, "JPY"), Err(MoneyError::TooFine(_))));
        assert_eq!(minor(1, -1, "EUR"), Err(MoneyError::MixedSigns));
        assert_eq!(minor(0, 1_000_000_000, "EUR"), Err(MoneyError::NanosOutOfRange));
        assert_eq!(minor(i64::MAX, 0, "EUR"), Err(MoneyError::Overflow));
        assert!(matches!(minor(1, 0, "XYZ"), Err(MoneyError::UnknownCurrency(_))));
        assert!(matches!(minor(1, 0, "eur"), Err(MoneyError::UnknownCurrency(_))));
        assert!(matches!(minor(1, 0, ""), Err(MoneyError::UnknownCurrency(_))));
        assert!(matches!(minor(1, 0, "XXX"), Err(MoneyError::UnknownCurrency(_))));
    }

    #[test]
    fn it_reads_as_people_write_it() {
        let show = |minor, code| Money::new(minor, Currency::parse(code).expect("known")).to_string();
        assert_eq!(show(1250, "EUR"), "12.50 EUR");
        assert_eq!(show(-5, "EUR"), "-0.05 EUR");
        assert_eq!(show(12, "JPY"), "12 JPY");
        assert_eq!(show(1001, "KWD"), "1.001 KWD");
    }

    proptest! {
        #[test]
        fn money_survives_the_wire(minor: i64, code in prop::sample::select(vec!["EUR", "JPY", "KWD", "USD"])) {
            let money = Money::new(minor, Currency::parse(code).expect("known"));
            prop_assert_eq!(Money::from_wire(&money.to_wire()), Ok(money));
        }
    }
}
