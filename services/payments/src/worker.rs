//! The hands: what is due and was let through is asked of the provider, and its answer handed back to be decided.

use std::sync::Arc;
use std::time::{Duration, Instant};

use spillway_proto::time::{self, Timestamp};
use spillway_shared::ledger::{Clock, Due, Wait};
use spillway_shared::steps;
use spillway_shared::telemetry::Tracer;

use crate::breaker::Permit;
use crate::counters::Calls;
use crate::domain::{Answered, Key, Outcome, Purpose, Step, Task};
use crate::provider::{Charge, Provider, ProviderCall, Refund, guarded};
use crate::service::Input;
use crate::spans::Work;

/// Works on what is due. Cheap to clone.
pub struct Worker<P> {
    provider: Arc<P>,
    call_timeout: Duration,
    clock: Arc<dyn Clock>,
    calls: Arc<Calls>,
    tracer: Tracer,
}

impl<P> Clone for Worker<P> {
    fn clone(&self) -> Self {
        let (provider, clock, calls) = (self.provider.clone(), self.clock.clone(), self.calls.clone());
        Worker { provider, call_timeout: self.call_timeout, clock, calls, tracer: self.tracer.clone() }
    }
}

impl<P: Provider> Worker<P> {
    pub fn new(provider: Arc<P>, call_timeout: Duration, clock: Arc<dyn Clock>, tracer: Tracer) -> Self {
        Worker { provider, call_timeout, clock, calls: Arc::default(), tracer }
    }

    /// Does what is due and says what came of it.
    pub async fn work(self, due: Due, wait: Wait, permit: Permit) -> Input {
        let mut task = match Task::decode(due.kind, &due.key, due.payload.clone()) {
            Ok(task) => task,
            Err(error) => {
                tracing::error!(kind = due.kind, %error, "due work is made anew from its payment");
                return Input::Unreadable { kind: due.kind, key: due.key };
            }
        };
        let called = self.now();
        let step = task.step_at(called, self.call_timeout);
        let (traced, call) = Work::begin(&self.tracer, &due, &wait, &mut task, called);
        let (key, at) = (task.key(), moments(task.purpose));
        steps::step_about(at.intent_committed, key.text.as_bytes());
        let asked = self.ask(&task, step, &key, &call);
        let sent = Instant::now();
        let outcome = guarded(permit, due.attempt > 1, self.call_timeout, asked).await;
        self.measure(&task, step, &outcome, called, sent.elapsed());
        traced.end(&mut task, step, due.attempt, &call, &outcome, self.now());
        steps::step_about(at.http_response, key.text.as_bytes());
        if outcome.is_failure() {
            tracing::debug!(order_id = %task.order, ?step, ?outcome, "call to the provider settled nothing");
        }
        steps::step_about(at.before_result_commit, key.text.as_bytes());
        Input::Answered(Answered { task, charge_id: key.id, tries: due.attempt, step, called, outcome })
    }

    async fn ask(&self, task: &Task, step: Step, key: &Key, call: &ProviderCall) -> Outcome {
        let (key, minor, currency) = (key.text.as_str(), task.amount.minor, task.amount.currency.code());
        let reference = &task.order.to_string();
        match (task.purpose, step) {
            (Purpose::Charge, Step::Send) => {
                let charge = Charge { key, reference, minor, currency, payment_method: &task.source };
                self.provider.charge(charge, call).await
            }
            (Purpose::Compensate, Step::Send) => {
                self.provider.refund(Refund { key, minor, currency, charge: &task.source }, call).await
            }
            (Purpose::Charge, Step::LookUp) => self.provider.look_up_charge(reference, call).await,
            (Purpose::Compensate, Step::LookUp) => self.provider.look_up_refund(key, call).await,
        }
    }

    /// A look at what is settled, hours later, is no answer that anybody waits for.
    fn measure(&self, task: &Task, step: Step, outcome: &Outcome, called: Timestamp, took: Duration) {
        self.calls.called(task.purpose, step, outcome, took);
        if task.purpose == Purpose::Charge && task.recheck == 0 {
            let before = task.began.map_or(Duration::ZERO, |began| called.duration_since(began).unsigned_abs());
            self.calls.processed(outcome, before + took);
        }
    }

    fn now(&self) -> Timestamp {
        time::whole_micros(self.clock.now())
    }
}

/// The moments of a call at which a test may end the process.
struct Moments {
    /// The intent is on the disk, and nothing was called.
    intent_committed: &'static str,
    /// The provider has answered, and nobody but this process knows.
    http_response: &'static str,
    before_result_commit: &'static str,
}

fn moments(purpose: Purpose) -> Moments {
    match purpose {
        Purpose::Charge => Moments {
            intent_committed: "payments.intent_committed",
            http_response: "payments.http_response",
            before_result_commit: "payments.before_result_commit",
        },
        Purpose::Compensate => Moments {
            intent_committed: "refunds.intent_committed",
            http_response: "refunds.http_response",
            before_result_commit: "refunds.before_result_commit",
        },
    }
}
