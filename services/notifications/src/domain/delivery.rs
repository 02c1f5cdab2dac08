//! The life of one notice on one channel: PENDING until it is SENT or FAILED.

use std::fmt;
use std::time::Duration;

use spillway_proto::time::Timestamp;
use spillway_proto::{EventId, OrderId};

use super::backoff::Patience;

/// Which notice: the event that it tells of, and its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub order: OrderId,
    pub event: EventId,
}

/// One notice on one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub state: State,
    /// The try that is due or was the last, from 1.
    pub attempt: i64,
    /// When the notice was asked for.
    pub told_at: Timestamp,
    /// When it was sent or given up.
    pub ended_at: Option<Timestamp>,
    /// Why it was given up, without any address in it.
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// A try is due.
    Pending,
    /// Handed over.
    Sent,
    /// Given up.
    Failed,
}

impl State {
    pub const ALL: [State; 3] = [State::Pending, State::Sent, State::Failed];

    /// As SQL keeps it.
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "PENDING",
            State::Sent => "SENT",
            State::Failed => "FAILED",
        }
    }

    /// From its name.
    pub fn parse(name: &str) -> Option<Self> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Why a mail was not handed over. What the server said is not in it but for the code: servers name addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The server will never take it: a reply of 5xx to the sender, the recipient or the mail.
    Refused(u16),
    /// The address is none that mail can be sent to.
    BadAddress,
    /// The due row cannot be read.
    Unreadable,
    /// The server does not take it now: a reply of 4xx, or one that speaks of us and not of the mail.
    Deferred(u16),
    Unreachable,
    TimedOut,
    /// The server's certificate does not convince, or it speaks no TLS where it must.
    Insecure,
    /// The server broke off, or what it answers is no SMTP.
    Garbled,
    /// The server lacks what is needed to sign in.
    Unusable,
    /// The folder of mails cannot be written.
    Folder(std::io::ErrorKind),
}

impl Trouble {
    /// Trying again would end the same.
    pub fn is_permanent(self) -> bool {
        match self {
            Trouble::Refused(_) | Trouble::BadAddress | Trouble::Unreadable => true,
            Trouble::Deferred(_)
            | Trouble::Unreachable
            | Trouble::TimedOut
            | Trouble::Insecure
            | Trouble::Garbled
            | Trouble::Unusable
            | Trouble::Folder(_) => false,
        }
    }

    /// What kind of trouble, as a span has it.
    pub fn name(self) -> &'static str {
        match self {
            Trouble::Refused(_) => "refused",
            Trouble::BadAddress => "bad_address",
            Trouble::Unreadable => "unreadable",
            Trouble::Deferred(_) => "deferred",
            Trouble::Unreachable => "unreachable",
            Trouble::TimedOut => "timed_out",
            Trouble::Insecure => "insecure",
            Trouble::Garbled => "garbled",
            Trouble::Unusable => "unusable",
            Trouble::Folder(_) => "folder",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Refused(code) => write!(f, "the mail server refused it for good ({code})"),
            Trouble::BadAddress => f.write_str("no mail can be sent to the address"),
            Trouble::Unreadable => f.write_str("what was to be sent cannot be read"),
            Trouble::Deferred(code) => write!(f, "the mail server did not take it ({code})"),
            Trouble::Unreachable => f.write_str("the mail server cannot be reached"),
            Trouble::TimedOut => f.write_str("the mail server did not answer in time"),
            Trouble::Insecure => f.write_str("no secure connection to the mail server"),
            Trouble::Garbled => f.write_str("the mail server broke off"),
            Trouble::Unusable => f.write_str("the mail server cannot be used as configured"),
            Trouble::Folder(kind) => write!(f, "the mail folder cannot be written ({kind})"),
        }
    }
}

/// What a result leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It had ended before, or the result is of an earlier try.
    Nothing,
    /// Another try.
    TryAgain { delivery: Delivery, at: Timestamp },
    /// Nothing more is tried.
    End { delivery: Delivery, ending: Ending },
}

/// How a notice ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Sent,
    Failed { error: String },
}

/// Asks for a notice. `None` where it was asked for before.
pub fn tell(known: Option<&Delivery>, at: Timestamp) -> Option<Delivery> {
    match known {
        Some(_) => None,
        None => Some(Delivery { state: State::Pending, attempt: 1, told_at: at, ended_at: None, error: None }),
    }
}

/// The mail was handed over. That is a fact, whichever try it was.
pub fn mail_sent(delivery: &Delivery, at: Timestamp) -> Step {
    match delivery.state {
        State::Pending => {
            let delivery = Delivery { state: State::Sent, ended_at: Some(at), ..delivery.clone() };
            Step::End { delivery, ending: Ending::Sent }
        }
        State::Sent | State::Failed => Step::Nothing,
    }
}

/// A try failed.
pub fn mail_failed(
    key: &Key,
    delivery: &Delivery,
    attempt: i64,
    trouble: Trouble,
    patience: &Patience,
    at: Timestamp,
) -> Step {
    match delivery.state {
        State::Pending if attempt == delivery.attempt => {}
        State::Pending | State::Sent | State::Failed => return Step::Nothing,
    }
    let next = later(at, patience.wait(key, attempt));
    let too_late = next > later(delivery.told_at, patience.age);
    if trouble.is_permanent() || attempt >= patience.tries || too_late {
        let error = match trouble.is_permanent() {
            true => trouble.to_string(),
            false => format!("given up after {attempt} tries: {trouble}"),
        };
        let ended =
            Delivery { state: State::Failed, ended_at: Some(at), error: Some(error.clone()), ..delivery.clone() };
        return Step::End { delivery: ended, ending: Ending::Failed { error } };
    }
    Step::TryAgain { delivery: Delivery { attempt: attempt + 1, ..delivery.clone() }, at: next }
}

fn later(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}
