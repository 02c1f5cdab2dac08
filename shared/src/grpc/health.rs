//! `grpc.health.v1`: what load balancers and probes ask, told from the truth.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use crate::admin::Readiness;

/// The handle that says whether the server serves: the same for the server as a whole ("") and each of its services.
/// NOT_SERVING until told otherwise, and for good once it drains.
#[derive(Debug, Clone)]
pub struct Health {
    reporter: HealthReporter,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    services: Vec<&'static str>,
    is_serving: bool,
    is_draining: bool,
}

impl Health {
    pub(super) fn new() -> Health {
        Health { reporter: HealthReporter::new(), state: Arc::default() }
    }

    /// Without effect once the server drains.
    pub async fn set_serving(&self, is_serving: bool) {
        let mut state = self.state.lock().await;
        if state.is_serving != is_serving && !state.is_draining {
            state.is_serving = is_serving;
            self.tell(&state).await;
        }
    }

    /// Tells what the readiness checks say, asked again every so often. Runs until it is dropped.
    pub async fn follow(&self, readiness: &Readiness, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.set_serving(readiness.report().await.ready).await;
        }
    }

    pub(super) async fn drain(&self) {
        let mut state = self.state.lock().await;
        state.is_serving = false;
        state.is_draining = true;
        self.tell(&state).await;
    }

    /// Sets the services that have an entry beside "".
    pub(super) async fn cover(&self, services: Vec<&'static str>) {
        let mut state = self.state.lock().await;
        state.services = services;
        self.tell(&state).await;
    }

    pub(super) fn service(&self) -> HealthService {
        HealthService::from_health_reporter(self.reporter.clone())
    }

    async fn tell(&self, state: &State) {
        let status = if state.is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in state.services.iter().copied().chain([""]) {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Request;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus as Told;
    use tonic_health::pb::health_server::Health as _;

    use super::*;

    async fn told(health: &Health) -> Told {
        let answer = health.service().check(Request::new(HealthCheckRequest::default())).await;
        answer.expect("there is an entry for the whole").into_inner().status()
    }

    #[tokio::test]
    async fn a_server_that_drains_is_never_called_serving_again() {
        let health = Health::new();
        health.set_serving(true).await;
        assert_eq!(told(&health).await, Told::Serving);
        health.drain().await;
        health.set_serving(true).await;
        assert_eq!(told(&health).await, Told::NotServing);
    }
}
