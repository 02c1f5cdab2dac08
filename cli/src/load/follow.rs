//! Learns how orders end: from the event stream, or by watching each.

use std::sync::Arc;

use async_nats::Message;
use futures::StreamExt;
use spillway_proto::pb::orders::WatchOrderRequest;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use spillway_proto::{EventKind, Ledger, OrderId, Partition, batch, ledgers};
use spillway_shared::bus::Servers;
use spillway_shared::config::without_credentials;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use super::tally::End;
use super::track::Tracker;
use crate::exit::Failure;

/// Hears every end that orders tells, in all partitions.
pub async fn events(nats_url: &str, tracker: Arc<Tracker>) -> Result<JoinHandle<()>, Failure> {
    let unreachable = |why: String| {
        Failure::missing(format!(
            "cannot follow orders on NATS at {}: {why}; name it with --nats-url, or use --follow watch",
            without_credentials(nats_url)
        ))
    };
    let options = async_nats::ConnectOptions::new().name("spillway-load").subscription_capacity(1 << 20);
    let servers = Servers::of(nats_url).map_err(unreachable)?;
    let client = servers.sign_in(options).connect(servers.addresses).await.map_err(|e| unreachable(e.to_string()))?;
    let every = ledgers::subject(Ledger::Orders, Partition(0)).replace(".0", ".*");
    let mut heard = client.subscribe(every).await.map_err(|e| unreachable(e.to_string()))?;
    client.flush().await.map_err(|e| unreachable(e.to_string()))?;
    Ok(tokio::spawn(async move {
        while let Some(message) = heard.next().await {
            tracker.ended(ends(message));
        }
    }))
}

/// The ends that a batch of orders tells.
fn ends(message: Message) -> Vec<(OrderId, End)> {
    let Ok(events) = batch::read(message.payload) else { return Vec::new() };
    let read = events.into_iter().flatten().filter_map(|event| {
        let end = match event.kind()? {
            EventKind::OrderConfirmed => End::Confirmed,
            EventKind::OrderRejected => End::Rejected,
            EventKind::OrderCancelled => End::Cancelled,
            EventKind::OrderPlaced
            | EventKind::StockHeld
            | EventKind::StockRefused
            | EventKind::StockCommitted
            | EventKind::StockReleased
            | EventKind::StockReturned
            | EventKind::StockAdjusted
            | EventKind::PaymentCaptured
            | EventKind::PaymentDeclined
            | EventKind::PaymentDeferred
            | EventKind::PaymentRefunded
            | EventKind::RefundFailed
            | EventKind::RefundRequested
            | EventKind::NotificationSent
            | EventKind::NotificationFailed
            | EventKind::PaymentSettled
            | EventKind::DeadLetterRedriven
            | EventKind::DeadLetterDiscarded
            | EventKind::FlowPaused
            | EventKind::FlowResumed
            | EventKind::FlowSettingChanged => return None,
        };
        Some((event.subject.order()?, end))
    });
    read.collect()
}

/// Watches one order until its end; resumes where a stream broke off.
pub async fn watch(mut client: OrderServiceClient<Channel>, order: OrderId, tracker: Arc<Tracker>) {
    let mut cursor = 0;
    loop {
        let request = WatchOrderRequest { order_id: order.to_string(), cursor };
        if let Ok(stream) = client.watch_order(request).await {
            let mut stream = stream.into_inner();
            while let Ok(Some(step)) = stream.message().await {
                cursor = step.cursor;
                let end = step.order.and_then(|order| end_of(order.state()));
                if let Some(end) = end {
                    tracker.ended([(order, end)]);
                    return;
                }
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

fn end_of(state: State) -> Option<End> {
    match state {
        State::Confirmed | State::Refunded => Some(End::Confirmed),
        State::Rejected => Some(End::Rejected),
        State::Cancelled => Some(End::Cancelled),
        State::Pending | State::Unspecified => None,
    }
}
