//! Handing mails over: to a mail server, or into a folder.

mod folder;
mod message;
mod smtp;

use lettre::message::Mailbox;

use crate::config::NotificationsConfig;
use crate::domain::{Key, Trouble};
use crate::letter::Letter;
use folder::Folder;
use smtp::Smtp;

/// Where mails go.
pub struct Mailer {
    from: Mailbox,
    to: Destination,
}

enum Destination {
    Folder(Folder),
    Smtp(Smtp),
}

/// The configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadMailConfig(pub String);

impl Mailer {
    /// By the configuration; mails go into `default_folder` where it names neither a server nor a folder. Nothing is
    /// connected or made before the first mail.
    ///
    /// # Errors
    /// Where the sender is no address, the password cannot be read, or TLS cannot be set up.
    pub fn new(config: &NotificationsConfig, default_folder: std::path::PathBuf) -> Result<Self, BadMailConfig> {
        let from = config.from.parse().map_err(|error| BadMailConfig(format!("notifications.from: {error}")))?;
        let to = match &config.smtp.host {
            Some(host) => Destination::Smtp(Smtp::new(host, &config.smtp, config.workers.get())?),
            None => Destination::Folder(Folder::new(config.mail_folder.clone().unwrap_or(default_folder))),
        };
        Ok(Mailer { from, to })
    }

    /// The sender's domain.
    pub fn domain(&self) -> &str {
        self.from.email.domain()
    }

    /// How mails are handed over: `smtp`, or `file` where they go into a folder.
    pub fn protocol(&self) -> &'static str {
        match &self.to {
            Destination::Folder(_) => "file",
            Destination::Smtp(_) => "smtp",
        }
    }

    /// Hands a letter over. Once it has answered Ok, the mail is the server's to deliver, or in the folder.
    ///
    /// # Errors
    /// Why it was not, or may not have been, handed over.
    pub async fn send(&self, key: &Key, letter: &Letter) -> Result<(), Trouble> {
        let message = message::write(&self.from, letter)?;
        match &self.to {
            Destination::Folder(folder) => folder.put(format!("{}.email.eml", key.event), message.formatted()).await,
            Destination::Smtp(smtp) => smtp.send(message.envelope(), &message.formatted()).await,
        }
    }
}
