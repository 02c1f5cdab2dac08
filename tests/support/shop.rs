//! Shops that keep ordering while something fails, with the retry that every client has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spillway_proto::pb::orders::PlaceOrderRequest;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::System;
use super::calls::{request, with_contact};

/// The pace of a shop: of its orders, and of its tries of one.
const PACE: Duration = Duration::from_millis(40);

/// A try that is not answered by then is made again: a frozen gateway answers nothing.
const TRY_FOR: Duration = Duration::from_secs(5);

/// Some shops that keep ordering until they are told to stop.
pub struct Shops {
    stop: CancellationToken,
    abandon: CancellationToken,
    shops: Vec<JoinHandle<()>>,
    tally: Arc<Mutex<Tally>>,
    accepted: watch::Receiver<usize>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The ids of the orders that were accepted, each once for every request.
    pub accepted: Vec<String>,
    /// Calls that failed and were tried again, by their codes and reasons.
    pub retried: BTreeMap<String, usize>,
    /// Requests that failed in spite of all retries.
    pub failed: Vec<Status>,
}

impl Shops {
    /// So many shops at once, each with one order after the other. What is ordered is in stock.
    pub fn open(system: &System, count: usize) -> Shops {
        let (tell, accepted) = watch::channel(0);
        let (tell, tally) = (Arc::new(tell), Arc::new(Mutex::new(Tally::default())));
        let (stop, abandon) = (CancellationToken::new(), CancellationToken::new());
        let shops = (0..count).map(|n| {
            let shop = Shop { client: system.orders(), tally: tally.clone(), tell: tell.clone(), stop: stop.clone() };
            let abandoned = abandon.clone();
            tokio::spawn(async move {
                abandoned.run_until_cancelled_owned(shop.keep_ordering(n)).await;
            })
        });
        let shops = shops.collect();
        Shops { shops, stop, abandon, tally, accepted }
    }

    /// Waits until so many more orders are accepted.
    pub async fn until_more(&mut self, more: usize) {
        let wanted = *self.accepted.borrow() + more;
        let reached = tokio::time::timeout(super::PATIENCE, self.accepted.wait_for(|count| *count >= wanted)).await;
        reached.expect("orders are accepted").expect("there are shops");
    }

    /// Waits until so many more tries have failed.
    pub async fn until_more_retried(&self, more: usize) {
        let retried = || self.tally.lock().unwrap_or_else(PoisonError::into_inner).retried.values().sum::<usize>();
        let wanted = retried() + more;
        let mut every = tokio::time::interval(PACE);
        let reached = async {
            while retried() < wanted {
                every.tick().await;
            }
        };
        tokio::time::timeout(super::PATIENCE, reached).await.expect("tries fail");
    }

    /// What is not answered by now never is: its request may have been accepted or not.
    pub async fn abandon(self) -> Tally {
        self.abandon.cancel();
        self.close().await
    }

    /// Every order under way is brought to its answer first.
    pub async fn close(self) -> Tally {
        self.stop.cancel();
        for shop in self.shops {
            shop.await.expect("no panic");
        }
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl System {
    /// Closes the shops: none of their requests has failed in spite of all retries, there is one order for each, all of
    /// them end, and everything adds up.
    pub async fn close(&self, shops: Shops) {
        let tally = shops.close().await;
        assert!(tally.failed.is_empty(), "failed after retry: {:?}", tally.failed);
        let sums = self.sums_add_up(tally.accepted.len()).await;
        // Whoever was told that the outcome is not known asked again, and got the one order.
        assert_eq!(sums.orders, tally.accepted.len(), "one order for each request");
        eprintln!("accepted {}, retried {:?}, {sums:?}", tally.accepted.len(), tally.retried);
    }
}

struct Shop {
    client: OrderServiceClient<Channel>,
    tally: Arc<Mutex<Tally>>,
    tell: Arc<watch::Sender<usize>>,
    stop: CancellationToken,
}

impl Shop {
    async fn keep_ordering(mut self, n: usize) {
        let methods = ["pm_ok", "pm_ok", "pm_declined", "pm_lost_answer"];
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for method in methods.iter().cycle().skip(n) {
            pace.tick().await;
            if self.stop.is_cancelled() {
                return;
            }
            self.order(with_contact(request("tea", 1, method), "ada@example.com"), &mut pace).await;
        }
    }

    /// Until it is accepted, or refused for good.
    async fn order(&mut self, order: PlaceOrderRequest, pace: &mut tokio::time::Interval) {
        let give_up = tokio::time::Instant::now() + super::PATIENCE;
        loop {
            let tried = tokio::time::timeout(TRY_FOR, self.client.place_order(order.clone())).await;
            let status = match tried {
                Ok(Ok(answer)) => {
                    let id = answer.into_inner().order.expect("an order").order_id;
                    self.tally().accepted.push(id);
                    self.tell.send_modify(|count| *count += 1);
                    return;
                }
                Ok(Err(status)) => status,
                Err(_elapsed) => Status::unavailable("no answer"),
            };
            if !may_be_retried(&status) || tokio::time::Instant::now() > give_up {
                self.tally().failed.push(status);
                return;
            }
            let reason = status.get_details_error_info().map_or_else(String::new, |info| info.reason);
            *self.tally().retried.entry(format!("{:?} {reason}", status.code())).or_default() += 1;
            pace.tick().await;
        }
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// UNAVAILABLE, what says when to come back, and what no server of ours said: the connection broke under the call.
fn may_be_retried(status: &Status) -> bool {
    let is_of_the_connection = status.get_details_error_info().is_none();
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
        || (is_of_the_connection && matches!(status.code(), Code::Unknown | Code::Internal | Code::Cancelled))
}
