//! What ledgers tell each other on core NATS: heads, marks; and what they ask each other for: missing batches.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use prost::Message as _;
use spillway_proto::pb::internal::{AskRequest, AskResponse, Batch, Head, HeadsResponse, Mark, Refusal};
use spillway_proto::{Incarnation, Partition, ledgers};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::connection::Bus;
use super::pulse;
use crate::ledger::{Ledger, Line, Service, ToldMark};

/// A head, and a mark that does not move, is told again after this long.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// A head or a mark that moves is told this often.
const TELL_MOVED: Duration = Duration::from_secs(1);

/// Bytes of one answer to who asks for batches, well under the `max_payload` of 1 MiB.
const ANSWER_BYTES: usize = 512 << 10;

/// The heads of a ledger, as it tells them.
pub(super) fn heads<S: Service>(ledger: &Ledger<S>) -> Vec<Head> {
    let identity = ledger.identity();
    let heads = ledger.heads().borrow().clone();
    identity
        .serves
        .iter()
        .map(|partition| Head {
            ledger: identity.id.ledger.name().to_owned(),
            incarnation: Bytes::copy_from_slice(identity.incarnation.as_bytes()),
            partition: u32::from(partition.0),
            number: heads.get(partition).copied().unwrap_or(0),
            closed_incarnation: Bytes::new(),
            closed_number: 0,
        })
        .collect()
}

/// Tells the heads again and again, once a second while they move, else every 30 s: whoever has missed something learns
/// of it, also of the last that was said.
pub(super) async fn tell_heads<S: Service>(ledger: Ledger<S>, bus: Bus, stop: CancellationToken) {
    let source = ledger.identity().id.ledger;
    let mut told: HashMap<Partition, (i64, Instant)> = HashMap::new();
    let mut tick = tokio::time::interval(TELL_MOVED);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stopping = tokio::select! {
            _ = tick.tick() => false,
            () = stop.cancelled() => true,
        };
        for (head, partition) in heads(&ledger).into_iter().zip(&ledger.identity().serves) {
            let known = told.get(partition);
            let stale = known.is_none_or(|(number, at)| *number != head.number || at.elapsed() >= TELL_AGAIN);
            if (stale || stopping) && bus.is_connected() {
                told.insert(*partition, (head.number, Instant::now()));
                publish(&bus, ledgers::head_subject(source, *partition), head.encode_to_vec().into()).await;
            }
        }
        if stopping {
            return;
        }
    }
}

/// A lossy message: the next one makes up for it.
async fn publish(bus: &Bus, subject: String, body: Bytes) {
    if !bus.is_connected() {
        return;
    }
    if let Err(error) = bus.client.publish(subject, body).await {
        tracing::debug!(%error, "a hint was not sent");
    }
}

/// Answers `heads`.
pub(super) fn answer_heads<S: Service>(ledger: &Ledger<S>) -> Bytes {
    HeadsResponse { heads: heads(ledger) }.encode_to_vec().into()
}

/// Answers `batches`, from the outbox.
pub(super) async fn answer_batches<S: Service>(ledger: &Ledger<S>, request: Bytes) -> Result<Bytes, Refusal> {
    let refuse = |reason: &str, message: String| Refusal {
        code: 14,
        reason: reason.to_owned(),
        message,
        retry_after_ms: 1000,
        ..Refusal::default()
    };
    let ask = AskRequest::decode(request).map_err(|e| refuse("UNDECODABLE", e.to_string()))?;
    let known = ask.incarnation[..] == ledger.identity().incarnation.as_bytes()[..];
    let Some(partition) = u16::try_from(ask.partition).ok().filter(|_| known) else {
        return Ok(AskResponse { unknown_incarnation: true, ..AskResponse::default() }.encode_to_vec().into());
    };
    let found = ledger
        .outbox(Partition(partition), ask.from, ask.to, ANSWER_BYTES)
        .await
        .map_err(|e| refuse("LEDGER_UNAVAILABLE", e.to_string()))?;
    let head = ledger.heads().borrow().get(&Partition(partition)).copied().unwrap_or(0);
    let first = found.first().map_or(ask.to.min(head) + 1, |batch| batch.number);
    let answer = AskResponse {
        pruned_up_to: if ask.from <= head && first > ask.from { first - 1 } else { 0 },
        batches: found.into_iter().map(|b| Batch { number: b.number, time_us: b.time_us, body: b.body }).collect(),
        unknown_incarnation: false,
    };
    Ok(answer.encode_to_vec().into())
}

/// Tells every source how far it is heard: once a second while that moves, else every 30 s.
pub(super) async fn tell_marks<S: Service>(ledger: Ledger<S>, bus: Bus, stop: CancellationToken) {
    let mut told: HashMap<Line, (i64, Instant)> = HashMap::new();
    let mut tick = tokio::time::interval(TELL_MOVED);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stopping = tokio::select! {
            _ = tick.tick() => false,
            () = stop.cancelled() => true,
        };
        let inbox = ledger.inbox().borrow().clone();
        for (line, mark) in inbox.lines() {
            let stale = told.get(line).is_none_or(|(number, at)| *number != mark.number || at.elapsed() >= TELL_AGAIN);
            if stale && bus.is_connected() {
                told.insert(*line, (mark.number, Instant::now()));
                let message = pulse::told(ledger.identity(), line, mark);
                let subject = ledgers::mark_subject(line.source, line.partition);
                publish(&bus, subject, message.encode_to_vec().into()).await;
            }
        }
        if stopping {
            return;
        }
    }
}

/// Writes down what listeners tell this ledger.
pub(super) async fn hear_marks<S: Service>(ledger: Ledger<S>, bus: Bus, partition: Partition, stop: CancellationToken) {
    let subject = ledgers::mark_subject(ledger.identity().id.ledger, partition);
    let Ok(mut told) = bus.client.subscribe(subject).await else { return };
    loop {
        let message = tokio::select! {
            Some(message) = told.next() => message,
            () = stop.cancelled() => return,
            else => return,
        };
        let Some(mark) = Mark::decode(message.payload).ok().and_then(read_mark) else {
            tracing::warn!(%partition, "a mark that cannot be read");
            continue;
        };
        if let Err(error) = ledger.told(vec![mark]).await {
            tracing::debug!(%error, "a mark was not taken");
        }
    }
}

fn read_mark(mark: Mark) -> Option<ToldMark> {
    Some(ToldMark {
        listener: mark.listener,
        listener_partition: u16::try_from(mark.listener_partition).ok()?,
        incarnation: Incarnation::from_bytes(&mark.incarnation)?,
        partition: Partition(u16::try_from(mark.partition).ok()?),
        number: mark.number,
        heard_us: mark.heard_time_us,
    })
}
