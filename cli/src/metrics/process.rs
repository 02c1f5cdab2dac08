//! The process and its runtime, as they see themselves.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::gauge;
use metrics_process::Collector;
use tokio::runtime::{Handle, RuntimeMetrics};

pub(super) struct Process {
    collector: Collector,
    runtime: RuntimeMetrics,
    /// When it was looked at last, and how long the workers had been busy by then, all together.
    before: Mutex<(Instant, Duration)>,
}

impl Process {
    /// Within the runtime.
    pub fn new() -> Process {
        let runtime = Handle::current().metrics();
        let before = Mutex::new((Instant::now(), busy(&runtime)));
        Process { collector: Collector::new("spillway_"), runtime, before }
    }

    /// What is read at a scrape, from `/proc` and from memory.
    pub fn read(&self) {
        self.collector.collect();
        gauge!("spillway_runtime_workers").set(self.runtime.num_workers() as f64);
        gauge!("spillway_runtime_alive_tasks").set(self.runtime.num_alive_tasks() as f64);
        gauge!("spillway_runtime_queued_tasks").set(self.runtime.global_queue_depth() as f64);
    }

    /// What needs the time since it was done last.
    pub fn look(&self) {
        let (now, total) = (Instant::now(), busy(&self.runtime));
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let (then, busy_then) = std::mem::replace(&mut *before, (now, total));
        let there = now.duration_since(then).as_secs_f64() * self.runtime.num_workers() as f64;
        let share = if there > 0.0 { total.saturating_sub(busy_then).as_secs_f64() / there } else { 0.0 };
        gauge!("spillway_runtime_busy_ratio").set(share.clamp(0.0, 1.0));
    }
}

fn busy(runtime: &RuntimeMetrics) -> Duration {
    (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum()
}
