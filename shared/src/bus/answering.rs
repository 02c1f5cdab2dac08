//! Whether JetStream answers. A server may be connected and its JetStream silent (stopped, a disk that fails), or refuse
//! what is published (no space, no stream). Then what is committed waits in the outboxes, and listeners hear by asking.

use std::sync::Arc;

use tokio::sync::watch;

/// What JetStream did last, as one connection saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JetStreamState {
    /// It was waited for in vain, and for what.
    pub silent: Option<String>,
    /// What was published was not taken, and why.
    pub refusing: Option<String>,
}

impl JetStreamState {
    /// What is wrong, in words.
    pub fn problem(&self) -> Option<&str> {
        self.silent.as_deref().or(self.refusing.as_deref())
    }
}

/// Keeps the state. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Answering {
    role: Arc<str>,
    state: Arc<watch::Sender<JetStreamState>>,
}

impl Answering {
    pub fn new(role: &str) -> Self {
        Answering { role: role.into(), state: Arc::default() }
    }

    /// It answered, whatever it said.
    pub fn answered(&self) {
        self.change(|state| state.silent = None);
    }

    /// It took what was published.
    pub fn took(&self) {
        self.change(|state| *state = JetStreamState::default());
    }

    /// It was waited for in vain.
    pub fn was_silent(&self, about: &str) {
        self.change(|state| state.silent = Some(format!("JetStream does not answer: {about}")));
    }

    /// It did not take what was published.
    pub fn refused(&self, why: &str) {
        self.change(|state| {
            let refusing = Some(format!("JetStream takes nothing: {why}"));
            *state = JetStreamState { silent: None, refusing };
        });
    }

    fn change(&self, change: impl FnOnce(&mut JetStreamState)) {
        let mut news = None;
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            let is_told = before.problem().is_some() == state.problem().is_some();
            news = (!is_told).then(|| state.clone());
            before != *state
        });
        match news.as_ref().map(JetStreamState::problem) {
            None => {}
            Some(None) => tracing::info!(service = &*self.role, "JetStream answers again"),
            Some(Some(why)) => {
                metrics::counter!("spillway_jetstream_failures_total", "role" => self.role.clone()).increment(1);
                tracing::error!(
                    service = &*self.role,
                    why,
                    "what is committed waits in the outbox, listeners ask for it"
                );
            }
        }
    }

    /// What it did last, as that changes.
    pub fn subscribe(&self) -> watch::Receiver<JetStreamState> {
        self.state.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_with_the_next_publish_and_a_silence_with_any_answer() {
        let answering = Answering::new("orders");
        let problem = || answering.subscribe().borrow().problem().map(str::to_owned);
        assert_eq!(problem(), None);
        answering.was_silent("a stream");
        assert_eq!(problem().as_deref(), Some("JetStream does not answer: a stream"));
        answering.answered();
        assert_eq!(problem(), None);
        answering.refused("no space");
        answering.answered();
        assert_eq!(problem().as_deref(), Some("JetStream takes nothing: no space"));
        answering.took();
        assert_eq!(problem(), None);
    }
}
