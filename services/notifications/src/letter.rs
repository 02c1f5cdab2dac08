//! What a due row holds: all that it takes to write the mail, the same for every try.

use prost::Message;
use spillway_proto::time;

use crate::domain::{Notice, text};

/// The payload of a due row. Fields are only ever added.
#[derive(Clone, PartialEq, Message)]
pub struct Letter {
    /// A mail address. It is kept nowhere else.
    #[prost(string, tag = "1")]
    pub recipient: String,
    /// The Message-ID, with its angle brackets.
    #[prost(string, tag = "2")]
    pub message_id: String,
    /// W3C trace context; empty where there is none.
    #[prost(string, tag = "3")]
    pub traceparent: String,
    /// Unix time in microseconds at which the event was said: the date of the mail.
    #[prost(int64, tag = "4")]
    pub time_us: i64,
    #[prost(string, tag = "5")]
    pub subject: String,
    #[prost(string, tag = "6")]
    pub body: String,
}

impl Letter {
    /// The letter of a notice. Its Message-ID follows from the event and the channel, so that a repeat can be told by
    /// whoever gets it; `domain` is that of the sender.
    pub fn of(notice: &Notice, domain: &str) -> Self {
        let text = text(notice.occasion, notice.order_id, notice.total);
        Letter {
            recipient: notice.recipient.clone(),
            message_id: format!("<{}.email@{domain}>", notice.event_id),
            traceparent: notice.traceparent.clone(),
            time_us: time::to_micros(notice.time),
            subject: text.subject,
            body: text.body,
        }
    }
}
