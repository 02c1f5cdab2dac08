//! One watch.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use spillway_proto::OrderId;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{Order, OrderEvent, WatchOrderResponse};
use spillway_shared::bus::Caller;
use spillway_shared::grpc::{CallError, Cause, Reason};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::hints::Wake;
use super::patience::Patience;
use crate::reading::{Found, Reading};
use crate::refusal::jitter;

const WATCH_INTERRUPTED: Reason = Reason::new("WATCH_INTERRUPTED");

/// Events asked for at a time.
const EVENTS: i32 = 50;

/// Without a hint, orders is asked again after this many milliseconds: spread, so that watches that began together do
/// not ask together, and never more than 2 s.
const ASK_AGAIN_MS: std::ops::RangeInclusive<u64> = 1_500..=2_000;

/// A client is to come back at once: the least that `grpc-retry-pushback-ms` can say.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Follows one order for one client.
pub struct Watch {
    reading: Reading,
    order_id: OrderId,
    wake: Wake,
    _place: OwnedSemaphorePermit,
    /// Everything up to this version was handed out, or waits in `ready`.
    cursor: i64,
    ready: VecDeque<WatchOrderResponse>,
    /// The order was shown as the gateway alone knows it.
    is_shown_accepted: bool,
    /// The order has later events than those in `ready`.
    is_behind: bool,
    is_over: bool,
    terms: Terms,
}

/// How long it lasts, at most.
pub(super) struct Terms {
    /// As whom orders is asked.
    pub caller: Caller,
    /// Cancelled when it is to end: the gateway stops.
    pub draining: CancellationToken,
    /// Then the client is to watch anew, perhaps at another gateway.
    pub until: Instant,
    /// With orders that does not answer.
    pub patience: Patience,
}

impl Watch {
    pub(super) fn new(
        reading: Reading,
        (order_id, cursor): (OrderId, i64),
        wake: Wake,
        place: OwnedSemaphorePermit,
        terms: Terms,
    ) -> Watch {
        Watch {
            reading,
            order_id,
            wake,
            _place: place,
            cursor,
            ready: VecDeque::new(),
            is_shown_accepted: false,
            is_behind: false,
            is_over: false,
            terms,
        }
    }

    /// Everything from the cursor on, as it happens, until the order has ended.
    pub fn into_stream(self) -> impl Stream<Item = Result<WatchOrderResponse, Status>> + Send {
        futures::stream::unfold(self, |mut watch| async move {
            let next = watch.next().await?;
            Some((next, watch))
        })
    }

    async fn next(&mut self) -> Option<Result<WatchOrderResponse, Status>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(Ok(message));
            }
            if self.is_over {
                return None;
            }
            if let Err(status) = self.step().await {
                self.is_over = true;
                return Some(Err(status));
            }
        }
    }

    /// Waits until there may be something new, and looks.
    async fn step(&mut self) -> Result<(), Status> {
        let (draining, until) = (self.terms.draining.clone(), self.terms.until);
        let interrupted = tokio::select! {
            looked = self.wait_and_look() => return looked,
            () = draining.cancelled() => "this server is stopping",
            () = tokio::time::sleep_until(until) => "this watch was open for as long as one may be",
        };
        let sentence = "{problem}: watch again with the cursor {cursor}, and nothing is missed";
        let cause = Cause::new(WATCH_INTERRUPTED, sentence).with("problem", interrupted).with("cursor", self.cursor);
        Err(CallError::Unavailable { cause, retry_after: AT_ONCE }.into())
    }

    async fn wait_and_look(&mut self) -> Result<(), Status> {
        if !self.is_behind {
            let pause = self.terms.patience.pause().unwrap_or_else(|| jitter(ASK_AGAIN_MS));
            tokio::select! {
                () = self.wake.hinted() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        match self.look().await {
            Ok(found) => {
                self.terms.patience.answered();
                self.take(found);
                Ok(())
            }
            Err(status) if status.code() == Code::Unavailable && self.terms.patience.bears(Instant::now()) => Ok(()),
            Err(status) => Err(status),
        }
    }

    async fn look(&self) -> Result<Found, Status> {
        self.reading.find(&self.terms.caller, self.order_id, self.cursor, EVENTS).await
    }

    /// The first look: what is wrong with the request itself is told at once.
    pub(super) async fn look_first(&mut self) -> Result<(), Status> {
        let found = self.look().await?;
        let version = match &found {
            Found::Known { order, .. } => order.version,
            Found::Accepted { .. } => 0,
        };
        if self.cursor > version {
            let rule = format!("is beyond what has happened to the order, which is at version {version}");
            return Err(CallError::invalid("cursor", rule).into());
        }
        self.take(found);
        // From now on nobody waits for a single answer.
        self.terms.caller.time_left = self.reading.call_timeout;
        Ok(())
    }

    fn take(&mut self, found: Found) {
        match found {
            Found::Known { order, events } => self.take_known(&order, events),
            Found::Accepted { order } => {
                if !self.is_shown_accepted {
                    self.is_shown_accepted = true;
                    self.ready.push_back(WatchOrderResponse { order: Some(order), event: None, cursor: 0 });
                }
            }
        }
    }

    fn take_known(&mut self, order: &Order, events: Vec<OrderEvent>) {
        let before = self.cursor;
        for event in events {
            self.cursor = event.version;
            let (order, event) = (Some(order.clone()), Some(event));
            self.ready.push_back(WatchOrderResponse { order, event, cursor: self.cursor });
        }
        let is_at_its_version = self.cursor >= order.version;
        self.is_behind = self.cursor > before && !is_at_its_version;
        self.is_over = is_at_its_version && has_ended(order);
    }
}

/// Decided. A confirmed order may be refunded later; that is another watch's to see.
fn has_ended(order: &Order) -> bool {
    match order.state() {
        State::Unspecified | State::Pending => false,
        State::Confirmed | State::Rejected | State::Cancelled | State::Refunded => true,
    }
}
