//! The provider cannot be reached: what waits for it says so, once for each outage.

use spillway_proto::pb::events::PaymentDeferred;
use spillway_proto::time::{self, Timestamp};
use spillway_proto::{Event, OrderId};

use super::payment::{Payment, State};
use super::{Decision, Say};

/// An outage goes on, and this order waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Deferred {
    pub order: OrderId,
    pub traceparent: String,
    /// When the outage began. It is the outage's name as well.
    pub since: Timestamp,
}

impl Deferred {
    /// The outage, as events name it.
    pub fn outage_id(&self) -> String {
        format!("provider/{}", self.since)
    }
}

/// Waiting changes nothing else: no try is spent, the work stays due as it was.
pub fn deferred(payment: &Payment, event: &Deferred) -> Decision {
    let waits = match payment.state {
        State::Charging | State::Unknown | State::Pending => payment.ended.is_none(),
        State::Captured
        | State::Declined
        | State::Parked
        | State::Cancelled
        | State::Compensating
        | State::Refunded => false,
    };
    if !waits || payment.deferred >= Some(event.since) {
        return Decision::nothing();
    }
    let outage_id = event.outage_id();
    let said = PaymentDeferred { outage_id: outage_id.clone(), since: Some(time::to_wire(event.since)) };
    let say = Say { event: Event::from(said), occurrence: outage_id, traceparent: event.traceparent.clone() };
    Decision::to(Payment { deferred: Some(event.since), ..payment.clone() }).saying(say)
}
