//! Reads what was placed, so that the history shows what clients were told of it.

use std::sync::Arc;
use std::time::Duration;

use spillway_proto::OrderId;
use spillway_proto::pb::orders::GetOrderRequest;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use spillway_proto::time::Timestamp;
use tokio::sync::Semaphore;
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::record::{Ended, Recorder};
use super::track::Tracker;

/// Orders that are read at a time. Of the others the history tells only how they were placed: reading is not to change
/// what is measured.
const AT_ONCE: usize = 32;

/// An order that has not ended by then is read as it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads orders. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reads {
    recorder: Recorder,
    room: Arc<Semaphore>,
    deadline: Duration,
}

impl Reads {
    pub fn new(recorder: Recorder, deadline: Duration) -> Self {
        Reads { recorder, room: Arc::new(Semaphore::new(AT_ONCE)), deadline }
    }

    /// Reads an order that was just accepted: at once, and when it has ended.
    pub async fn of(
        self,
        mut client: OrderServiceClient<Channel>,
        order: OrderId,
        customer: String,
        tracker: Arc<Tracker>,
    ) {
        let Ok(_place) = self.room.try_acquire() else { return };
        self.read(&mut client, order, &customer).await;
        // Ended or not: it is read again.
        drop(tokio::time::timeout(PATIENCE, tracker.until_ended(order)).await);
        self.read(&mut client, order, &customer).await;
    }

    async fn read(&self, client: &mut OrderServiceClient<Channel>, order: OrderId, customer: &str) {
        let mut request = Request::new(GetOrderRequest { order_id: order.to_string() });
        request.set_timeout(self.deadline);
        let invoke = Timestamp::now();
        let answer = client.get_order(request).await;
        let outcome = answer.map_err(|status| status.code()).and_then(|answer| {
            let order = answer.into_inner().order;
            order.map(|order| order.version).ok_or(Code::Internal)
        });
        let (customer, complete) = (customer.to_owned(), Timestamp::now());
        self.recorder.ended(Ended::Got { order, customer, invoke, complete, outcome }).await;
    }
}
