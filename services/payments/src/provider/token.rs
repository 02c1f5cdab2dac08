//! The bearer token. One from a file is read again when the provider refuses it: secrets are changed while we run.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use spillway_shared::config::resolve_secret;

/// The header that says who asks.
pub(super) struct Token {
    header: RwLock<Option<HeaderValue>>,
    file: Option<PathBuf>,
}

impl Token {
    /// `None` where the secret cannot stand in a header.
    pub fn new(secret: Option<&SecretString>, file: Option<PathBuf>) -> Option<Self> {
        let header = match secret {
            Some(secret) => Some(header(secret)?),
            None => None,
        };
        Some(Token { header: RwLock::new(header), file })
    }

    pub fn header(&self) -> Option<HeaderValue> {
        self.header.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// After the provider refused it.
    pub async fn refused(&self) {
        tracing::warn!("provider refuses the token");
        let Some(file) = self.file.clone() else { return };
        let read = tokio::task::spawn_blocking(move || resolve_secret(&None, &Some(file), "token"));
        match read.await {
            Ok(Ok(Some(secret))) => match header(&secret) {
                Some(header) => *self.header.write().unwrap_or_else(PoisonError::into_inner) = Some(header),
                None => tracing::warn!("token_file holds what no header can"),
            },
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(problem)) => tracing::warn!(%problem, "token cannot be read again"),
        }
    }
}

fn header(secret: &SecretString) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {}", secret.expose_secret())).ok()?;
    header.set_sensitive(true);
    Some(header)
}
