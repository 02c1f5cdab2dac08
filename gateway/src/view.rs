//! An order that only the gateway knows, as clients see it: PENDING, version 0.

use spillway_proto::pb::events::OrderPlaced;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::waiting::Kind;
use spillway_proto::pb::orders::{Order, Waiting};
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{OrderId, pb};

/// An accepted order.
pub fn accepted(order_id: OrderId, placed: OrderPlaced, at: Timestamp) -> Order {
    let accepted = Some(time::to_wire(at));
    let waiting = Waiting {
        kind: Kind::Stock.into(),
        since: accepted,
        expected: None,
        detail: "inventory has neither held nor refused the lines yet".to_owned(),
    };
    Order {
        order_id: order_id.to_string(),
        waiting: Some(waiting),
        create_time: accepted,
        update_time: accepted,
        ..checked(placed)
    }
}

/// An order as it would be: without an id, for it was not accepted.
pub fn checked(placed: OrderPlaced) -> Order {
    let refunded = placed.total.clone().map(|total| pb::Money { units: 0, nanos: 0, ..total });
    Order {
        request_id: placed.request_id,
        customer_id: placed.customer_id,
        lines: placed.lines,
        total: placed.total,
        state: State::Pending.into(),
        refunded,
        labels: placed.labels,
        ..Order::default()
    }
}
