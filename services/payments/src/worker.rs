//! The hands: what is due is asked of the provider, through the breaker, and its answer handed back to be decided.

use std::sync::Arc;
use std::time::Duration;

use spillway_proto::time::{self, Timestamp};
use spillway_shared::ledger::{Clock, Due};

use crate::breaker::Breaker;
use crate::domain::{Answered, Key, Outcome, Purpose, Step, Task};
use crate::provider::{Charge, Open, Provider, Refund, guarded};
use crate::service::Input;

/// Works on what is due. Cheap to clone.
pub struct Worker<P> {
    provider: Arc<P>,
    breaker: Breaker,
    call_timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl<P> Clone for Worker<P> {
    fn clone(&self) -> Self {
        Worker {
            provider: self.provider.clone(),
            breaker: self.breaker.clone(),
            call_timeout: self.call_timeout,
            clock: self.clock.clone(),
        }
    }
}

impl<P: Provider> Worker<P> {
    pub fn new(provider: Arc<P>, breaker: Breaker, call_timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        Worker { provider, breaker, call_timeout, clock }
    }

    /// Does what is due and says what came of it.
    pub async fn work(self, due: Due) -> Input {
        let task = match Task::decode(due.kind, &due.key, due.payload.clone()) {
            Ok(task) => task,
            Err(error) => {
                tracing::error!(kind = due.kind, %error, "due work is made anew from its payment");
                return Input::Unreadable { kind: due.kind, key: due.key };
            }
        };
        let called = self.now();
        let step = task.step_at(called, self.call_timeout);
        let key = task.key();
        let outcome = match guarded(&self.breaker, self.call_timeout, self.ask(&task, step, &key)).await {
            Ok(outcome) => outcome,
            Err(Open(wait)) => {
                let wait_us = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
                let until = time::from_micros(time::to_micros(called).saturating_add(wait_us));
                Outcome::BreakerOpen { until }
            }
        };
        if outcome.is_failure() {
            tracing::debug!(order = %task.order, ?step, ?outcome, "call to the provider settled nothing");
        }
        Input::Answered(Answered { task, charge_id: key.id, tries: due.attempt, step, called, outcome })
    }

    async fn ask(&self, task: &Task, step: Step, key: &Key) -> Outcome {
        let (key, minor, currency) = (key.text.as_str(), task.amount.minor, task.amount.currency.code());
        let reference = &task.order.to_string();
        match (task.purpose, step) {
            (Purpose::Charge, Step::Send) => {
                self.provider.charge(Charge { key, reference, minor, currency, payment_method: &task.source }).await
            }
            (Purpose::Compensate, Step::Send) => {
                self.provider.refund(Refund { key, minor, currency, charge: &task.source }).await
            }
            (Purpose::Charge, Step::LookUp) => self.provider.look_up_charge(reference).await,
            (Purpose::Compensate, Step::LookUp) => self.provider.look_up_refund(key).await,
        }
    }

    fn now(&self) -> Timestamp {
        time::whole_micros(self.clock.now())
    }
}
