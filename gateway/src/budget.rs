//! How much may wait to be heard before no more is accepted.
//!
//! An outage of JetStream or of a service refuses nobody: what is accepted waits in the outbox. What waits there cannot
//! be pruned, so it has a budget; one of bytes, since it is there to keep the disk from filling.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use spillway_proto::{Incarnation, Ledger as Source, Partition};
use spillway_shared::grpc::{CallError, Cause, Reason};
use spillway_shared::ledger::{Ledger, ReadError, StoreError, Tx, Value};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::intake::Intake;
use crate::refusal::jitter;

const OUTBOX_FULL: Reason = Reason::new("OUTBOX_FULL");

/// What is accepted between two looks may exceed the budget: some MiB at full speed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The bytes of the outbox that not every listener has heard, and how many there may be.
#[derive(Debug)]
pub struct Budget {
    limit: i64,
    waiting: AtomicI64,
}

impl Budget {
    pub fn new(limit_bytes: u64) -> Budget {
        Budget { limit: i64::try_from(limit_bytes).unwrap_or(i64::MAX), waiting: AtomicI64::new(0) }
    }

    /// # Errors
    /// RESOURCE_EXHAUSTED, with the reason OUTBOX_FULL, as long as the budget is used up.
    pub fn admit(&self) -> Result<(), CallError> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting < self.limit {
            return Ok(());
        }
        let sentence = "{waiting_bytes} bytes of accepted orders wait to be heard by the services, and {limit_bytes} \
                        may: no order is accepted until they are; try again in {retry_after_ms} ms with the same \
                        request_id";
        Err(CallError::Exhausted {
            cause: Cause::new(OUTBOX_FULL, sentence).with("waiting_bytes", waiting).with("limit_bytes", self.limit),
            retry_after: jitter(5_000..=10_000),
        })
    }
}

/// Keeps the count of a budget.
pub struct Meter {
    budget: Arc<Budget>,
    ledger: Ledger<Intake>,
    lines: BTreeMap<Partition, Line>,
}

/// What waits in one partition: the batches of the numbers above `heard` and up to `head`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    heard: i64,
    head: i64,
    bytes: i64,
}

impl Meter {
    /// Looks for the first time: what waited before the start counts from the first request on.
    ///
    /// # Errors
    /// [`ReadError`] where the ledger cannot be read.
    pub async fn start(budget: Arc<Budget>, ledger: Ledger<Intake>) -> Result<Meter, ReadError> {
        let mut meter = Meter { budget, ledger, lines: BTreeMap::new() };
        meter.look().await?;
        Ok(meter)
    }

    /// Looks again and again, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the outbox cannot be measured, going by the last figure");
            }
        }
    }

    async fn look(&mut self) -> Result<(), ReadError> {
        let incarnation = self.ledger.identity().incarnation;
        let heads = self.ledger.heads().borrow().clone();
        let mut lines = self.lines.clone();
        self.lines = self
            .ledger
            .query(move |tx| {
                let heard = heard(tx, incarnation)?;
                for (partition, head) in heads {
                    let line = lines.entry(partition).or_default();
                    let heard = heard_by_all(&heard, partition);
                    line.advance(heard, head, |from, to| bytes(tx, incarnation, partition, from, to))?;
                }
                Ok(lines)
            })
            .await?;
        let waiting = self.lines.values().map(|line| line.bytes).sum();
        let was_full = self.budget.waiting.swap(waiting, Ordering::Relaxed) >= self.budget.limit;
        match (was_full, waiting >= self.budget.limit) {
            (false, true) => tracing::error!(waiting, "outbox is full, refusing orders until it is heard"),
            (true, false) => tracing::info!(waiting, "outbox has room, accepting orders again"),
            (false, false) | (true, true) => {}
        }
        Ok(())
    }
}

impl Line {
    /// Every batch is added once and taken off once, so that a look costs what has moved, not what waits.
    fn advance(
        &mut self,
        heard: i64,
        head: i64,
        bytes: impl Fn(i64, i64) -> Result<i64, StoreError>,
    ) -> Result<(), StoreError> {
        // A mark beyond the head is another's mistake; one that went back is an older message.
        let heard = heard.clamp(self.heard, head.max(self.heard));
        let added = bytes(self.head.max(heard), head)?;
        let taken_off = bytes(self.heard, heard.min(self.head))?;
        // Nothing waits where all is heard, whatever was pruned in between.
        let bytes = if heard >= head { 0 } else { (self.bytes + added - taken_off).max(0) };
        *self = Line { heard, head, bytes };
        Ok(())
    }
}

/// Who has heard up to which number: (listener, its partition, the partition heard).
type Heard = BTreeMap<(String, i64, i64), i64>;

fn heard(tx: &Tx<'_>, incarnation: Incarnation) -> Result<Heard, StoreError> {
    let rows = tx.read(
        "select listener, listener_partition, partition, number from listener_mark where incarnation = $1",
        &[incarnation.as_bytes().into()],
        |row| Ok(((row.text(0)?, row.int(1)?, row.int(2)?), row.int(3)?)),
    )?;
    Ok(rows.into_iter().collect())
}

/// What every ledger has heard that hears the gateway; one that has never told its mark has heard nothing.
fn heard_by_all(heard: &Heard, partition: Partition) -> i64 {
    let spoken = i64::from(partition.0);
    let listeners = Source::ALL.into_iter().filter(|ledger| ledger.hears().contains(&Source::Gateway));
    let marks = listeners.map(|listener| {
        let own = if listener.is_partitioned() { spoken } else { 0 };
        heard.get(&(listener.name().to_owned(), own, spoken)).copied().unwrap_or(0)
    });
    marks.min().unwrap_or(0)
}

/// Bytes of the batches above one number and up to another.
fn bytes(tx: &Tx<'_>, incarnation: Incarnation, partition: Partition, from: i64, to: i64) -> Result<i64, StoreError> {
    if from >= to {
        return Ok(0);
    }
    let rows = tx.read(
        "select coalesce(sum(length(body)), 0) from outbox
         where partition = $1 and number > $2 and number <= $3 and incarnation = $4",
        &[i64::from(partition.0).into(), from.into(), to.into(), Value::Blob(incarnation.as_bytes())],
        |row| row.int(0),
    )?;
    Ok(rows.into_iter().sum())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_counts_exactly_what_not_all_have_heard(
            sizes in prop::collection::vec(1i64..1000, 1..60),
            steps in prop::collection::vec((0usize..60, 0usize..60), 1..20),
        ) {
            let sum = |from: i64, to: i64| -> i64 {
                (from..to).map(|number| sizes.get(usize::try_from(number).expect("small")).copied().unwrap_or(0)).sum()
            };
            let (mut line, mut head, mut heard) = (Line::default(), 0, 0);
            for (more, hears) in steps {
                head = (head + i64::try_from(more).expect("small")).min(i64::try_from(sizes.len()).expect("small"));
                heard = (heard + i64::try_from(hears).expect("small")).min(head);
                line.advance(heard, head, |from, to| Ok(sum(from, to.max(from)))).expect("summed");
                prop_assert_eq!(line, Line { heard, head, bytes: sum(heard, head) });
            }
        }
    }

    #[test]
    fn the_slowest_listener_counts_and_one_never_heard_of_has_heard_nothing() {
        let mut marks: Heard = BTreeMap::new();
        marks.insert(("inventory".to_owned(), 0, 1), 9);
        marks.insert(("orders".to_owned(), 1, 1), 7);
        assert_eq!(heard_by_all(&marks, Partition(1)), 0);
        marks.insert(("audit".to_owned(), 1, 1), 8);
        assert_eq!(heard_by_all(&marks, Partition(1)), 7);
        assert_eq!(heard_by_all(&marks, Partition(0)), 0);
    }

    #[test]
    fn a_full_budget_refuses_and_says_when_to_come_back() {
        let budget = Budget::new(100);
        assert!(budget.admit().is_ok());
        budget.waiting.store(100, Ordering::Relaxed);
        let status = tonic::Status::from(budget.admit().expect_err("full"));
        let info = tonic_types::StatusExt::get_details_error_info(&status).expect("every error has it");
        assert_eq!((status.code(), info.reason.as_str()), (tonic::Code::ResourceExhausted, "OUTBOX_FULL"));
        assert!(tonic_types::StatusExt::get_details_retry_info(&status).is_some());
    }
}
