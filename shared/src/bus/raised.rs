//! Orders whose traces are worth more than the sampler thought, told to whoever keeps their record: a lossy hint.

use async_nats::Subscriber;
use futures::StreamExt;
use spillway_proto::{OrderId, Partition, ledgers};
use tokio_util::sync::CancellationToken;

use super::connection::Bus;
use crate::telemetry::Tracer;

/// Tells which orders are raised here, until `stop`.
pub(crate) async fn tell(tracer: Tracer, bus: Bus, stop: CancellationToken) {
    loop {
        let order = tokio::select! {
            order = tracer.next_raised() => order,
            () = stop.cancelled() => return,
        };
        if !bus.is_connected() {
            continue;
        }
        let (subject, hint) = (ledgers::raised_subject(order.partition()), order.as_bytes().to_vec());
        if let Err(error) = bus.client().publish(subject, hint.into()).await {
            tracing::debug!(%order, %error, "a raised trace was not told of");
        }
    }
}

/// What is told of a partition.
pub struct Raised {
    bus: Bus,
    partition: Partition,
    heard: Option<Subscriber>,
}

impl Bus {
    /// The orders of a partition that ledgers raise.
    pub fn raised(&self, partition: Partition) -> Raised {
        Raised { bus: self.clone(), partition, heard: None }
    }
}

impl Raised {
    /// The next one.
    pub async fn next(&mut self) -> OrderId {
        loop {
            if self.heard.is_none() {
                self.heard = self.subscribe().await;
            }
            let Some(heard) = &mut self.heard else { continue };
            match heard.next().await {
                Some(message) => {
                    if let Some(order) = OrderId::from_bytes(&message.payload) {
                        return order;
                    }
                }
                None => self.heard = None,
            }
        }
    }

    async fn subscribe(&self) -> Option<Subscriber> {
        let mut connected = self.bus.connected();
        if connected.wait_for(|connected| *connected).await.is_err() {
            std::future::pending::<()>().await;
        }
        match self.bus.client().subscribe(ledgers::raised_subject(self.partition)).await {
            Ok(heard) => Some(heard),
            Err(error) => {
                tracing::debug!(%error, "raised traces are not heard yet");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                None
            }
        }
    }
}
