//! Which watched orders just changed. A hint may get lost: a watch asks again anyway, and hints only make it fast.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use prost::Message;
use spillway_proto::pb::internal::ChangedOrders;
use spillway_proto::{OrderId, Partition, ledgers};
use spillway_shared::bus::Bus;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Bytes of an order's id in a hint.
const ID_BYTES: usize = 16;

type Watched = HashMap<OrderId, Vec<Arc<Notify>>>;

/// Wakes the watches of the orders that change. One per gateway, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    watched: Arc<Mutex<Watched>>,
}

impl Hints {
    /// Wakes whoever watches, until `stop`.
    pub async fn hear(self, bus: Bus, partition: Partition, stop: CancellationToken) {
        let mut hints = match bus.client().subscribe(ledgers::changed_subject(partition)).await {
            Ok(hints) => hints,
            Err(error) => {
                tracing::warn!(%partition, %error, "no hints of changed orders, watches are slower");
                return;
            }
        };
        loop {
            let hint = tokio::select! {
                Some(hint) = hints.next() => hint,
                () = stop.cancelled() => return,
                else => return,
            };
            self.wake(hint.payload);
        }
    }

    fn wake(&self, hint: bytes::Bytes) {
        let watched = self.lock();
        if watched.is_empty() {
            return;
        }
        let Ok(changed) = ChangedOrders::decode(hint) else {
            tracing::warn!("a hint of changed orders that cannot be read");
            return;
        };
        let ids = changed.order_ids.chunks_exact(ID_BYTES).filter_map(OrderId::from_bytes);
        ids.filter_map(|order_id| watched.get(&order_id)).flatten().for_each(|watch| watch.notify_one());
    }

    /// Wakes for this order from now on, until it is dropped.
    pub fn of(&self, order_id: OrderId) -> Wake {
        let notify = Arc::new(Notify::new());
        self.lock().entry(order_id).or_default().push(notify.clone());
        Wake { hints: self.clone(), order_id, notify }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One watch's place among the watched.
#[derive(Debug)]
pub struct Wake {
    hints: Hints,
    order_id: OrderId,
    notify: Arc<Notify>,
}

impl Wake {
    /// Waits for a hint. One that came while nobody waited is not lost.
    pub async fn hinted(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        let mut watched = self.hints.lock();
        if let Some(watches) = watched.get_mut(&self.order_id) {
            watches.retain(|other| !Arc::ptr_eq(other, &self.notify));
            if watches.is_empty() {
                watched.remove(&self.order_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use spillway_proto::time::Timestamp;

    use super::*;

    fn id(random: u8) -> OrderId {
        OrderId::new(Timestamp::UNIX_EPOCH, Partition(0), [random; 10])
    }

    fn hint(ids: &[OrderId]) -> bytes::Bytes {
        let order_ids: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
        ChangedOrders { order_ids: order_ids.into() }.encode_to_vec().into()
    }

    #[test]
    fn a_hint_wakes_every_watch_of_its_orders_and_no_other_also_before_it_waits() {
        let hints = Hints::default();
        let (first, second, other) = (hints.of(id(1)), hints.of(id(1)), hints.of(id(2)));
        hints.wake(hint(&[id(3), id(1)]));
        assert!(first.hinted().now_or_never().is_some() && second.hinted().now_or_never().is_some());
        assert!(other.hinted().now_or_never().is_none());
        assert!(first.hinted().now_or_never().is_none(), "a hint wakes once");
    }

    #[test]
    fn nothing_is_kept_of_a_watch_that_has_ended_and_garbage_wakes_nobody() {
        let hints = Hints::default();
        let (first, second) = (hints.of(id(1)), hints.of(id(1)));
        hints.wake(bytes::Bytes::from_static(b"\xff\xff"));
        hints.wake(hint(&[]));
        drop(first);
        assert_eq!(hints.lock()[&id(1)].len(), 1);
        assert!(second.hinted().now_or_never().is_none());
        drop(second);
        assert!(hints.lock().is_empty());
    }
}
