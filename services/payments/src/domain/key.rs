//! The provider's idempotency key: f(order, purpose, attempt). It is committed before the call, and the charge's id
//! follows from it.

use std::fmt::Write as _;

use spillway_proto::{OrderId, ids};
use uuid::Uuid;

/// What the provider is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The order's charge.
    Charge,
    /// A charge goes back whose order was over: only payments starts it.
    Compensate,
}

impl Purpose {
    /// The kind of due work.
    pub fn due_kind(self) -> &'static str {
        match self {
            Purpose::Charge => "charge",
            Purpose::Compensate => "refund",
        }
    }

    /// By the kind of due work.
    pub fn of_due_kind(kind: &str) -> Option<Self> {
        [Purpose::Charge, Purpose::Compensate].into_iter().find(|purpose| purpose.due_kind() == kind)
    }
}

/// A key: of a refund it is our reference at the provider as well, a charge goes by its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `<order id>:charge:<attempt>` or `<order id>:compensate/<charge id>:1`: letters, digits, `-`, `:` and `/`.
    pub text: String,
    /// The id of the charge or refund, made of the text.
    pub id: Uuid,
}

impl Key {
    /// Of an order's charge; `attempt` counts from 1.
    pub fn charge(order: OrderId, attempt: i32) -> Self {
        let mut text = String::with_capacity(48);
        // Writing to a String cannot fail.
        write!(text, "{order}:charge:{attempt}").expect("a String takes any text");
        Key::new(text)
    }

    /// Of the refund that takes back this attempt's charge. It is tried under one key alone.
    pub fn compensate(order: OrderId, attempt: i32) -> Self {
        Key::new(format!("{order}:{}:1", refund_id(Key::charge(order, attempt).id)))
    }

    fn new(text: String) -> Self {
        let id = ids::named("charge", &text);
        Key { text, id }
    }
}

/// The refund of a compensation, as events name it.
pub fn refund_id(charge_id: Uuid) -> String {
    format!("compensate/{charge_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_an_order_is_another_one() {
        let order: OrderId = "0190a000-0000-7000-8000-000000000000".parse().expect("a UUID");
        let key = Key::charge(order, 1);
        assert_eq!(key.text, "0190a000-0000-7000-8000-000000000000:charge:1");
        assert_eq!(key, Key::charge(order, 1));
        let others = [Key::charge(order, 2), Key::compensate(order, 1), Key::compensate(order, 2)];
        assert!(others.iter().all(|other| other.id != key.id && other.text != key.text));
        assert_eq!(others[1].text, format!("{order}:compensate/{}:1", key.id));
    }
}
