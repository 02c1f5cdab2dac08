//! The orders that a load run places: each its own request, over a fixed set of SKUs.

use spillway_proto::pb;
use spillway_proto::pb::orders::{OrderLine, PlaceOrderRequest};
use uuid::Uuid;

use super::plan::Plan;

/// Makes requests.
#[derive(Clone, Debug)]
pub struct Orders {
    /// The first customer.
    run: String,
    customers: u64,
    hot_customer: u64,
    payment_method: String,
    skus: u32,
    lines: u32,
}

/// The name of a SKU of load runs.
pub fn sku(index: u32) -> String {
    format!("load-{index}")
}

/// The first customer of a run; the names of all others begin with it.
pub fn customer(run: Uuid) -> String {
    format!("load-{}", run.simple())
}

impl Orders {
    pub fn new(plan: &Plan) -> Self {
        Orders {
            run: customer(plan.run),
            customers: u64::from(plan.customers.max(1)),
            hot_customer: u64::from(plan.hot_customer.max(1)),
            payment_method: plan.payment_method.clone(),
            skus: plan.skus.max(1),
            lines: plan.lines.clamp(1, plan.skus.max(1)),
        }
    }

    /// Who places the n-th order: 0 is the customer who places more than the others.
    pub fn customer(&self, n: u64) -> u64 {
        (n % (self.hot_customer + self.customers - 1)).saturating_sub(self.hot_customer - 1)
    }

    fn name(&self, customer: u64) -> String {
        if customer == 0 { self.run.clone() } else { format!("{}-{customer}", self.run) }
    }

    /// The n-th request.
    pub fn request(&self, n: u64) -> PlaceOrderRequest {
        let first = u32::try_from(n % u64::from(self.skus)).unwrap_or(0);
        let lines = (0..self.lines).map(|line| OrderLine {
            sku: sku((first + line) % self.skus),
            quantity: 1,
            unit_price: Some(pb::Money { currency_code: "EUR".to_owned(), units: 12, nanos: 500_000_000 }),
        });
        PlaceOrderRequest {
            request_id: Uuid::new_v4().to_string(),
            customer_id: self.name(self.customer(n)),
            lines: lines.collect(),
            payment_method: self.payment_method.clone(),
            ..PlaceOrderRequest::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_customer_places_so_many_times_as_much_as_each_other() {
        let orders = Orders {
            run: "load-1".to_owned(),
            customers: 5,
            hot_customer: 10,
            payment_method: "pm_ok".to_owned(),
            skus: 1,
            lines: 1,
        };
        let mut placed = [0; 5];
        for n in 0..1400 {
            placed[usize::try_from(orders.customer(n)).expect("small")] += 1;
        }
        assert_eq!(placed, [1000, 100, 100, 100, 100]);
    }
}
