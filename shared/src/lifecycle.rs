//! The life of a role: named tasks, a drain in order, one deadline.
//!
//! One place outside knows signals; here stopping is a token that is handed out.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::logs::speaking_as;

/// When a task stops in a drain: each stage begins when the one before it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// What lets requests in.
    Doors,
    /// What takes work: listeners and due work. What is in hand is finished.
    Work,
    /// What tells others what was committed.
    Tell,
}

/// The stages in their order, each with the share of the deadline that may be used up when it ends: a connection or a
/// charge that hangs leaves time to tell others what was committed.
const STAGES: [(Stage, f64); 3] = [(Stage::Doors, 0.6), (Stage::Work, 0.85), (Stage::Tell, 1.0)];

/// Why a role ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{task}: {why}")]
pub struct TaskFailed {
    pub task: String,
    pub why: String,
}

/// How a drain went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    pub took: Duration,
    /// The tasks that were cut because they had not ended in time; empty where the drain won.
    pub cut: Vec<String>,
}

/// The life of one role. Cheap to clone.
#[derive(Clone)]
pub struct Life {
    inner: Arc<Inner>,
}

struct Inner {
    role: Arc<str>,
    deadline: Mutex<Duration>,
    shut_down: CancellationToken,
    stages: [(CancellationToken, TaskTracker); 3],
    running: Mutex<BTreeMap<String, usize>>,
    failure: watch::Sender<Option<TaskFailed>>,
}

impl Life {
    /// `deadline` bounds the whole drain.
    pub fn new(role: impl Into<Arc<str>>, deadline: Duration) -> Self {
        Life {
            inner: Arc::new(Inner {
                role: role.into(),
                deadline: Mutex::new(deadline),
                shut_down: CancellationToken::new(),
                stages: Default::default(),
                running: Mutex::default(),
                failure: watch::Sender::new(None),
            }),
        }
    }

    fn stage(&self, stage: Stage) -> &(CancellationToken, TaskTracker) {
        &self.inner.stages[stage as usize]
    }

    /// Cancelled when tasks of this stage are to stop.
    pub fn stop(&self, stage: Stage) -> CancellationToken {
        self.stage(stage).0.clone()
    }

    /// Cancelled when the role is to stop, before any stage.
    pub fn shutting_down(&self) -> CancellationToken {
        self.inner.shut_down.clone()
    }

    /// How long the whole drain may take.
    pub fn drain_deadline(&self) -> Duration {
        *self.inner.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For whoever stops several after each other within one deadline. No later than the drain begins.
    pub fn set_drain_deadline(&self, deadline: Duration) {
        *self.inner.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    /// Runs a task of a stage. One that fails or panics ends the role.
    pub fn task<E: std::fmt::Display + Send + 'static>(
        &self,
        stage: Stage,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let (name, life) = (name.into(), self.clone());
        self.note(&name, 1);
        let speaking = speaking_as(self.inner.role.clone(), async move {
            let why = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_panic) => Some("panicked".to_owned()),
            };
            life.note(&name, -1);
            if let Some(why) = why {
                life.fail(TaskFailed { task: name, why });
            }
        });
        self.stage(stage).1.spawn(speaking);
    }

    /// Runs a task that cannot fail.
    pub fn steady(&self, stage: Stage, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        self.task(stage, name, task.map(Ok::<(), std::convert::Infallible>));
    }

    fn note(&self, name: &str, change: isize) {
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.entry(name.to_owned()).or_insert(0);
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            running.remove(name);
        }
    }

    fn running(&self) -> Vec<String> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn fail(&self, failed: TaskFailed) {
        tracing::error!(service = &*self.inner.role, task = %failed.task, why = %failed.why, "task failed");
        self.inner.failure.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(failed);
            }
            is_first
        });
        self.shut_down();
    }

    /// Begins the drain. [`Life::finish`] does it.
    pub fn shut_down(&self) {
        self.inner.shut_down.cancel();
    }

    /// Waits until the role is to stop, then drains it, stage by stage, within the one deadline.
    pub async fn finish(&self) -> (Drained, Result<(), TaskFailed>) {
        self.inner.shut_down.cancelled().await;
        let began = Instant::now();
        for (stage, share) in STAGES {
            let (stop, tracker) = self.stage(stage);
            stop.cancel();
            tracker.close();
            let until = began + self.drain_deadline().mul_f64(share);
            if tokio::time::timeout_at(until, tracker.wait()).await.is_err() {
                tracing::warn!(service = &*self.inner.role, ?stage, left = ?self.running(), "not finished in time, going on");
            }
        }
        let drained = Drained { took: began.elapsed(), cut: self.running() };
        let failed = self.inner.failure.borrow().clone();
        let millis = drained.took.as_millis();
        match drained.cut.is_empty() {
            true => tracing::info!(service = &*self.inner.role, millis, "drained"),
            false => tracing::warn!(service = &*self.inner.role, millis, cut = ?drained.cut, "drain deadline passed"),
        }
        (drained, failed.map_or(Ok(()), Err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stages_end_in_order() {
        let life = Life::new("test", Duration::from_secs(30));
        let order = Arc::new(Mutex::new(Vec::new()));
        for stage in [Stage::Tell, Stage::Doors, Stage::Work] {
            let (stop, order) = (life.stop(stage), order.clone());
            life.steady(stage, format!("{stage:?}"), async move {
                stop.cancelled().await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                order.lock().expect("unpoisoned").push(stage);
            });
        }
        life.shut_down();
        let (drained, ended) = life.finish().await;
        assert_eq!((drained.cut, ended), (vec![], Ok(())));
        assert_eq!(*order.lock().expect("unpoisoned"), [Stage::Doors, Stage::Work, Stage::Tell]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_deadline_bounds_the_whole_drain_and_names_who_missed_it() {
        let life = Life::new("test", Duration::from_secs(5));
        life.steady(Stage::Work, "stuck", std::future::pending());
        life.shut_down();
        let (drained, ended) = life.finish().await;
        assert_eq!((drained.cut, ended), (vec!["stuck".into()], Ok(())));
        assert!(drained.took <= Duration::from_secs(5), "{:?}", drained.took);
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_in_one_stage_leaves_time_for_the_next() {
        let life = Life::new("test", Duration::from_secs(10));
        life.steady(Stage::Work, "stuck", std::future::pending());
        let (stop, told) = (life.stop(Stage::Tell), Arc::new(Mutex::new(false)));
        let tells = told.clone();
        life.steady(Stage::Tell, "relay", async move {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            *tells.lock().expect("unpoisoned") = true;
        });
        life.shut_down();
        let (drained, _) = life.finish().await;
        assert_eq!((drained.cut, *told.lock().expect("unpoisoned")), (vec!["stuck".to_owned()], true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_or_panics_ends_the_role() {
        let life = Life::new("test", Duration::from_secs(5));
        life.task(Stage::Work, "sick", async { Err("no disk") });
        let (_, ended) = life.finish().await;
        assert_eq!(ended, Err(TaskFailed { task: "sick".into(), why: "no disk".into() }));

        let life = Life::new("test", Duration::from_secs(5));
        life.steady(Stage::Work, "shaky", async { panic!("at the disco") });
        let (_, ended) = life.finish().await;
        assert_eq!(ended, Err(TaskFailed { task: "shaky".into(), why: "panicked".into() }));
    }
}
