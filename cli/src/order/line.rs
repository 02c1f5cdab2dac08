//! Order lines, labels and prices as they are typed.

use std::str::FromStr;

use spillway_proto::pb;
use spillway_proto::pb::orders::OrderLine;

/// `SKU=QTY@PRICE`, such as `pen=3@1.50`. The SKU may hold `=` and `@` itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    sku: String,
    quantity: i64,
    price: Price,
}

impl Line {
    /// As the contract has it.
    pub fn to_wire(&self, currency: &str) -> OrderLine {
        let Price { units, nanos } = self.price;
        let unit_price = pb::Money { currency_code: currency.to_owned(), units, nanos };
        OrderLine { sku: self.sku.clone(), quantity: self.quantity, unit_price: Some(unit_price) }
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Line, String> {
        let parts = text.rsplit_once('@').and_then(|(rest, price)| Some((rest.rsplit_once('=')?, price)));
        let Some(((sku, quantity), price)) = parts else {
            return Err("wants SKU=QTY@PRICE, such as pen=3@1.50".to_owned());
        };
        let quantity = quantity.parse().map_err(|_| format!("{quantity:?} is no whole number of units"))?;
        Ok(Line { sku: sku.to_owned(), quantity, price: price.parse()? })
    }
}

/// A decimal number, exact; whether it fits the currency is the gateway's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Price {
    units: i64,
    nanos: i32,
}

impl FromStr for Price {
    type Err = String;

    fn from_str(text: &str) -> Result<Price, String> {
        let wrong = || format!("{text:?} is no price: write it like 12.50, with at most 9 decimals");
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(part) || part.len() > 9 {
            return Err(wrong());
        }
        let units: i64 = whole.parse().map_err(|_| wrong())?;
        let nanos: i32 = format!("{part:0<9}").parse().map_err(|_| wrong())?;
        Ok(Price { units: sign * units, nanos: i32::try_from(sign).map_err(|_| wrong())? * nanos })
    }
}

/// `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub key: String,
    pub value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Label, String> {
        let (key, value) = text.split_once('=').ok_or("wants KEY=VALUE")?;
        Ok(Label { key: key.to_owned(), value: value.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use spillway_proto::{Currency, Money};

    fn price(text: &str) -> Result<(i64, i32), String> {
        text.parse().map(|Price { units, nanos }| (units, nanos))
    }

    #[test]
    fn a_price_is_exact() {
        assert_eq!(price("12.50"), Ok((12, 500_000_000)));
        assert_eq!(price("12"), Ok((12, 0)));
        assert_eq!(price("0.000000001"), Ok((0, 1)));
        assert_eq!(price("-1.5"), Ok((-1, -500_000_000)));
        for wrong in ["", ".", "1.", ".5", "1,50", "1e3", "+1", "--1", "1.0000000001", "9223372036854775808", " 1"] {
            assert!(price(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_line_takes_any_sku() {
        let line: Line = "a=b@c=3@1.50".parse().expect("good");
        assert_eq!((line.sku.as_str(), line.quantity), ("a=b@c", 3));
        for wrong in ["pen", "pen=3", "pen@1.50", "pen=x@1", "pen=1.5@1", "=@"] {
            assert!(wrong.parse::<Line>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_price_is_read_as_money_is_shown(minor in 0i64.., code in prop::sample::select(vec!["EUR", "JPY", "KWD"])) {
            let money = Money::new(minor, Currency::parse(code).expect("known"));
            let shown = money.to_string();
            let line: Line = format!("pen=1@{}", shown.split(' ').next().expect("an amount")).parse().expect("good");
            prop_assert_eq!(line.to_wire(code).unit_price, Some(money.to_wire()));
        }
    }
}
