//! The system that runs, if there is one: every role's own word on who it is, whether it lives and whether it is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
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

/// What a role answers at its admin port.
struct Answers {
    admin: SocketAddr,
    /// As it calls itself; of the sandbox provider, `provider`.
    role: String,
    version: String,
    started_at: String,
    partitions: Option<u64>,
    /// `/health`.
    is_alive: bool,
    /// Status and body of `/ready`; `None` where that was not answered.
    ready: Option<(u16, Value)>,
}

/// A finding for every role that answers at its admin port, and what they disagree about; none where nothing runs. `more`
/// are admin ports that the configuration does not name.
pub async fn look(config: &Config, more: &[SocketAddr]) -> Vec<Finding> {
    let known = ROLES.map(|role| (Some(role), reachable(config.admin_of(role))));
    let asked = known.into_iter().chain(more.iter().map(|admin| (None, *admin)));
    let answered = join_all(asked.map(|(role, admin)| async move { (role, admin, ask(admin).await) })).await;
    let (mut findings, mut silent, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (role, admin, answers) in answered {
        let (expected, at) = (role.map(Role::name), admin.to_string());
        match answers {
            Some(answers) if expected.is_none_or(|expected| expected == answers.role) => {
                findings.push(judge(&answers));
                all.push(answers);
            }
            Some(other) => findings.push(Finding::problem(
                &format!("role {}", expected.unwrap_or_default()),
                format!("{} answers at {at} in its place", other.role),
                "name the right address with --set admin.ROLE=ADDRESS",
            )),
            None => silent.push(expected.map_or(at, str::to_owned)),
        }
    }
    if !findings.is_empty() || !more.is_empty() {
        findings.extend(missing(&silent, &all));
        findings.extend(skew(&all));
    }
    findings
}

/// Roles that do not answer anywhere.
fn missing(silent: &[String], all: &[Answers]) -> Option<Finding> {
    let elsewhere: BTreeSet<&str> = all.iter().map(|answers| answers.role.as_str()).collect();
    let silent: Vec<&str> = silent.iter().map(String::as_str).filter(|role| !elsewhere.contains(role)).collect();
    let fix = "where they should run here: spillway run ROLE, or spillway up; elsewhere: --admin ADDRESS";
    (!silent.is_empty()).then(|| Finding::warning("roles", format!("no answer from {}", silent.join(", ")), fix))
}

/// What must be, or had better be, the same in all roles.
fn skew(all: &[Answers]) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut partitions: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for answers in all {
        versions.entry(&answers.version).or_default().push(&answers.role);
        if let Some(count) = answers.partitions {
            partitions.entry(count).or_default().push(&answers.role);
        }
    }
    let mut findings = Vec::new();
    if versions.len() > 1 {
        let told = versions.iter().map(|(version, roles)| format!("{version}: {}", roles.join(", ")));
        let fix = "during an upgrade this passes; else bring the older ones to the same version";
        findings.push(Finding::warning("versions", told.collect::<Vec<_>>().join("; "), fix));
    }
    if partitions.len() > 1 {
        let told = partitions.iter().map(|(count, roles)| format!("{count}: {}", roles.join(", ")));
        let fix = "all roles must be started with the same number of partitions";
        findings.push(Finding::problem("partitions", told.collect::<Vec<_>>().join("; "), fix));
    }
    findings
}

fn judge(answers: &Answers) -> Finding {
    let Answers { admin, role, version, started_at, .. } = answers;
    let what = format!("role {role}");
    let who = match started_at.split_once('.').map_or(started_at.as_str(), |(seconds, _)| seconds) {
        "" => version.clone(),
        since => format!("{version}, up since {}Z", since.trim_end_matches('Z')),
    };
    if !answers.is_alive {
        let fix = format!("http://{admin}/health does not answer: its log tells why, a restart loses nothing");
        return Finding::problem(&what, format!("{who}, does not say that it is alive"), fix);
    }
    let Some((status, report)) = &answers.ready else {
        let fix = format!("http://{admin}/ready does not answer: its log tells why");
        return Finding::problem(&what, format!("{who}, does not say whether it is ready"), fix);
    };
    let checks = report.get("checks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |check: &Value, key: &str| check.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let problems = checks.iter().filter(|check| check.get("ok") == Some(&Value::Bool(false)));
    let problems: Vec<String> =
        problems.map(|check| format!("{}: {}", text(check, "name"), text(check, "problem"))).collect();
    let problems = problems.join("; ");
    if report.get("draining") == Some(&Value::Bool(true)) {
        let fix = "it finishes what is in hand and ends; start it again where it should not have ended";
        return Finding::warning(&what, format!("{who}, draining: it is stopping"), fix);
    }
    match (*status, problems.is_empty()) {
        (200, true) => Finding::ok(&what, format!("ready; {who}")),
        (200, false) => Finding::warning(
            &what,
            format!("ready; {who}; but {problems}"),
            "it works, and what waits goes on by itself",
        ),
        (_, true) => Finding::problem(&what, format!("not ready; {who}"), format!("http://{admin}/ready tells why")),
        (_, false) => {
            let fix = format!("http://{admin}/ready tells; its log tells more");
            Finding::problem(&what, format!("not ready: {problems}; {who}"), fix)
        }
    }
}

/// `None` where nothing of ours answers there.
async fn ask(admin: SocketAddr) -> Option<Answers> {
    let (health, ready, info) = tokio::join!(get(admin, "/health"), get(admin, "/ready"), get(admin, "/info"));
    let info: Value = serde_json::from_str(&info?.1).ok()?;
    let text = |key: &str| info.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let role = match text("name").as_str() {
        "spillway" => text("role"),
        "spillway-provider" => Role::Provider.name().to_owned(),
        // Whoever else answers on this port is none of ours.
        _ => return None,
    };
    Some(Answers {
        admin,
        role,
        version: text("version"),
        started_at: text("started_at"),
        partitions: info.pointer("/config/partitions").and_then(Value::as_u64),
        is_alive: health.is_some_and(|(status, _)| status == 200),
        ready: ready.map(|(status, body)| (status, serde_json::from_str(&body).unwrap_or_default())),
    })
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Verdict;
    use super::*;

    fn answers(role: &str, status: u16, report: Value) -> Answers {
        Answers {
            admin: ([127, 0, 0, 1], 8080).into(),
            role: role.to_owned(),
            version: "0.1.0".to_owned(),
            started_at: "2026-11-21T14:00:00.123456Z".to_owned(),
            partitions: Some(1),
            is_alive: true,
            ready: Some((status, report)),
        }
    }

    #[test]
    fn a_role_is_judged_by_what_it_says_of_itself() {
        let checks =
            |ok: bool, needed: bool| json!([{ "name": "jetstream", "ok": ok, "needed": needed, "problem": "gone" }]);
        let ready = |draining: bool, checks: Value| json!({ "draining": draining, "checks": checks });
        for (status, report, verdict, part) in [
            (200, ready(false, checks(true, true)), Verdict::Ok, "ready; 0.1.0, up since 2026-11-21T14:00:00Z"),
            (200, ready(false, checks(false, false)), Verdict::Warning, "but jetstream: gone"),
            (503, ready(false, checks(false, true)), Verdict::Problem, "not ready: jetstream: gone"),
            (503, ready(true, checks(true, true)), Verdict::Warning, "draining"),
            (503, Value::Null, Verdict::Problem, "not ready; 0.1.0"),
        ] {
            let finding = judge(&answers("orders", status, report));
            assert!(finding.verdict == verdict && finding.found.contains(part), "{finding:?}");
        }
        let dead = Answers { is_alive: false, ..answers("orders", 200, Value::Null) };
        assert_eq!(judge(&dead).verdict, Verdict::Problem);
        let deaf = Answers { ready: None, ..answers("orders", 200, Value::Null) };
        assert_eq!(judge(&deaf).verdict, Verdict::Problem);
    }

    #[test]
    fn roles_of_different_versions_or_partitions_are_told() {
        let newer = Answers { version: "0.2.0".to_owned(), partitions: Some(2), ..answers("audit", 200, Value::Null) };
        let all = [answers("orders", 200, Value::Null), answers("payments", 200, Value::Null)];
        assert!(skew(&all).is_empty());
        let told = skew(&all.into_iter().chain([newer]).collect::<Vec<_>>());
        let told: Vec<_> = told.iter().map(|finding| (finding.verdict, finding.found.as_str())).collect();
        assert_eq!(
            told,
            [
                (Verdict::Warning, "0.1.0: orders, payments; 0.2.0: audit"),
                (Verdict::Problem, "1: orders, payments; 2: audit"),
            ]
        );
    }

    #[test]
    fn a_role_that_answers_elsewhere_is_not_missing() {
        let all = [answers("orders", 200, Value::Null)];
        assert!(missing(&["orders".to_owned()], &all).is_none());
        let told = missing(&["orders".to_owned(), "audit".to_owned()], &all).expect("one is missing");
        assert_eq!(told.found, "no answer from audit");
    }
}
