//! What an operator can set. The doc comments are the manual.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spillway_shared::config::{Problem, Validate, join};

/// The orders role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrdersConfig {
    /// Seconds after which the wait for an outcome of an order ends, from when it was accepted: 1 s to 366 days.
    pub order_deadline_s: i64,
}

/// 24 hours.
const ORDER_DEADLINE_S: i64 = 24 * 3600;

/// 366 days.
const MAX_ORDER_DEADLINE_S: i64 = 366 * 24 * 3600;

impl Default for OrdersConfig {
    fn default() -> Self {
        OrdersConfig { order_deadline_s: ORDER_DEADLINE_S }
    }
}

impl Validate for OrdersConfig {
    fn problems(&self, at: &str, out: &mut Vec<Problem>) {
        if !(1..=MAX_ORDER_DEADLINE_S).contains(&self.order_deadline_s) {
            let message = format!("must be 1 to {MAX_ORDER_DEADLINE_S} seconds");
            out.push(Problem::new(join(at, "order_deadline_s"), message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_is_none_is_a_mistake_with_its_key() {
        let problems = |order_deadline_s| {
            let mut out = Vec::new();
            OrdersConfig { order_deadline_s }.problems("orders", &mut out);
            out.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
        };
        assert_eq!(problems(OrdersConfig::default().order_deadline_s), [""; 0]);
        assert_eq!(problems(0), ["orders.order_deadline_s"]);
        assert_eq!(problems(-1), ["orders.order_deadline_s"]);
        assert_eq!(problems(i64::MAX), ["orders.order_deadline_s"]);
    }
}
