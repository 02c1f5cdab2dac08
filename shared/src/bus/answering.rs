//! Whether JetStream answers. A server may be connected and its JetStream silent: stopped, without space, a disk that
//! fails. Then nothing is published, and listeners hear by asking.

use std::sync::Arc;

use tokio::sync::watch;

/// What JetStream did last, as one connection saw it. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Answering {
    role: Arc<str>,
    last: Arc<watch::Sender<Result<(), String>>>,
}

impl Answering {
    pub fn new(role: &str) -> Self {
        Answering { role: role.into(), last: Arc::new(watch::Sender::new(Ok(()))) }
    }

    /// It answered, whatever it said.
    pub fn answered(&self) {
        let is_news = self.last.send_if_modified(|last| last.is_err() && std::mem::replace(last, Ok(())).is_err());
        if is_news {
            tracing::info!(client = %self.role, "JetStream answers again");
        }
    }

    /// It was waited for in vain.
    pub fn was_silent(&self, about: &str) {
        let why = format!("JetStream does not answer: {about}");
        let is_news = self.last.send_if_modified(|last| {
            let is_news = last.is_ok();
            *last = Err(why.clone());
            is_news
        });
        if is_news {
            metrics::counter!("spillway_jetstream_silences_total", "role" => self.role.clone()).increment(1);
            tracing::error!(client = %self.role, why, "what is committed waits in the outboxes, listeners ask them");
        }
    }

    /// What it did last, as that changes.
    pub fn subscribe(&self) -> watch::Receiver<Result<(), String>> {
        self.last.subscribe()
    }
}
