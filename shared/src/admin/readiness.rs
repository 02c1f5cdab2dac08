//! Whether the process can do its work now, and what is missing if not.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use serde::Serialize;
use tokio::sync::watch;

/// The time one check may take; a kubelet's probe waits 1 s by default, so it must hear what hangs.
const CHECK_TIME: Duration = Duration::from_millis(800);

/// A named question with the answer "yes" or "no, because".
pub struct Check {
    name: &'static str,
    is_needed: bool,
    ask: Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

impl Check {
    /// A check asked afresh every time.
    pub fn asked<F>(name: &'static str, ask: impl Fn() -> F + Send + Sync + 'static) -> Check
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        Check { name, is_needed: true, ask: Box::new(move || ask().boxed()) }
    }

    /// A check whose latest result somebody else keeps up to date.
    #[must_use]
    pub fn watched(name: &'static str, latest: watch::Receiver<Result<(), String>>) -> Check {
        Check::asked(name, move || std::future::ready(latest.borrow().clone()))
    }

    /// Told in the report, but not needed to be ready.
    #[must_use]
    pub fn only_told(self) -> Check {
        Check { is_needed: false, ..self }
    }

    async fn report(&self) -> CheckReport {
        let answer = tokio::time::timeout(CHECK_TIME, (self.ask)())
            .await
            .unwrap_or_else(|_elapsed| Err(format!("no answer within {} ms", CHECK_TIME.as_millis())));
        CheckReport { name: self.name, ok: answer.is_ok(), needed: self.is_needed, problem: answer.err() }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).field("is_needed", &self.is_needed).finish_non_exhaustive()
    }
}

/// All checks of a process, and whether it is on its way out.
#[derive(Debug, Clone)]
pub struct Readiness {
    checks: Arc<[Check]>,
    draining: Arc<AtomicBool>,
}

impl Readiness {
    #[must_use]
    pub fn new(checks: impl IntoIterator<Item = Check>) -> Readiness {
        Readiness { checks: checks.into_iter().collect(), draining: Arc::default() }
    }

    /// From now on never ready: the process stops.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Asks all checks at once, each within 800 ms.
    pub async fn report(&self) -> ReadinessReport {
        let checks = join_all(self.checks.iter().map(Check::report)).await;
        let draining = self.draining.load(Ordering::Relaxed);
        ReadinessReport { ready: !draining && checks.iter().all(|check| check.ok || !check.needed), draining, checks }
    }
}

/// The body of `/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadinessReport {
    pub ready: bool,
    pub draining: bool,
    pub checks: Vec<CheckReport>,
}

/// One check in the body of `/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    pub name: &'static str,
    pub ok: bool,
    pub needed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
