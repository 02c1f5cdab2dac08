//! The admin listener: alive, ready, who it is.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use tower::Service;

use super::Shared;
use super::connections::{Cut, of_router};
use crate::answer::Answer;

/// A ledger that takes longer is not ready.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn service(
    shared: Arc<Shared>,
) -> impl Fn(Request<Incoming>) -> AdminFuture + Clone + Send + Sync + 'static {
    let router = Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/info", get(info))
        .with_state(shared);
    move |request| {
        let mut router = router.clone();
        Box::pin(async move { router.call(request).await.map(of_router).map_err(|never| match never {}) })
    }
}

type AdminFuture = std::pin::Pin<Box<dyn Future<Output = Result<Answer, Cut>> + Send>>;

/// Ready when the ledger commits. A mode does not make it unready: that is what it is steered to be.
async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match tokio::time::timeout(READY_TIMEOUT, shared.ledger.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n".to_owned()),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready: the ledger does not answer\n".to_owned()),
    }
}

async fn info() -> axum::Json<impl Serialize> {
    axum::Json(serde_json::json!({
        "name": "spillway-provider",
        "about": "Spillway's sandbox payment provider",
        "version": env!("CARGO_PKG_VERSION"),
    }))
}
