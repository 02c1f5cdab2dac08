//! What came of a call to the provider.

use std::time::Duration;

use spillway_proto::time::Timestamp;
use uuid::Uuid;

use super::task::{Step, Task};

/// The classes of what can come of a call. A lookup answers with the class of what it found.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Carried out: the money moved.
    Approved(Receipt),
    /// Refused for good.
    Declined { provider_reference: String, code: String },
    /// Refused, because the customer would have to act.
    ActionRequired { provider_reference: String, code: String },
    /// Taken, and not decided yet.
    Pending { provider_reference: String },
    /// Our request is at fault; it was not carried out.
    Rejected { code: String },
    /// Surely not carried out: too many calls. Not before so long.
    Throttled { after: Duration },
    /// Surely not carried out.
    Unavailable,
    /// A call with the same key is still being worked on.
    InFlight,
    /// No answer, or none that can be understood: carried out or not.
    Unknown,
    /// A lookup found nothing.
    Absent,
    /// A lookup found more than one under our reference with which money moves.
    Several,
}

/// What the provider says moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The provider's name for it.
    pub provider_reference: String,
    pub minor: i64,
    /// ISO 4217, as the provider writes it.
    pub currency: String,
}

impl Outcome {
    /// The name under which an answer is recorded; `None` for what says nothing of the charge.
    pub fn recorded_as(&self) -> Option<&'static str> {
        match self {
            Outcome::Approved(_) => Some("APPROVED"),
            Outcome::Declined { .. } => Some("DECLINED"),
            Outcome::ActionRequired { .. } => Some("ACTION_REQUIRED"),
            Outcome::Pending { .. } => Some("PENDING"),
            Outcome::Rejected { .. } => Some("REJECTED"),
            Outcome::Several => Some("SEVERAL"),
            Outcome::Throttled { .. }
            | Outcome::Unavailable
            | Outcome::InFlight
            | Outcome::Unknown
            | Outcome::Absent => None,
        }
    }

    /// Whether it means that the provider is sick. A decline is a healthy provider's answer, and so is a request
    /// of ours that it calls invalid.
    pub fn is_failure(&self) -> bool {
        match self {
            Outcome::Throttled { .. } | Outcome::Unavailable | Outcome::Unknown => true,
            Outcome::Approved(_)
            | Outcome::Declined { .. }
            | Outcome::ActionRequired { .. }
            | Outcome::Pending { .. }
            | Outcome::Rejected { .. }
            | Outcome::InFlight
            | Outcome::Absent
            | Outcome::Several => false,
        }
    }

    /// The class, as it is counted.
    pub fn class(&self) -> &'static str {
        match self {
            Outcome::Approved(_) => "approved",
            Outcome::Declined { .. } => "declined",
            Outcome::ActionRequired { .. } => "action_required",
            Outcome::Pending { .. } => "pending",
            Outcome::Rejected { .. } => "rejected",
            Outcome::Throttled { .. } => "throttled",
            Outcome::Unavailable => "unavailable",
            Outcome::InFlight => "in_flight",
            Outcome::Unknown => "unknown",
            Outcome::Absent => "absent",
            Outcome::Several => "several",
        }
    }

    /// What the provider says, in words.
    pub fn words(&self) -> &'static str {
        match self {
            Outcome::Approved(_) => "it was carried out",
            Outcome::Declined { .. } => "it was declined",
            Outcome::ActionRequired { .. } => "the customer would have to act; nothing was charged",
            Outcome::Pending { .. } => "it is still being decided",
            Outcome::Rejected { .. } => "our request is not valid",
            Outcome::Throttled { .. } => "too many calls",
            Outcome::Unavailable => "it cannot be reached, or refuses to work",
            Outcome::InFlight => "a call under the same key is still being worked on",
            Outcome::Unknown => "no answer, or none that can be understood",
            Outcome::Absent => "it knows of none",
            Outcome::Several => "it shows several under our reference",
        }
    }
}

/// The result of due work.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    pub task: Task,
    /// The id that follows from the task's key.
    pub charge_id: Uuid,
    /// Which try it was.
    pub tries: i64,
    /// What was really done: a key that is too old is looked up instead.
    pub step: Step,
    /// When the call began.
    pub called: Timestamp,
    pub outcome: Outcome,
}
