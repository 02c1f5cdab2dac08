//! Notifications: tells customers how their orders ended, where the order has a contact.
//!
//! | what happens | where it is decided |
//! | --- | --- |
//! | an order is confirmed, rejected or cancelled | [`domain::tell`] |
//! | a mail was handed over | [`domain::mail_sent`] |
//! | a mail could not be handed over | [`domain::mail_failed`] |
//!
//! A notice goes out at least once, always under the same Message-ID. Its address is in the due row alone, and goes
//! with it once the notice is sent or given up.

mod config;
pub mod domain;
mod evidence;
mod explain;
mod hear;
#[cfg(test)]
mod laws;
mod letter;
pub mod mail;
mod run;
mod service;
mod store;
mod trace;

pub use config::{NotificationsConfig, RetryConfig, SmtpConfig, SmtpTls};
pub use evidence::EVIDENCE;
pub use hear::{Told, hear};
pub use letter::Letter;
pub use run::{run, start};
pub use service::{EMAIL, Input, Notifications, Tried};
pub use store::MIGRATIONS;
