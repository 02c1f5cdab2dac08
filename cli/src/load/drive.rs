//! Drives a load run: open loop by rate, or closed loop by number in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use spillway_proto::OrderId;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use spillway_proto::pb::orders::{PlaceOrderRequest, PlaceOrderResponse};
use spillway_proto::time::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::follow;
use super::line::Line;
use super::orders::Orders;
use super::plan::{Follow, Pace, Plan, Retry, Until};
use super::reads::Reads;
use super::record::{Ended, Recorder};
use super::tally::{Refused, Sent};
use super::track::Tracker;

/// How often a client tries again at most.
const TOLD_TRIES: u32 = 5;
const NAIVE_TRIES: u32 = 20;

/// How soon a naive client does.
const NAIVE_PAUSE: Duration = Duration::from_millis(10);

/// A lane of a closed loop that is refused waits no longer than this.
const LANE_PAUSE: Duration = Duration::from_secs(5);

/// Where an error does not say when to come back.
const PAUSE: Duration = Duration::from_millis(20);

/// Orders that an open loop has under way at most: beyond it the system is not keeping up, and the run says so.
const MOST_UNDER_WAY: usize = 400_000;

/// A run under way.
pub struct Drive {
    pub plan: Plan,
    /// What orders are placed over.
    pub lines: Vec<Line>,
    /// For what is asked of the orders afterwards: as many.
    pub clients: Vec<OrderServiceClient<Channel>>,
    pub tracker: Arc<Tracker>,
    /// Where calls are written down.
    pub recorder: Option<Recorder>,
    /// Ends the sending before its time.
    pub stop: CancellationToken,
}

struct Sender {
    plan: Plan,
    lines: Vec<Line>,
    clients: Vec<OrderServiceClient<Channel>>,
    tracker: Arc<Tracker>,
    recorder: Option<Recorder>,
    reads: Option<Reads>,
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
            reads: self.recorder.clone().map(|recorder| Reads::new(recorder, self.plan.deadline)),
            plan: self.plan,
            lines: self.lines,
            clients: self.clients,
            tracker: self.tracker,
            recorder: self.recorder,
            orders,
            next: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            under_way: TaskTracker::new(),
        });
        match sender.plan.pace {
            Pace::Open { per_second, then } => sender.clone().open(per_second, then, &self.stop).await,
            Pace::Closed { in_flight } => sender.clone().closed(in_flight.max(1), &self.stop).await,
        }
        sender.under_way.close();
        sender.under_way.wait().await;
    }
}

impl Sender {
    /// Every order has its moment, whether or not the ones before it were answered. After the first rate perhaps
    /// another one, for so long.
    async fn open(self: Arc<Self>, per_second: f64, then: Option<(f64, Duration)>, stop: &CancellationToken) {
        let room = Arc::new(Semaphore::new(MOST_UNDER_WAY));
        let moment = |began: Instant, n: u64, rate: f64| began + Duration::from_secs_f64(n as f64 / rate);
        let mut began = Instant::now();
        for n in 0u64.. {
            let due = moment(began, n, per_second);
            let Some(second) = self.claim(due) else {
                began = due;
                break;
            };
            if !self.send(due, second, &room, stop).await {
                return;
            }
        }
        let Some((per_second, duration)) = then else { return };
        for n in 0u64.. {
            let due = moment(began, n, per_second);
            if due >= began + duration || !self.send(due, Some(self.second(due)), &room, stop).await {
                return;
            }
        }
    }

    /// Sends an order at its moment. False where the run is over.
    async fn send(
        self: &Arc<Self>,
        due: Instant,
        second: Option<usize>,
        room: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> bool {
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            () = stop.cancelled() => return false,
        }
        let Ok(place) = room.clone().acquire_owned().await else { return false };
        let sender = self.clone();
        self.under_way.spawn(async move {
            sender.place(due, second).await;
            drop(place);
        });
        true
    }

    /// So many at a time; each sends its next order when the one before has ended.
    async fn closed(self: Arc<Self>, in_flight: usize, stop: &CancellationToken) {
        let lanes: Vec<_> = (0..in_flight)
            .map(|_| {
                let (sender, stop) = (self.clone(), stop.clone());
                tokio::spawn(async move {
                    while !stop.is_cancelled() {
                        let now = Instant::now();
                        let Some(second) = sender.claim(now) else { return };
                        let Some(order) = sender.place(now, second).await else { continue };
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

    /// Claims the next order of this moment: its second, if it counts, or `None` where the run is over.
    fn claim(&self, at: Instant) -> Option<Option<usize>> {
        if at < self.measured_from {
            return Some(None);
        }
        let claimed = self.measured.fetch_add(1, Ordering::Relaxed);
        let is_over = match self.plan.until {
            Until::Elapsed(duration) => at >= self.measured_from + duration,
            Until::Sent(count) => claimed >= count,
        };
        (!is_over).then(|| Some(self.second(at)))
    }

    /// Seconds since the warm-up.
    fn second(&self, at: Instant) -> usize {
        usize::try_from(at.saturating_duration_since(self.measured_from).as_secs()).unwrap_or(usize::MAX)
    }

    /// Places an order that should go at this moment. Answers the order while its end is still to come.
    async fn place(&self, due: Instant, second: Option<usize>) -> Option<OrderId> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let follows = self.plan.follow != Follow::None;
        let which = usize::try_from(n).unwrap_or(0) % self.lines.len();
        let is_hot = self.plan.hot_customer > 1 && self.orders.customer(n) == 0;
        let sent = Sent { due, second, is_hot };
        self.tracker.sent(&sent);
        let request = self.orders.request(n);
        let customer = self.reads.as_ref().map(|_| request.customer_id.clone());
        let answer = self.call(&self.lines[which], request, &sent).await?;
        let order: OrderId = answer.order?.order_id.parse().ok()?;
        let known = self.tracker.accepted(order, sent, follows);
        if self.plan.follow == Follow::Watch && !known {
            self.under_way.spawn(follow::watch(self.clients[which].clone(), order, self.tracker.clone()));
        }
        if let (Some(reads), Some(customer)) = (self.reads.clone(), customer) {
            self.under_way.spawn(reads.of(self.clients[which].clone(), order, customer, self.tracker.clone()));
        }
        (!known).then_some(order)
    }

    /// Calls, and again as often as this kind of client does.
    async fn call(&self, line: &Line, message: PlaceOrderRequest, sent: &Sent) -> Option<PlaceOrderResponse> {
        for tried in 0.. {
            let began = Instant::now();
            let recorded = self.recorder.as_ref().map(|recorder| (recorder, message.clone(), Timestamp::now()));
            let answer = self.attempt(line, &message, tried, began).await;
            if let Some((recorder, request, invoke)) = recorded {
                let (request, outcome) = (Box::new(request), outcome(&answer));
                recorder.ended(Ended::Placed { request, invoke, complete: Timestamp::now(), outcome }).await;
            }
            let status = match answer {
                Ok(answer) => return Some(answer),
                Err(status) => status,
            };
            let told = pushback(&status);
            let refused = Refused { code: status.code(), has_retry_info: told.is_some(), took: began.elapsed() };
            self.tracker.refused(sent, &refused);
            let told = told.unwrap_or(PAUSE);
            let again = match (self.plan.retry, self.plan.pace) {
                (Retry::Told, _) => (tried < TOLD_TRIES).then_some(told),
                (Retry::Naive, _) => (tried < NAIVE_TRIES).then_some(NAIVE_PAUSE),
                // The next order of this lane waits in place of this one.
                (Retry::Never, Pace::Closed { .. }) => {
                    tokio::time::sleep(told.min(LANE_PAUSE)).await;
                    None
                }
                (Retry::Never, Pace::Open { .. }) => None,
            };
            tokio::time::sleep(again?).await;
        }
        None
    }

    /// One call, with what is left of its time once it has its turn. What waits for its turn takes little room: a call is many
    /// times as large.
    async fn attempt(
        &self,
        line: &Line,
        message: &PlaceOrderRequest,
        tried: u32,
        began: Instant,
    ) -> Result<PlaceOrderResponse, Status> {
        let late = |_| Status::deadline_exceeded("the call was not answered in time");
        let deadline = began + self.plan.deadline;
        let _turn = tokio::time::timeout_at(deadline.into(), line.turn()).await.map_err(late)??;
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert("grpc-timeout", timeout(self.plan.deadline.saturating_sub(began.elapsed()))?);
        if tried > 0 && self.plan.retry == Retry::Told {
            headers.insert("grpc-previous-rpc-attempts", tried.into());
        }
        Box::pin(tokio::time::timeout_at(deadline.into(), line.place(message, headers))).await.map_err(late)?
    }
}

/// A time that calls can have in common: HTTP/2 sends a header that it has sent before in one byte.
fn timeout(left: Duration) -> Result<HeaderValue, Status> {
    const STEP_MS: u128 = 50;
    let steps = left.as_millis().div_ceil(STEP_MS).max(1);
    // In milliseconds, of eight digits at most.
    let timeout = format!("{}m", (steps * STEP_MS).min(99_999_999));
    HeaderValue::try_from(timeout).map_err(|error| Status::internal(error.to_string()))
}

/// What the client knows of its order. An answer without one is none.
fn outcome(answer: &Result<PlaceOrderResponse, Status>) -> Result<OrderId, Code> {
    let answer = answer.as_ref().map_err(Status::code)?;
    let order = answer.order.as_ref().and_then(|order| order.order_id.parse().ok());
    order.ok_or(Code::Internal)
}

/// How long the server wants to be left alone.
fn pushback(status: &tonic::Status) -> Option<Duration> {
    let millis = status.metadata().get("grpc-retry-pushback-ms").and_then(|value| value.to_str().ok()?.parse().ok());
    millis.map(Duration::from_millis)
}
