//! What the relay has on its way: published, not yet acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;

use crate::ledger::Sent;

/// Messages that may wait for their acknowledgement.
const IN_FLIGHT: usize = 64;

/// A publish without an answer counts as failed after this long at first, and is repeated under the same id.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest that is waited for an answer, after several were waited for in vain: a link may only be slow.
const LONGEST_PATIENCE: Duration = Duration::from_secs(40);

/// Why a publish did not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotPublished {
    #[error("no acknowledgement within {} s", .0.as_secs())]
    NoAnswer(Duration),
    #[error("no stream takes it")]
    NoStream,
    #[error("stream {0} took it, which is not ours")]
    OtherStream(String),
    #[error("{0}")]
    Refused(String),
}

impl NotPublished {
    /// As a label of a metric.
    pub fn cause(&self) -> &'static str {
        match self {
            NotPublished::NoAnswer(_) => "no_answer",
            NotPublished::NoStream => "no_stream",
            NotPublished::OtherStream(_) => "other_stream",
            NotPublished::Refused(_) => "refused",
        }
    }
}

impl From<PublishError> for NotPublished {
    fn from(error: PublishError) -> Self {
        match error.kind() {
            PublishErrorKind::StreamNotFound => NotPublished::NoStream,
            _ => NotPublished::Refused(error.to_string()),
        }
    }
}

type Settled = (i64, Result<PublishAck, NotPublished>);

/// The publishes on their way, oldest first, and how many there may be. After a failure one goes alone, and the number
/// grows again with every acknowledgement: a link that is too slow is not fed the same messages over and over.
pub(super) struct Flight {
    pending: FuturesOrdered<BoxFuture<'static, Settled>>,
    window: usize,
    patience: Duration,
    /// The last number that was published.
    pub sent: i64,
    /// What is traced of what is on its way, by number.
    pub traced: BTreeMap<i64, Sent>,
}

impl Flight {
    pub fn after(number: i64) -> Self {
        Flight {
            pending: FuturesOrdered::new(),
            window: IN_FLIGHT,
            patience: PATIENCE,
            sent: number,
            traced: BTreeMap::new(),
        }
    }

    /// How many more may be sent now.
    pub fn room(&self) -> usize {
        self.window.saturating_sub(self.pending.len())
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub fn push(&mut self, number: i64, acknowledged: PublishAckFuture) {
        let patience = self.patience;
        self.sent = number;
        self.pending.push_back(Box::pin(async move {
            let outcome = match tokio::time::timeout(patience, acknowledged.into_future()).await {
                Ok(Ok(acknowledged)) => Ok(acknowledged),
                Ok(Err(error)) => Err(error.into()),
                Err(_elapsed) => Err(NotPublished::NoAnswer(patience)),
            };
            (number, outcome)
        }));
    }

    /// The outcome of the oldest; none where nothing is on its way.
    pub async fn next(&mut self) -> Option<Settled> {
        self.pending.next().await
    }

    /// One was acknowledged.
    pub fn succeeded(&mut self) {
        self.window = IN_FLIGHT.min(self.window * 2);
        self.patience = PATIENCE;
    }

    /// One was not. Hears the others out, which were sent behind it, and begins again after `number`: what the stream
    /// took of them it takes for a duplicate then.
    pub async fn failed(&mut self, number: i64) {
        while self.pending.next().await.is_some() {}
        self.traced.clear();
        self.window = 1;
        self.patience = LONGEST_PATIENCE.min(self.patience * 2);
        self.sent = number;
    }

    /// The connection is gone, and with it every answer on its way: everything after `number` is said again on the next.
    pub fn cut(&mut self, number: i64) {
        self.pending = FuturesOrdered::new();
        self.traced.clear();
        self.sent = number;
    }
}
