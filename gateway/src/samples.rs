//! Requests that tests begin from.

use spillway_proto::pb;
use spillway_proto::pb::orders::{Contact, OrderLine, PlaceOrderRequest};

use crate::validate::{self, Placement};

pub const REQUEST_ID: &str = "7d444840-9dc0-4f3a-9c55-1f3c4d2f7e10";

pub fn money(units: i64, nanos: i32, currency: &str) -> pb::Money {
    pb::Money { currency_code: currency.to_owned(), units, nanos }
}

pub fn line(sku: &str, quantity: i64, unit_price: pb::Money) -> OrderLine {
    OrderLine { sku: sku.to_owned(), quantity, unit_price: Some(unit_price) }
}

/// A request with every field set, and nothing wrong with it.
pub fn request() -> PlaceOrderRequest {
    PlaceOrderRequest {
        request_id: REQUEST_ID.to_owned(),
        customer_id: "ada".to_owned(),
        lines: vec![line("tea", 2, money(12, 500_000_000, "EUR")), line("cup", 1, money(7, 0, "EUR"))],
        payment_method: "pm_ok".to_owned(),
        total: Some(money(32, 0, "EUR")),
        contact: Some(Contact { email: "ada@example.com".to_owned() }),
        labels: [("channel", "web"), ("campaign", "autumn")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        validate_only: false,
    }
}

pub fn placement() -> Placement {
    validate::place_order(request()).expect("nothing is wrong with it")
}
