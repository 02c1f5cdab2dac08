//! WatchOrder: replay from a cursor, then follow. The cursor is the order's version, so there is no gap and no repeat,
//! whatever is lost, late, or at another gateway.

mod hints;
mod patience;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use spillway_proto::pb::orders::WatchOrderRequest;
use spillway_shared::grpc::{CallError, Cause, Reason};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::config::WatchConfig;
use crate::reading::Reading;
use crate::refusal::jitter;
use crate::{caller, validate};

use patience::Patience;
use stream::Terms;

pub use hints::Hints;
pub use stream::Watch;

const TOO_MANY_WATCHES: Reason = Reason::new("TOO_MANY_WATCHES");

/// The watches of a gateway.
#[derive(Debug)]
pub struct Watches {
    hints: Hints,
    places: Arc<Semaphore>,
    config: WatchConfig,
    draining: CancellationToken,
}

impl Watches {
    /// `draining` ends them all: where the client resumes is up to its cursor.
    pub fn new(config: WatchConfig, hints: Hints, draining: CancellationToken) -> Watches {
        let places = Arc::new(Semaphore::new(config.max.get().min(Semaphore::MAX_PERMITS)));
        Watches { hints, places, config, draining }
    }

    /// Opens a watch, and looks at the order for the first time.
    ///
    /// # Errors
    /// INVALID_ARGUMENT where the id is none, or the cursor is negative or beyond the order's version; NOT_FOUND;
    /// RESOURCE_EXHAUSTED where there are too many watches; UNAVAILABLE where orders does not answer.
    pub async fn open(
        &self,
        reading: &Reading,
        extensions: &Extensions,
        request: &WatchOrderRequest,
    ) -> Result<Watch, Status> {
        let order_id = validate::watch(request)?;
        let place = self.places.clone().try_acquire_owned().map_err(|_full| CallError::Exhausted {
            cause: Cause::new(
                TOO_MANY_WATCHES,
                "this gateway follows {max} orders, the most it does: try again in {retry_after_ms} ms, or ask for \
                 the order now and then",
            )
            .with("max", self.config.max),
            retry_after: jitter(1_000..=3_000),
        })?;
        // Before the first look: what changes after it is hinted at.
        let wake = self.hints.of(order_id);
        let age = Duration::from_millis(self.config.max_age_ms.get()).mul_f64(rand::random_range(0.9..=1.1));
        let terms = Terms {
            caller: caller::of_call(extensions, reading.call_timeout),
            draining: self.draining.clone(),
            until: tokio::time::Instant::now() + age,
            patience: Patience::new(Duration::from_millis(self.config.patience_ms.get())),
        };
        let mut watch = Watch::new(reading.clone(), (order_id, request.cursor), wake, place, terms);
        watch.look_first().await?;
        Ok(watch)
    }
}
