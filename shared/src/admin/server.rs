//! The admin server: `/health`, `/ready`, `/info` and `/metrics`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use serde::Serialize;
use tokio::net::TcpListener;

use super::Readiness;
use super::readiness::ReadinessReport;
use crate::listen::AtOnce;
use crate::listen::connections::{self, ConnectionLimits, Drained, Tower};

/// Connections at once: probes, a scraper, a few operators.
const MAX_CONNECTIONS: usize = 128;

/// Time for a connection to say something, and for each request's headers to arrive.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);

/// What `/info` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct About {
    pub name: &'static str,
    pub version: &'static str,
    /// The role this process plays.
    pub role: String,
    /// What it listens on and speaks to, by name.
    pub addresses: BTreeMap<String, String>,
    /// The process; several roles can share one.
    pub pid: u32,
    /// When the role started, by RFC 3339.
    pub started_at: String,
    /// What of the configuration in force matters to whoever looks at it from outside. No secrets.
    pub config: serde_json::Value,
    /// Of the machine's last start: tells whether whoever asks is on the same one. Empty where it is not known.
    pub boot_id: String,
}

impl About {
    /// What identifies the running machine, as Linux tells it.
    pub fn boot_id() -> String {
        let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        told.map(|id| id.trim().to_owned()).unwrap_or_default()
    }
}

/// The admin server on its listener.
pub struct AdminServer {
    listener: TcpListener,
    routes: Router,
}

#[derive(Clone)]
struct Shown {
    about: Arc<About>,
    readiness: Readiness,
    metrics: Metrics,
}

/// Writes all figures of this process in Prometheus' text format. It is called at every scrape and reads what is in
/// memory.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

impl AdminServer {
    #[must_use]
    pub fn new(listener: TcpListener, about: About, readiness: Readiness, metrics: Metrics) -> AdminServer {
        let shown = Shown { about: Arc::new(about), readiness, metrics };
        let routes = Router::new()
            .route("/health", get(health))
            .route("/ready", get(ready))
            .route("/info", get(info))
            .route("/metrics", get(figures))
            .fallback(unknown)
            .with_state(shown);
        AdminServer { listener, routes }
    }

    /// # Errors
    /// When the operating system does not know the socket any more.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` resolves, then lets running requests end, for `drain` at most.
    pub async fn run(self, shutdown: impl Future<Output = ()>, drain: Duration) -> Drained {
        let mut http = Builder::new(AtOnce);
        http.http1().timer(TokioTimer::new()).header_read_timeout(OPENING_TIMEOUT);
        let limits = ConnectionLimits {
            max_connections: MAX_CONNECTIONS,
            opening_timeout: OPENING_TIMEOUT,
            max_age: None,
            name: None,
        };
        connections::serve(self.listener, http.http1_only(), limits, Tower(self.routes), shutdown, drain).await
    }
}

/// Alive: the process answers. Depends on nothing outside of it, for whoever asks restarts it.
async fn health() -> &'static str {
    "alive\n"
}

async fn ready(State(shown): State<Shown>) -> (StatusCode, Json<ReadinessReport>) {
    let report = shown.readiness.report().await;
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report))
}

async fn info(State(shown): State<Shown>) -> Json<About> {
    Json(About::clone(&shown.about))
}

async fn figures(State(shown): State<Shown>) -> ([(&'static str, &'static str); 1], String) {
    ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], (shown.metrics)())
}

async fn unknown() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "there is nothing here: ask /health, /ready, /info or /metrics\n")
}
