//! One attempt to charge or refund, as asked and as the ledger keeps it.

use std::sync::Arc;

use crate::code::Code;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Charge,
    Refund,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Charge => "charge",
            Kind::Refund => "refund",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Kind> {
        [Kind::Charge, Kind::Refund].into_iter().find(|kind| kind.name() == name)
    }

    /// What the public id of such an object begins with.
    pub(crate) fn id_prefix(self) -> &'static str {
        match self {
            Kind::Charge => "ch",
            Kind::Refund => "re",
        }
    }
}

/// What became of an attempt. The first four are charges and refunds that can be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Succeeded,
    Declined,
    /// Money will have moved once `settles_ms` is reached; a lookup says so then.
    Pending,
    RequiresAction,
    /// The key's stored answer was given again.
    Replayed,
    /// Nothing was executed; the code says why.
    NotExecuted,
}

impl Status {
    const ALL: [Status; 6] = [
        Status::Succeeded,
        Status::Declined,
        Status::Pending,
        Status::RequiresAction,
        Status::Replayed,
        Status::NotExecuted,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Succeeded => "succeeded",
            Status::Declined => "declined",
            Status::Pending => "pending",
            Status::RequiresAction => "requires_action",
            Status::Replayed => "replayed",
            Status::NotExecuted => "not_executed",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether money moves.
    pub(crate) fn has_effect(self) -> bool {
        matches!(self, Status::Succeeded | Status::Pending)
    }

    pub(crate) fn is_object(self) -> bool {
        !matches!(self, Status::Replayed | Status::NotExecuted)
    }
}

/// A well-formed request to charge or refund.
#[derive(Clone, Debug)]
pub(crate) struct Create {
    pub kind: Kind,
    /// Shared with the set of keys in use.
    pub idempotency_key: Arc<str>,
    pub reference: String,
    /// In minor units of the currency.
    pub amount: i64,
    pub currency: String,
    /// The payment method of a charge, the charge id of a refund.
    pub source: String,
}

/// One row of the ledger: an attempt and what became of it. Written once, never changed.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub id: i64,
    /// Unix time in milliseconds.
    pub time_ms: i64,
    /// 1 for the first try of a key, then 2, 3, ...
    pub attempt: i64,
    pub asked: Create,
    /// What moved, in minor units; what was asked for where nothing moved.
    pub amount: i64,
    pub status: Status,
    /// Why the bank declined it.
    pub decline: Option<Code>,
    /// The error that was the answer, whether or not something had been executed; none where the charge or refund
    /// itself was the answer.
    pub error: Option<Code>,
    /// The HTTP status of its answer, 0 where there was to be none.
    pub http: u16,
    /// Whether the provider meant to answer. Whether the answer arrived, it cannot know.
    pub answered: bool,
    /// The row whose answer the key has from now on: itself (`Some(0)` before it has an id), an earlier one for a
    /// replay, none where nothing is stored.
    pub stored_id: Option<i64>,
    pub settles_ms: Option<i64>,
}

impl Entry {
    /// Its status as a lookup shows it at this moment.
    pub(crate) fn status_at(&self, now_ms: i64) -> Status {
        match self.settles_ms {
            Some(settles_ms) if now_ms >= settles_ms && self.status == Status::Pending => Status::Succeeded,
            Some(_) | None => self.status,
        }
    }

    pub(crate) fn has_same_parameters_as(&self, other: &Create) -> bool {
        self.asked.kind == other.kind
            && self.asked.reference == other.reference
            && self.asked.amount == other.amount
            && self.asked.currency == other.currency
            && self.asked.source == other.source
    }
}
