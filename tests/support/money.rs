//! Amounts of euro.

use spillway_proto::pb::Money;
use spillway_proto::{Currency, Money as Amount};

pub fn eur(minor: i64) -> Money {
    Amount::new(minor, Currency::parse("EUR").expect("known")).to_wire()
}

pub fn minor(money: &Option<Money>) -> i64 {
    Amount::from_wire(money.as_ref().expect("an amount")).expect("valid").minor
}
