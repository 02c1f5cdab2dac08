//! The connection to NATS: made in the background, made again whenever it breaks.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use tokio::sync::watch;

use super::answering::{Answering, JetStreamState};
use super::config::{BusConfig, shown_url};
use super::servers::Servers;

/// A half-open connection is found within two of these.
const PING: Duration = Duration::from_secs(4);

/// How long what was said last may take to be sent, when the role ends.
const FLUSH: Duration = Duration::from_secs(1);

/// The client lets go of a request to JetStream after this long. Who asks waits less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The client lets go of a publish after this long. The relay waits less, and says it again under the same id.
const ACK_TIMEOUT: Duration = Duration::from_secs(60);

/// The credentials or the address cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use NATS at {url}: {why}")]
pub struct BusError {
    pub url: String,
    pub why: String,
}

/// A role's connection to NATS. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    pub(super) client: async_nats::Client,
    pub(super) jetstream: jetstream::Context,
    pub(super) config: Arc<BusConfig>,
    pub(super) answering: Answering,
    role: Arc<str>,
    connected: watch::Receiver<bool>,
}

impl Bus {
    /// Returns at once; the connection comes when it comes.
    pub async fn connect(config: &BusConfig, name: &str) -> Result<Self, BusError> {
        let failed = |why: String| BusError { url: shown_url(&config.url), why };
        let (tell, connected) = watch::channel(false);
        let tell = Arc::new(tell);
        let who = name.to_owned();
        let servers = Servers::of(&config.url).map_err(failed)?;
        let options = async_nats::ConnectOptions::new()
            .name(format!("spillway-{name}"))
            .retry_on_initial_connect()
            .ping_interval(PING)
            .connection_timeout(Duration::from_secs(3))
            .reconnect_delay_callback(|tries| Duration::from_millis((50 * tries.min(20)) as u64))
            .event_callback(move |event| {
                note(&who, &tell, &event);
                std::future::ready(())
            });
        let client = servers.sign_in(options).connect(servers.addresses).await.map_err(|e| failed(e.to_string()))?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .ack_timeout(ACK_TIMEOUT)
            .build(client.clone());
        let answering = Answering::new(name);
        Ok(Bus { client, jetstream, config: Arc::new(config.clone()), answering, role: name.into(), connected })
    }

    /// Whose connection it is, as a label of metrics.
    pub(crate) fn role(&self) -> Arc<str> {
        self.role.clone()
    }

    /// Whether NATS answers now.
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// The connection's state, as it changes.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// What JetStream did when it was last spoken to, as that changes.
    pub fn jetstream(&self) -> watch::Receiver<JetStreamState> {
        self.answering.subscribe()
    }

    /// Whether JetStream carries now what is said: NATS is connected, and JetStream answers and takes it.
    pub fn carries(&self) -> bool {
        self.is_connected() && self.answering.subscribe().borrow().problem().is_none()
    }

    /// Lets go of NATS, once everything is said.
    pub async fn close(&self) {
        // Acknowledgements may still wait to be sent. Without a connection they would wait for ever.
        if self.is_connected()
            && let Ok(Err(error)) = tokio::time::timeout(FLUSH, self.client.flush()).await
        {
            tracing::debug!(%error, "what was said last may not have been sent");
        }
        if let Err(error) = self.client.drain().await {
            tracing::debug!(%error, "connection to nats was not closed in order");
        }
    }

    /// The plain client: for what is neither a ledger's stream nor a call.
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }
}

fn note(who: &str, tell: &watch::Sender<bool>, event: &async_nats::Event) {
    use async_nats::Event;
    match event {
        Event::Connected => {
            tell.send_replace(true);
            tracing::info!(service = who, "connected to nats");
        }
        Event::Disconnected => {
            tell.send_replace(false);
            tracing::warn!(service = who, "disconnected from nats");
        }
        Event::Closed => {
            tell.send_replace(false);
            tracing::debug!(service = who, "connection to nats closed");
        }
        Event::LameDuckMode => tracing::info!(service = who, "nats is going away"),
        Event::Draining => tracing::debug!(service = who, "leaving nats"),
        // A publish without the right to it is seen by its caller as a timeout only: the reason comes here.
        Event::SlowConsumer(_) | Event::ServerError(_) | Event::ClientError(_) => {
            tracing::warn!(service = who, %event, "nats reports a problem");
        }
    }
}
