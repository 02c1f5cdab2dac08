//! What an operator can set. The doc comments are the manual.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spillway_shared::config::{Problem, Secret, Validate, join};

use crate::domain::Patience;

/// Telling customers how their orders ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NotificationsConfig {
    /// The sender of all mails: `orders@example.com`, or `Example Shop <orders@example.com>`.
    pub from: String,
    /// The folder into which mails are written, a file `<event id>.email.eml` each, where no `smtp.host` is set.
    /// Without it, `mail` in the data folder.
    pub mail_folder: Option<PathBuf>,
    /// Mails in hand at a time, over all partitions.
    pub workers: NonZeroUsize,
    /// The mail server.
    pub smtp: SmtpConfig,
    /// When a mail that could not be handed over is tried again.
    pub retry: RetryConfig,
}

/// The mail server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpConfig {
    /// Its name or address. Without it, mails are written into `mail_folder`.
    pub host: Option<String>,
    /// Its port; without it, the usual one: 465 with `tls = "implicit"`, 587 with "starttls", 25 with "none".
    pub port: Option<u16>,
    /// How the connection is made secure.
    pub tls: SmtpTls,
    /// Who signs in; without it, nobody does.
    pub username: Option<String>,
    /// The password to sign in with.
    pub password: Option<Secret>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// How long handing over one mail may take, from connecting to the last answer, in milliseconds.
    pub timeout_ms: u64,
}

/// How the connection to the mail server is made secure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// TLS from the first byte.
    Implicit,
    /// Plain at first, then TLS before anything is told; a server without it is not used.
    Starttls,
    /// No TLS: for a server on the same machine.
    None,
}

/// When a mail that could not be handed over is tried again: exponential, with full jitter. What the server refuses
/// for good (5xx) is not tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// The first wait is up to so many milliseconds; each further one up to twice as long.
    pub base_ms: u64,
    /// The longest wait, in milliseconds.
    pub max_ms: u64,
    /// Tries after which a mail is given up.
    pub tries: u32,
    /// Age in seconds at which a mail is given up. RFC 5321, 4.5.4.1, asks for 4 to 5 days.
    pub age_s: u64,
}

impl Default for NotificationsConfig {
    fn default() -> Self {
        NotificationsConfig {
            from: "Spillway <orders@localhost>".to_owned(),
            mail_folder: None,
            workers: NonZeroUsize::new(16).expect("not zero"),
            smtp: SmtpConfig::default(),
            retry: RetryConfig::default(),
        }
    }
}

impl Default for SmtpConfig {
    fn default() -> Self {
        SmtpConfig {
            host: None,
            port: None,
            tls: SmtpTls::Starttls,
            username: None,
            password: None,
            password_file: None,
            timeout_ms: 20_000,
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        RetryConfig { base_ms: 5_000, max_ms: 15 * 60 * 1000, tries: 1_000, age_s: 4 * 24 * 3600 }
    }
}

impl SmtpConfig {
    /// The port that is used.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            SmtpTls::Implicit => lettre::transport::smtp::SUBMISSIONS_PORT,
            SmtpTls::Starttls => lettre::transport::smtp::SUBMISSION_PORT,
            SmtpTls::None => lettre::transport::smtp::SMTP_PORT,
        })
    }

    /// How long handing over one mail may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    fn is_local(&self) -> bool {
        let host = self.host.as_deref().unwrap_or_default();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl RetryConfig {
    /// The figures that decisions go by.
    pub fn patience(&self) -> Patience {
        Patience {
            base: Duration::from_millis(self.base_ms),
            max: Duration::from_millis(self.max_ms),
            tries: self.tries.into(),
            age: Duration::from_secs(self.age_s),
        }
    }
}

impl Validate for NotificationsConfig {
    fn problems(&self, at: &str, out: &mut Vec<Problem>) {
        // The domain goes into Message-IDs, which are ASCII.
        if !self.from.parse::<Mailbox>().is_ok_and(|from| from.email.to_string().is_ascii()) {
            out.push(Problem::new(join(at, "from"), "is no mail address in ASCII, with or without a name before it"));
        } else if self.smtp.host.is_some() && self.from == NotificationsConfig::default().from {
            out.push(Problem::new(join(at, "from"), "must be set when smtp.host is: mail servers refuse localhost"));
        }
        self.smtp.problems(&join(at, "smtp"), out);
        let at_retry = |key: &str| join(&join(at, "retry"), key);
        let retry = &self.retry;
        for (key, value) in [("base_ms", retry.base_ms), ("tries", retry.tries.into()), ("age_s", retry.age_s)] {
            if value == 0 {
                out.push(Problem::new(at_retry(key), "must be at least 1"));
            }
        }
        if retry.max_ms < retry.base_ms {
            out.push(Problem::new(at_retry("max_ms"), "must not be less than base_ms"));
        }
    }
}

impl Validate for SmtpConfig {
    fn problems(&self, at: &str, out: &mut Vec<Problem>) {
        let has_password = self.password.is_some() || self.password_file.is_some();
        if self.host.as_deref().is_some_and(|host| host.trim().is_empty()) {
            out.push(Problem::new(join(at, "host"), "is empty: leave the key out to write mails into a folder"));
        }
        if self.password.is_some() && self.password_file.is_some() {
            out.push(Problem::new(join(at, "password_file"), "is given beside password: leave one of them out"));
        }
        if has_password != self.username.is_some() {
            out.push(Problem::new(join(at, "username"), "goes with password or password_file: set both or none"));
        }
        if self.tls == SmtpTls::None && self.username.is_some() && !self.is_local() {
            let message = "must not be \"none\" with a username: the password would be sent for anybody to read";
            out.push(Problem::new(join(at, "tls"), message));
        }
        if self.timeout_ms == 0 {
            out.push(Problem::new(join(at, "timeout_ms"), "must be at least 1"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(config: &NotificationsConfig) -> Vec<String> {
        let mut out = Vec::new();
        config.problems("notifications", &mut out);
        out.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn the_defaults_are_sound_and_every_mistake_is_told_at_once() {
        let mut config = NotificationsConfig::default();
        assert_eq!(problems(&config), Vec::<String>::new());
        config.from = "nobody".to_owned();
        config.smtp.host = Some("mail.example.com".to_owned());
        config.smtp.tls = SmtpTls::None;
        config.smtp.username = Some("ada".to_owned());
        config.smtp.password = Some(Secret::from("hush"));
        config.smtp.password_file = Some("/nowhere".into());
        config.smtp.timeout_ms = 0;
        config.retry.tries = 0;
        config.retry.max_ms = 1;
        let at = |key| format!("notifications.{key}");
        let keys = ["from", "smtp.password_file", "smtp.tls", "smtp.timeout_ms", "retry.tries", "retry.max_ms"];
        assert_eq!(problems(&config), keys.map(at));
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn a_password_may_go_unencrypted_only_to_this_machine() {
        let mut config = NotificationsConfig { from: "a@b.example".to_owned(), ..NotificationsConfig::default() };
        config.smtp.tls = SmtpTls::None;
        config.smtp.username = Some("ada".to_owned());
        config.smtp.password = Some(Secret::from("hush"));
        for (host, is_sound) in [("127.0.0.1", true), ("::1", true), ("localhost", true), ("10.0.0.1", false)] {
            config.smtp.host = Some(host.to_owned());
            assert_eq!(problems(&config).is_empty(), is_sound, "{host}");
        }
    }

    #[test]
    fn a_server_needs_a_sender_and_a_name_needs_a_password() {
        let mut config = NotificationsConfig::default();
        config.smtp.host = Some("mail.example.com".to_owned());
        config.smtp.username = Some("ada".to_owned());
        assert_eq!(problems(&config), ["notifications.from", "notifications.smtp.username"]);
    }

    #[test]
    fn the_port_follows_from_the_kind_of_security() {
        let port = |tls| SmtpConfig { tls, ..SmtpConfig::default() }.port();
        assert_eq!([SmtpTls::Implicit, SmtpTls::Starttls, SmtpTls::None].map(port), [465, 587, 25]);
        assert_eq!(SmtpConfig { port: Some(2525), ..SmtpConfig::default() }.port(), 2525);
    }
}
