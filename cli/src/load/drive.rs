//! Drives a load run: open loop by rate, or closed loop by number in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use spillway_proto::OrderId;
use spillway_proto::pb::orders::PlaceOrderResponse;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use spillway_proto::time::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::follow;
use super::orders::Orders;
use super::plan::{Follow, Pace, Plan, Until};
use super::record::{Ended, Recorder};
use super::track::Tracker;

/// After this long a PlaceOrder is given up; what became of it is unknown.
const GIVE_UP: Duration = Duration::from_secs(30);

/// Orders that an open loop has under way at most: beyond it the system is not keeping up, and the run says so.
const MOST_UNDER_WAY: usize = 100_000;

/// A run under way.
pub struct Drive {
    pub plan: Plan,
    pub clients: Vec<OrderServiceClient<Channel>>,
    pub tracker: Arc<Tracker>,
    /// Where calls are written down.
    pub recorder: Option<Recorder>,
    /// Ends the sending before its time.
    pub stop: CancellationToken,
}

struct Sender {
    plan: Plan,
    clients: Vec<OrderServiceClient<Channel>>,
    tracker: Arc<Tracker>,
    recorder: Option<Recorder>,
    orders: Orders,
    next: AtomicU64,
    /// When the warm-up ends.
    measured_from: Instant,
    measured: AtomicU64,
    under_way: TaskTracker,
}

impl Drive {
    /// Until everything is sent and answered.
    pub async fn run(self) {
        let orders = Orders::new(&self.plan);
        let sender = Arc::new(Sender {
            measured_from: Instant::now() + self.plan.warmup,
            plan: self.plan,
            clients: self.clients,
            tracker: self.tracker,
            recorder: self.recorder,
            orders,
            next: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            under_way: TaskTracker::new(),
        });
        match sender.plan.pace {
            Pace::Open { per_second } => sender.clone().open(per_second, &self.stop).await,
            Pace::Closed { in_flight } => sender.clone().closed(in_flight.max(1), &self.stop).await,
        }
        sender.under_way.close();
        sender.under_way.wait().await;
    }
}

impl Sender {
    /// Every order has its moment, whether or not the ones before it were answered.
    async fn open(self: Arc<Self>, per_second: f64, stop: &CancellationToken) {
        let began = Instant::now();
        let room = Arc::new(Semaphore::new(MOST_UNDER_WAY));
        for n in 0u64.. {
            let due = began + Duration::from_secs_f64(n as f64 / per_second);
            let Some(counts) = self.claim(due) else { return };
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = stop.cancelled() => return,
            }
            let Ok(place) = room.clone().acquire_owned().await else { return };
            let sender = self.clone();
            self.under_way.spawn(async move {
                sender.place(due, counts).await;
                drop(place);
            });
        }
    }

    /// So many at a time; each sends its next order when the one before has ended.
    async fn closed(self: Arc<Self>, in_flight: usize, stop: &CancellationToken) {
        let lanes: Vec<_> = (0..in_flight)
            .map(|_| {
                let (sender, stop) = (self.clone(), stop.clone());
                tokio::spawn(async move {
                    while !stop.is_cancelled() {
                        let now = Instant::now();
                        let Some(counts) = sender.claim(now) else { return };
                        let Some(order) = sender.place(now, counts).await else { continue };
                        tokio::select! {
                            () = sender.tracker.until_ended(order) => {}
                            () = stop.cancelled() => return,
                        }
                    }
                })
            })
            .collect();
        for lane in lanes {
            if let Err(error) = lane.await {
                tracing::error!(%error, "a lane of the load broke");
            }
        }
    }

    /// Claims the next order of this moment: whether it counts, or `None` where the run is over.
    fn claim(&self, at: Instant) -> Option<bool> {
        if at < self.measured_from {
            return Some(false);
        }
        let claimed = self.measured.fetch_add(1, Ordering::Relaxed);
        let is_over = match self.plan.until {
            Until::Elapsed(duration) => at >= self.measured_from + duration,
            Until::Sent(count) => claimed >= count,
        };
        (!is_over).then_some(true)
    }

    /// Places an order that should go at this moment. Answers the order while its end is still to come.
    async fn place(&self, due: Instant, counts: bool) -> Option<OrderId> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let follows = self.plan.follow != Follow::None;
        let which = usize::try_from(n).unwrap_or(0) % self.clients.len();
        let mut client = self.clients[which].clone();
        let order = self.orders.request(n);
        let recorded = self.recorder.as_ref().map(|recorder| (recorder, order.clone(), Timestamp::now()));
        let mut request = Request::new(order);
        request.set_timeout(GIVE_UP);
        self.tracker.sent(due, counts);
        let answer = client.place_order(request).await;
        if let Some((recorder, request, invoke)) = recorded {
            let outcome = outcome(&answer);
            recorder.ended(Ended { request, invoke, complete: Timestamp::now(), outcome }).await;
        }
        match answer {
            Ok(answer) => {
                let order: OrderId = answer.into_inner().order?.order_id.parse().ok()?;
                let known = self.tracker.accepted(order, due, counts, follows);
                if self.plan.follow == Follow::Watch && !known {
                    self.under_way.spawn(follow::watch(client, order, self.tracker.clone()));
                }
                (!known).then_some(order)
            }
            Err(status) => {
                self.tracker.refused(&format!("{:?}", status.code()), counts);
                tokio::time::sleep(pushback(&status)).await;
                None
            }
        }
    }
}

/// What the client knows of its order. An answer without one is none.
fn outcome(answer: &Result<Response<PlaceOrderResponse>, Status>) -> Result<OrderId, Code> {
    let answer = answer.as_ref().map_err(Status::code)?;
    let order = answer.get_ref().order.as_ref().and_then(|order| order.order_id.parse().ok());
    order.ok_or(Code::Internal)
}

/// How long the server wants to be left alone.
fn pushback(status: &tonic::Status) -> Duration {
    let millis = status.metadata().get("grpc-retry-pushback-ms").and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_millis(millis.unwrap_or(20u64).min(5_000))
}
