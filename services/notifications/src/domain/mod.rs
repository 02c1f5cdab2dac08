//! Decisions about notices: plain functions without a clock, a random number, I/O or SQL.

mod backoff;
mod delivery;
mod text;

pub use backoff::Patience;
pub use delivery::{Delivery, Ending, Key, State, Step, Trouble, mail_failed, mail_sent, tell};
pub use text::{Notice, Occasion, Text, text};
