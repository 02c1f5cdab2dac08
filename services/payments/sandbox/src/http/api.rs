//! The provider's API, `/v1/*`. Plain hyper, because an answer may be that there is none: the connection is cut.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::AUTHORIZATION;
use http::{Method, Request};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tower::Service;

use super::connections::{Closing, Cut, of_router};
use super::keys::{Claim, KeysInUse};
use super::{Shared, control};
use crate::answer::{self, Answer};
use crate::code::Code;
use crate::decide::Delivery;
use crate::entry::{Create, Entry, Kind};
use crate::ledger::{LedgerError, unix_ms};
use crate::mode::{Mode, Rate};
use crate::request::{self, Wrong};
use crate::steering::steered_by;

/// The longest body, in bytes: far more than any valid request.
const BODY_MAX: usize = 16 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Charges or refunds in one answer to a lookup.
const LIST_MAX: usize = 100;

/// What the handlers share.
struct Api {
    shared: Arc<Shared>,
    keys: Arc<KeysInUse>,
    /// Slow requests that go on after their caller has hung up are bounded like connections.
    slow: Arc<Semaphore>,
    closing: Closing,
    control: axum::Router,
}

/// `/sandbox/*` goes to the control router and everything else to the API.
pub(super) fn service(
    shared: Arc<Shared>,
    closing: Closing,
    slow_max: usize,
) -> impl Fn(Request<Incoming>) -> ServiceFuture + Clone + Send + Sync + 'static {
    let api = Arc::new(Api {
        control: control::router(shared.clone()),
        shared,
        keys: Arc::default(),
        slow: Arc::new(Semaphore::new(slow_max)),
        closing,
    });
    move |request| {
        let api = api.clone();
        Box::pin(async move {
            if request.uri().path().starts_with("/sandbox/") {
                steer(api.control.clone(), request).await
            } else {
                api.answer(request).await
            }
        })
    }
}

type ServiceFuture = std::pin::Pin<Box<dyn Future<Output = Result<Answer, Cut>> + Send>>;

async fn steer(mut control: axum::Router, request: Request<Incoming>) -> Result<Answer, Cut> {
    control.call(request).await.map(of_router).map_err(|never| match never {})
}

impl Api {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Cut> {
        let now = SystemTime::now();
        self.shared.traffic.count(unix_ms(now).unsigned_abs() / 1_000);
        let mode = self.shared.mode.borrow().clone();
        if mode.down {
            return Err(Cut);
        }
        if !self.is_authorized(&request) {
            return Ok(answer::error(Code::Unauthorized));
        }
        let path = request.uri().path();
        let kind = match path {
            "/v1/charges" => Kind::Charge,
            "/v1/refunds" => Kind::Refund,
            _ => return self.answer_one(&request, &mode).await,
        };
        match *request.method() {
            Method::POST => self.create(kind, request, mode).await,
            Method::GET => self.list(kind, &request, &mode).await,
            _ => Ok(answer::error(Code::MethodNotAllowed)),
        }
    }

    fn is_authorized(&self, request: &Request<Incoming>) -> bool {
        let Some(expected) = &self.shared.authorization else {
            return true;
        };
        request.headers().get(AUTHORIZATION).is_some_and(|given| given == expected.as_str())
    }

    async fn create(self: Arc<Self>, kind: Kind, request: Request<Incoming>, mode: Arc<Mode>) -> Result<Answer, Cut> {
        let (head, body) = request.into_parts();
        let key = head.headers.get("idempotency-key").map(|key| key.to_str().unwrap_or_default());
        let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect());
        let body = match collected.await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) | Err(_) => return Ok(answer::invalid(&[unread_body()])),
        };
        let asked = match request::read(kind, key, &body) {
            Ok(asked) => asked,
            Err(wrong) => return Ok(answer::invalid(&wrong)),
        };
        let claim = self.keys.claim(&asked.idempotency_key);
        let wait = self.wait_before(&asked, &mode).await;
        if claim.is_none() || wait.is_zero() {
            return self.execute(asked, claim, mode).await;
        }
        let Ok(permit) = self.slow.clone().try_acquire_owned() else {
            return Ok(answer::error(Code::Unavailable));
        };
        // A provider does not stop because its caller hung up: a task of its own, ended by the closing server alone.
        let late = self.closing.clone().spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.closing.requested() => return Err(Cut),
            }
            let answered = self.execute(asked, claim, mode).await;
            drop(permit);
            answered
        });
        late.await.unwrap_or(Err(Cut))
    }

    /// How long the provider takes before it begins. A stored answer is not slow.
    async fn wait_before(&self, asked: &Create, mode: &Mode) -> Duration {
        let mut wait_ms = mode.delay_ms;
        if asked.kind == Kind::Charge && steered_by(&asked.source).slow {
            let key = asked.idempotency_key.clone();
            let is_stored = self.shared.ledger.has_answer_for(key).await.unwrap_or(false);
            if !is_stored {
                wait_ms = wait_ms.saturating_add(self.shared.config.slow_ms);
            }
        }
        Duration::from_millis(wait_ms)
    }

    async fn execute(&self, asked: Create, claim: Option<Claim>, mode: Arc<Mode>) -> Result<Answer, Cut> {
        let retry_after_s = mode.retry_after_s();
        let outcome = match self.shared.ledger.attempt(asked, claim.is_none(), mode).await {
            Ok(outcome) => outcome,
            Err(error) => return Ok(ledger_failed(&error)),
        };
        match outcome.delivery {
            Delivery::Answered => {
                let id = self.shared.ledger.public_id(&outcome.told);
                Ok(answer::attempt(&id, &outcome.told, outcome.is_replay, retry_after_s))
            }
            Delivery::Cut => Err(Cut),
            Delivery::HeldThenCut => {
                // The key is free again at once: what was not executed may be tried again meanwhile.
                drop(claim);
                self.hold(Some(Duration::from_millis(self.shared.config.hold_ms))).await
            }
            Delivery::Hanging => {
                drop(claim);
                self.hold(None).await
            }
        }
    }

    /// Leaves the caller without an answer for so long, or until it hangs up, or the server closes.
    async fn hold(&self, time: Option<Duration>) -> Result<Answer, Cut> {
        let held = async {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = held => {}
            () = self.closing.requested() => {}
        }
        Err(Cut)
    }

    /// What the mode does to a lookup, if it does not let it through.
    async fn troubled(&self, what: &str, mode: &Mode) -> Option<Result<Answer, Cut>> {
        if mode.delay_ms > 0 {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(mode.delay_ms)) => {}
                () = self.closing.requested() => return Some(Err(Cut)),
            }
        }
        if mode.black_hole {
            return Some(self.hold(None).await);
        }
        if mode.unauthorized {
            return Some(Ok(answer::error(Code::Unauthorized)));
        }
        if mode.throttle {
            return Some(Ok(answer::throttled(mode.retry_after_s())));
        }
        // A lookup has no attempt number: the clock takes its place, so that the next one may go well.
        if mode.strikes(Rate::Error, what, unix_ms(SystemTime::now())) {
            return Some(Ok(answer::error(Code::InternalError)));
        }
        None
    }

    async fn list(&self, kind: Kind, request: &Request<Incoming>, mode: &Mode) -> Result<Answer, Cut> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Lookup {
            reference: String,
        }
        let Ok(lookup) = axum::extract::Query::<Lookup>::try_from_uri(request.uri()) else {
            return Ok(answer::invalid(&[wrong("reference", "is required, and nothing else is known")]));
        };
        let reference = lookup.0.reference;
        if let Some(trouble) = self.troubled(&reference, mode).await {
            return trouble;
        }
        let now_ms = unix_ms(SystemTime::now());
        let until_ms = now_ms - lag_ms(mode);
        let ledger = &self.shared.ledger;
        let found = match ledger.by_reference(kind, reference, until_ms, LIST_MAX + 1).await {
            Ok(found) => found,
            Err(error) => return Ok(ledger_failed(&error)),
        };
        let has_more = found.len() > LIST_MAX;
        let named = |entry: Entry| (ledger.public_id(&entry), entry);
        let found: Vec<_> = found.into_iter().take(LIST_MAX).map(named).collect();
        Ok(answer::list(&found, has_more, now_ms))
    }

    async fn answer_one(&self, request: &Request<Incoming>, mode: &Mode) -> Result<Answer, Cut> {
        let path = request.uri().path();
        let (kind, id) = if let Some(id) = path.strip_prefix("/v1/charges/") {
            (Kind::Charge, id)
        } else if let Some(id) = path.strip_prefix("/v1/refunds/") {
            (Kind::Refund, id)
        } else {
            return Ok(answer::error(Code::NotFound));
        };
        if request.method() != Method::GET {
            return Ok(answer::error(Code::MethodNotAllowed));
        }
        if let Some(trouble) = self.troubled(id, mode).await {
            return trouble;
        }
        let now_ms = unix_ms(SystemTime::now());
        Ok(match self.shared.ledger.find(kind, id, now_ms - lag_ms(mode)).await {
            Ok(Some(entry)) => answer::found(id, &entry, now_ms),
            Ok(None) => answer::error(Code::NotFound),
            Err(error) => ledger_failed(&error),
        })
    }
}

fn lag_ms(mode: &Mode) -> i64 {
    i64::try_from(mode.lookup_lag_ms).unwrap_or(i64::MAX).min(i64::MAX / 4)
}

fn wrong(param: &str, message: &str) -> Wrong {
    Wrong { param: param.to_owned(), message: message.to_owned() }
}

fn unread_body() -> Wrong {
    wrong("(body)", "must arrive within 10 seconds and have at most 16,384 bytes")
}

/// What could not be committed may or may not be there: 500, so that nobody concludes anything.
fn ledger_failed(error: &LedgerError) -> Answer {
    tracing::error!(%error, "a request failed at the ledger");
    answer::error(Code::InternalError)
}
