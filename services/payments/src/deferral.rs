//! While the provider cannot be reached: the ledger remembers the outage, and every order that waits says so, once.
//!
//! What waits is found by a walk along the due rows, earliest first, a bounded stretch a commit. Each walk goes on
//! where the last one ended, since nothing falls due before what has been seen: an outage of many orders costs one
//! pass over them, and afterwards only what is new.

use std::time::Duration;

use futures::future::join_all;
use spillway_proto::time::Timestamp;
use spillway_shared::ledger::{Ledger, NotTaken};
use tokio_util::sync::CancellationToken;

use crate::counters;
use crate::domain::{Deferred, Task};
use crate::gate::{Gate, Phase};
use crate::service::{Answer, Input, Payments};
use crate::store;

/// Orders told in one commit, at most.
const STRETCH: i64 = 500;

/// How often what is new is looked for while the provider cannot be reached.
const EVERY: Duration = Duration::from_secs(1);

/// Follows the outages, until `stop`.
pub async fn tell_of_outages(ledger: Ledger<Payments>, gate: Gate, stop: CancellationToken) {
    let follow = async {
        let (mut phases, mut breaker) = (gate.phases(), gate.breaker());
        let mut walk = None;
        loop {
            breaker.borrow_and_update();
            gate.observe();
            let phase = *phases.borrow_and_update();
            if let Err(error) = take_to_heart(&ledger, phase, &mut walk).await {
                tracing::warn!(%error, "what waits for the provider was not told so, trying again");
            }
            // At rest nothing is done but to wait for the breaker.
            let pause = async {
                match phase {
                    Phase::Well if walk.is_none() => std::future::pending().await,
                    Phase::Well | Phase::Out { .. } | Phase::Draining { .. } => tokio::time::sleep(EVERY).await,
                }
            };
            tokio::select! {
                () = pause => {}
                _ = phases.changed() => {}
                _ = breaker.changed() => {}
            }
        }
    };
    tokio::select! {
        () = follow => {}
        () = stop.cancelled() => {}
    }
}

/// Where the walk along what waits has come.
struct Walk {
    outage: Timestamp,
    from: Timestamp,
}

async fn take_to_heart(ledger: &Ledger<Payments>, phase: Phase, walk: &mut Option<Walk>) -> Result<(), NotTaken> {
    match phase {
        Phase::Well => {
            if walk.is_some() {
                ledger.act(|tx, _, at| store::ended(tx, at)).await?;
                *walk = None;
            }
            Ok(())
        }
        // It can be reached again: who has not been told by now need not be.
        Phase::Draining { .. } => Ok(()),
        Phase::Out { since } => {
            if walk.as_ref().is_none_or(|walk| walk.outage != since) {
                ledger.act(move |tx, _, _| store::begun(tx, since)).await?;
                *walk = Some(Walk { outage: since, from: Timestamp::UNIX_EPOCH });
            }
            match walk {
                // It is a courtesy, and would be tried again at every start.
                Some(walk) if !ledger.is_dying() => walk.along(ledger).await,
                Some(_) | None => Ok(()),
            }
        }
    }
}

impl Walk {
    /// Tells all that wait and were not told yet.
    async fn along(&mut self, ledger: &Ledger<Payments>) -> Result<(), NotTaken> {
        loop {
            let (from, outage) = (self.from, self.outage);
            // In the writer's own turn: whatever falls due later does so after what is seen here.
            let seen = ledger.act(move |tx, _, at| Ok((store::waiting(tx, from, outage, STRETCH)?, at)));
            let (waiting, at) = seen.await?;
            let is_last = waiting.len() < usize::try_from(STRETCH).unwrap_or(usize::MAX);
            let last = waiting.last().map_or(at, |waiting| waiting.due);
            let told = waiting.into_iter().map(|waiting| {
                let task = Task::decode("charge", waiting.order.as_bytes(), waiting.payload);
                let traceparent = task.map(|task| task.traceparent).unwrap_or_default();
                ledger.command(Input::Deferred(Deferred { order: waiting.order, traceparent, since: outage }))
            });
            for answer in join_all(told).await {
                match answer? {
                    Answer::Deferred(true) => counters::deferred(1),
                    Answer::Deferred(false) | Answer::Worked { .. } | Answer::Settled(_) => {}
                }
            }
            // What is due later than now was seen as well, but something may yet fall due before it.
            self.from = if is_last { at } else { last.min(at) };
            if is_last {
                return Ok(());
            }
        }
    }
}
