//! What a request must be before anything is done with it. Pure functions: a message in, the checked request out, or
//! every violation at once, each with the path of its field.
//!
//! The rules themselves are the comments of the contract (`proto/api`).

mod amount;
pub mod flow;
mod id;
mod lines;
mod order;
mod page;
mod payment;
mod settle;
mod stock;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;

use spillway_shared::grpc::{CallError, FieldViolation};

pub use amount::MAX_AMOUNT_MINOR;
pub use id::{order_id, uuid};
pub use order::{Placement, place_order};
pub(crate) use page::page_size;
pub use page::{events_page, list_orders, watch};
pub use settle::{list_payments, settle_payment};
pub use stock::{adjust_stock, get_stock, list_stock};

/// Characters of a customer's name at most.
const MAX_CUSTOMER_ID: usize = 128;

/// Everything that is wrong with a request so far.
#[derive(Debug, Default)]
pub struct Violations(Vec<FieldViolation>);

impl Violations {
    /// The field at this path breaks a rule.
    pub fn add(&mut self, path: impl fmt::Display, rule: impl fmt::Display) {
        self.0.push(FieldViolation::new(path.to_string(), rule.to_string()));
    }

    /// INVALID_ARGUMENT with all of them, if there is one; else what was read, which is there then.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, CallError> {
        if !self.0.is_empty() {
            return Err(CallError::InvalidArgument { violations: self.0 });
        }
        read.ok_or_else(|| CallError::internal("a field was refused without a violation"))
    }
}
