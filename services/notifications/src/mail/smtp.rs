//! A mail server, reached by lettre over connections that are kept and used again.
//!
//! Why not lettre's own pool: its time limit covers connecting alone, and a mail that is abandoned half way leaves
//! its connection in the pool, where the answers to one mail would be taken for those to the next. Here one limit
//! covers all, and a connection that did not end well is closed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::{ClientId, Extension};
use secrecy::ExposeSecret;
use spillway_shared::config::resolve_secret;

use super::BadMailConfig;
use crate::config::{SmtpConfig, SmtpTls};
use crate::domain::Trouble;

/// A connection that was idle for longer is not used again: servers close theirs after some minutes.
const IDLE: Duration = Duration::from_secs(60);

/// Replies 53x speak of signing in (RFC 4954, 6): no mail is at fault.
const OF_SIGNING_IN: std::ops::RangeInclusive<u16> = 530..=539;

pub struct Smtp {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    timeout: Duration,
    /// Connections that ended their last mail well.
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
    /// How many of them are kept.
    keep: usize,
}

enum Tls {
    Implicit(TlsParameters),
    Starttls(TlsParameters),
    None,
}

impl Smtp {
    pub fn new(host: &str, config: &SmtpConfig, keep: usize) -> Result<Self, BadMailConfig> {
        let parameters = || {
            let made = TlsParameters::new(host.to_owned());
            made.map_err(|error| BadMailConfig(format!("notifications.smtp.tls: cannot be set up: {error}")))
        };
        let tls = match config.tls {
            SmtpTls::Implicit => Tls::Implicit(parameters()?),
            SmtpTls::Starttls => Tls::Starttls(parameters()?),
            SmtpTls::None => Tls::None,
        };
        let password = resolve_secret(&config.password, &config.password_file, "notifications.smtp.password")
            .map_err(|problem| BadMailConfig(problem.to_string()))?;
        let credentials = config.username.clone().zip(password);
        Ok(Smtp {
            host: host.to_owned(),
            port: config.port(),
            tls,
            credentials: credentials.map(|(name, password)| Credentials::new(name, password.expose_secret().into())),
            timeout: config.timeout(),
            idle: Mutex::default(),
            keep,
        })
    }

    /// Hands a mail over, within the one time limit.
    pub async fn send(&self, envelope: &Envelope, mail: &[u8]) -> Result<(), Trouble> {
        // Where time runs out, the connection is dropped with the future, and closed.
        let outcome = tokio::time::timeout(self.timeout, self.try_send(envelope, mail)).await;
        let outcome = outcome.unwrap_or(Err(Trouble::TimedOut));
        if let Err(trouble) = outcome {
            tracing::warn!(host = %self.host, port = self.port, %trouble, "mail was not handed over");
        }
        outcome
    }

    async fn try_send(&self, envelope: &Envelope, mail: &[u8]) -> Result<(), Trouble> {
        let mut connection = match self.reuse().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let is_ascii = envelope.to().iter().all(|address| address.to_string().is_ascii());
        if !is_ascii && !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            self.park(connection);
            return Err(Trouble::BadAddress);
        }
        connection.send(envelope, mail).await.map_err(|error| of_mail(&error))?;
        self.park(connection);
        Ok(())
    }

    /// A connection that is still good.
    async fn reuse(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let (mut connection, since) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if since.elapsed() <= IDLE && connection.test_connected().await {
                return Some(connection);
            }
        }
    }

    fn park(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.keep {
            idle.push((connection, Instant::now()));
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Trouble> {
        let hello = ClientId::default();
        let (implicit, starttls) = match &self.tls {
            Tls::Implicit(parameters) => (Some(parameters.clone()), None),
            Tls::Starttls(parameters) => (None, Some(parameters.clone())),
            Tls::None => (None, None),
        };
        let address = (self.host.as_str(), self.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(address, None, &hello, implicit, None);
        let mut connection = connecting.await.map_err(|error| of_server(&error))?;
        if let Some(parameters) = starttls {
            if !connection.can_starttls() {
                return Err(Trouble::Insecure);
            }
            connection.starttls(parameters, &hello).await.map_err(|error| of_server(&error))?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await.map_err(|error| of_server(&error))?;
        }
        Ok(connection)
    }
}

type Error = lettre::transport::smtp::Error;

/// What an error means that came while a mail was handed over.
fn of_mail(error: &Error) -> Trouble {
    match error.status().map(u16::from) {
        Some(code) if error.is_permanent() && !OF_SIGNING_IN.contains(&code) => Trouble::Refused(code),
        Some(_) | None => of_server(error),
    }
}

/// What an error means that came before any mail: no mail is at fault.
fn of_server(error: &Error) -> Trouble {
    match error.status().map(u16::from) {
        Some(code) => Trouble::Deferred(code),
        None if error.is_tls() => Trouble::Insecure,
        None if error.is_response() => Trouble::Garbled,
        None if error.is_client() => Trouble::Unusable,
        None => Trouble::Unreachable,
    }
}
