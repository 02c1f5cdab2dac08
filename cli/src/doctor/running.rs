//! The system that runs here, if there is one: every role's own word on whether it is ready.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::Finding;
use crate::cli::Role;
use crate::config::Config;
use crate::system::reachable;

const PATIENCE: Duration = Duration::from_secs(2);
const BODY_BYTES: usize = 64 << 10;

const ROLES: [Role; 7] =
    [Role::Gateway, Role::Orders, Role::Inventory, Role::Payments, Role::Notifications, Role::Audit, Role::Provider];

/// A finding for every role whose admin server answers as ours; none where nothing runs.
pub async fn look(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut silent = Vec::new();
    for role in ROLES {
        match ask(reachable(config.admin_of(role)), role).await {
            Some(finding) => findings.push(finding),
            None => silent.push(role.name()),
        }
    }
    if !findings.is_empty() && !silent.is_empty() {
        let found = format!("no answer from {}", silent.join(", "));
        findings.push(Finding::warning(
            "roles",
            found,
            "where they should run here: spillway run ROLE, or spillway up",
        ));
    }
    findings
}

async fn ask(admin: SocketAddr, role: Role) -> Option<Finding> {
    let what = format!("role {}", role.name());
    let (status, body) = get(admin, "/ready").await?;
    let report: Value = serde_json::from_str(&body).unwrap_or_default();
    if status == 200 {
        return Some(Finding::ok(&what, "ready"));
    }
    // Whoever answers otherwise on this port is none of ours.
    let checks = report.get("checks").and_then(Value::as_array)?;
    let problems = checks.iter().filter_map(|check| check.get("problem").and_then(Value::as_str));
    let problems = problems.collect::<Vec<_>>().join("; ");
    let fix = format!("http://{admin}/ready tells; its log tells more");
    Some(Finding::problem(&what, format!("not ready: {problems}"), fix))
}

async fn get(admin: SocketAddr, path: &str) -> Option<(u16, String)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let uri = format!("http://{admin}{path}").parse().ok()?;
    let asked = async {
        let answer = client.get(uri).await.ok()?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), BODY_BYTES).collect().await.ok()?.to_bytes();
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::time::timeout(PATIENCE, asked).await.ok()?
}
