//! Follows an order to its end, over as many connections as it takes.

use std::time::Duration;

use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{GetOrderRequest, Order, WatchOrderRequest, WatchOrderResponse};
use tonic::{Code, Status};

use crate::client::{Remote, is_of_the_connection};
use crate::exit::Failure;

/// Connections in a row that fail and bring nothing new, until nobody is thought to be there: about 25 s, in which a
/// gateway starts again.
const MAX_IDLE_TRIES: u32 = 12;

/// The same before anything was heard at all, when perhaps nobody is there.
const MAX_FIRST_TRIES: u32 = 5;

/// The wait before the second connection; it doubles with each that brings nothing.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Hands every step after the cursor to `on_step`, once and in order, and returns the order as it ended.
///
/// # Errors
/// The server's refusal, what `on_step` fails with, or that nobody answers any more.
pub async fn follow(
    remote: &Remote,
    order_id: &str,
    cursor: i64,
    mut on_step: impl FnMut(&WatchOrderResponse) -> Result<(), Failure>,
) -> Result<Order, Failure> {
    let mut seen = Seen { cursor, is_accepted_shown: false };
    let mut idle_tries = 0;
    let mut tries_left = MAX_FIRST_TRIES;
    loop {
        let before = seen;
        let ended = watch_once(remote, order_id, &mut seen, &mut on_step).await?;
        if seen == before {
            idle_tries += 1;
        } else {
            (idle_tries, tries_left) = (0, MAX_IDLE_TRIES);
        }
        match ended {
            // The server ends a stream when the order has ended, but also when it drains or the stream is old.
            Ended::ByServer => {
                let order = get(remote, order_id).await?;
                if is_at_end(&order) && order.version <= seen.cursor {
                    return Ok(order);
                }
            }
            Ended::ByConnection(status) if idle_tries >= tries_left => return Err(remote.failure(&status)),
            Ended::ByConnection(_) => {}
        }
        let wait = FIRST_WAIT.saturating_mul(1 << idle_tries.min(10)).min(LONGEST_WAIT);
        tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}

/// How far the steps of an order were handed on.
#[derive(Clone, Copy, PartialEq)]
struct Seen {
    cursor: i64,
    /// The step of version 0, which every connection at cursor 0 may bring.
    is_accepted_shown: bool,
}

/// How a stream ended.
enum Ended {
    ByServer,
    ByConnection(Status),
}

async fn watch_once(
    remote: &Remote,
    order_id: &str,
    seen: &mut Seen,
    on_step: &mut impl FnMut(&WatchOrderResponse) -> Result<(), Failure>,
) -> Result<Ended, Failure> {
    let request = WatchOrderRequest { order_id: order_id.to_owned(), cursor: seen.cursor };
    let mut steps = match remote.orders().watch_order(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return broken(remote, status),
    };
    loop {
        let step = match steps.message().await {
            Ok(Some(step)) => step,
            Ok(None) => return Ok(Ended::ByServer),
            Err(status) => return broken(remote, status),
        };
        let is_new = step.cursor > seen.cursor || (step.cursor == 0 && !seen.is_accepted_shown);
        if is_new {
            on_step(&step)?;
            *seen = Seen { cursor: step.cursor, is_accepted_shown: true };
        }
    }
}

/// A refusal that another connection may not meet is none.
fn broken(remote: &Remote, status: Status) -> Result<Ended, Failure> {
    let may_pass = status.code() == Code::Unavailable || is_of_the_connection(&status);
    if may_pass { Ok(Ended::ByConnection(status)) } else { Err(remote.failure(&status)) }
}

async fn get(remote: &Remote, order_id: &str) -> Result<Order, Failure> {
    let request = GetOrderRequest { order_id: order_id.to_owned() };
    let answer = remote
        .call(request, |request| {
            let mut client = remote.orders();
            async move { client.get_order(request).await }
        })
        .await?;
    answer.order.ok_or_else(|| Failure::failed(format!("the gateway answered without order {order_id}")))
}

fn is_at_end(order: &Order) -> bool {
    match order.state() {
        State::Unspecified | State::Pending => false,
        State::Confirmed | State::Rejected | State::Cancelled | State::Refunded => true,
    }
}

#[cfg(test)]
mod tests;
