//! The orders that a load run places: each its own request, over a fixed set of SKUs.

use spillway_proto::pb;
use spillway_proto::pb::orders::{OrderLine, PlaceOrderRequest};
use uuid::Uuid;

use super::plan::Plan;

/// Makes requests.
#[derive(Clone, Debug)]
pub struct Orders {
    customer: String,
    payment_method: String,
    skus: u32,
    lines: u32,
}

/// The name of a SKU of load runs.
pub fn sku(index: u32) -> String {
    format!("load-{index}")
}

/// The customer of a run's orders.
pub fn customer(run: Uuid) -> String {
    format!("load-{}", run.simple())
}

impl Orders {
    pub fn new(plan: &Plan) -> Self {
        Orders {
            customer: customer(plan.run),
            payment_method: plan.payment_method.clone(),
            skus: plan.skus.max(1),
            lines: plan.lines.clamp(1, plan.skus.max(1)),
        }
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
            customer_id: self.customer.clone(),
            lines: lines.collect(),
            payment_method: self.payment_method.clone(),
            ..PlaceOrderRequest::default()
        }
    }
}
