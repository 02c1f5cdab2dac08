//! Notifications from outside: events in, mails out.

mod folder;
mod heard;
mod kit;
mod role;
mod secured;
mod sink;
mod smtp;
