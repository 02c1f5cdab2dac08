//! How the orders of a drill end.

use std::time::Duration;

use serde::Serialize;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use spillway_proto::pb::orders::{ExplainOrderRequest, ListOrdersRequest};
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::exit::Failure;

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Open orders that are explained at the end.
const EXPLAINED: usize = 5;

const PAGE: i32 = 500;

/// How the orders of a drill ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ends {
    pub confirmed: u64,
    pub rejected: u64,
    /// Cancelled or refunded.
    pub other: u64,
    /// Not at their end, among them those that are accepted and not in the list.
    pub open: u64,
    /// Why some of them are open.
    pub open_because: Vec<String>,
}

impl Ends {
    pub fn finished(&self) -> u64 {
        self.confirmed + self.rejected + self.other
    }
}

/// Waits until every accepted order of this customer has ended, for so long at most.
///
/// # Errors
/// Exit 3 where the gateway cannot be asked at the end of the wait.
pub async fn until_done(gateway: &str, customer: &str, accepted: u64, within: Duration) -> Result<Ends, Failure> {
    let endpoint = Endpoint::from_shared(gateway.to_owned());
    let endpoint = endpoint.map_err(|error| Failure::usage(format!("{gateway}: {error}")))?;
    let mut client = OrderServiceClient::new(endpoint.timeout(Duration::from_secs(10)).connect_lazy());
    let give_up = Instant::now() + within;
    loop {
        let listed = list(&mut client, customer, accepted).await;
        let is_over = Instant::now() >= give_up;
        match listed {
            Ok((ends, _)) if ends.open == 0 => return Ok(ends),
            Ok((mut ends, open)) if is_over => {
                for order_id in open.into_iter().take(EXPLAINED) {
                    ends.open_because.push(explain(&mut client, order_id).await);
                }
                return Ok(ends);
            }
            Err(status) if is_over => return Err(Failure::from(&status)),
            Ok(_) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// How they stand, and which of them are open.
async fn list(
    client: &mut OrderServiceClient<Channel>,
    customer: &str,
    accepted: u64,
) -> Result<(Ends, Vec<String>), Status> {
    let (mut ends, mut open) = (Ends::default(), Vec::new());
    let mut page_token = String::new();
    loop {
        let request = ListOrdersRequest {
            page_size: PAGE,
            page_token,
            customer_id: customer.to_owned(),
            ..ListOrdersRequest::default()
        };
        let page = client.list_orders(request).await?.into_inner();
        for order in page.orders {
            match order.state() {
                State::Confirmed => ends.confirmed += 1,
                State::Rejected => ends.rejected += 1,
                State::Cancelled | State::Refunded => ends.other += 1,
                State::Pending | State::Unspecified => open.push(order.order_id),
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let listed = ends.finished() + open.len() as u64;
    ends.open = open.len() as u64 + accepted.saturating_sub(listed);
    Ok((ends, open))
}

async fn explain(client: &mut OrderServiceClient<Channel>, order_id: String) -> String {
    match client.explain_order(ExplainOrderRequest { order_id: order_id.clone() }).await {
        Ok(told) => format!("{order_id}: {}", told.into_inner().summary),
        Err(status) => format!("{order_id}: {}", status.message()),
    }
}
