//! Pages: ListOrders, ListOrderEvents, and how long a page is.

use spillway_proto::OrderId;
use spillway_proto::pb::internal::OrdersPageRequest;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{ListOrderEventsRequest, ListOrdersRequest, WatchOrderRequest};
use spillway_proto::time;
use spillway_shared::grpc::CallError;

use super::text::{self, Rule};
use super::{MAX_CUSTOMER_ID, Violations, id};

/// How many are wanted: `default` where it is 0, `max` where it is more (AIP-158).
pub(crate) fn page_size(violations: &mut Violations, asked: i32, default: i32, max: i32) -> i32 {
    match asked {
        0 => default,
        1.. => asked.min(max),
        _ => {
            violations.add("page_size", "must not be negative");
            default
        }
    }
}

/// Checks a request for a page of orders: what the orders ledgers are asked for, from the newest order on.
///
/// # Errors
/// INVALID_ARGUMENT with every violation.
pub fn list_orders(request: ListOrdersRequest) -> Result<OrdersPageRequest, CallError> {
    let mut violations = Violations::default();
    let limit = page_size(&mut violations, request.page_size, 50, 500);
    let customer = Rule { required: false, ..Rule::name(MAX_CUSTOMER_ID) };
    text::check(&mut violations, "customer_id", &request.customer_id, customer);
    if State::try_from(request.state).is_err() {
        violations.add("state", format_args!("{} is no state of an order", request.state));
    }
    let created_from_us = bound(&mut violations, "created_from", request.created_from.as_ref());
    let created_before_us = bound(&mut violations, "created_before", request.created_before.as_ref());
    violations.finish(Some(()))?;
    Ok(OrdersPageRequest {
        customer_id: request.customer_id,
        state: request.state,
        created_from_us: created_from_us.unwrap_or(0),
        // 0 would mean no bound, and before 1970 there is no order.
        created_before_us: created_before_us.map_or(0, |bound| bound.max(1)),
        before_order_id: String::new(),
        limit,
    })
}

/// The first whole microsecond that is not before the bound: orders are accepted at whole ones, so "from" and "before"
/// mean the same with it.
fn bound(violations: &mut Violations, path: &str, at: Option<&prost_types::Timestamp>) -> Option<i64> {
    let at = at?;
    let Some(exact) = time::from_wire(at) else {
        violations.add(path, "must be a time of the years 1 to 9999, with 0 to 999999999 nanos");
        return None;
    };
    let nanos = exact.as_nanosecond();
    let micros = nanos.div_euclid(1000) + i128::from(nanos.rem_euclid(1000) != 0);
    i64::try_from(micros.max(0)).ok()
}

/// Checks a request for a page of an order's events: the order, and how many are wanted.
///
/// # Errors
/// INVALID_ARGUMENT with every violation.
pub fn events_page(request: &ListOrderEventsRequest) -> Result<(OrderId, i32), CallError> {
    let mut violations = Violations::default();
    let order_id = id::order(&mut violations, &request.order_id);
    let size = page_size(&mut violations, request.page_size, 100, 1000);
    violations.finish(order_id.map(|order_id| (order_id, size)))
}

/// Checks a request to watch an order.
///
/// # Errors
/// INVALID_ARGUMENT with every violation.
pub fn watch(request: &WatchOrderRequest) -> Result<OrderId, CallError> {
    let mut violations = Violations::default();
    let order_id = id::order(&mut violations, &request.order_id);
    if request.cursor < 0 {
        violations.add("cursor", "must not be negative: it is 0, or the cursor of the last message seen");
    }
    violations.finish(order_id)
}
