//! What becomes of one attempt to charge or refund: a pure function of the request, what the ledger knows and the
//! mode. The clock, the ledger and the dice come in as arguments.

use crate::code::Code;
use crate::entry::{Create, Entry, Kind, Status};
use crate::mode::{Mode, Rate};
use crate::steering::{Charge, Method, Trouble, steered_by};

/// What the ledger knows that bears on an attempt.
pub(crate) struct Known<'a> {
    /// Which try of its key this is, from 1.
    pub attempt: i64,
    /// Another request with this key is being worked on at this moment.
    pub key_in_use: bool,
    /// The attempt whose answer is stored for this key and still within its window.
    pub stored: Option<&'a Entry>,
    /// The charge that a refund names.
    pub charge: Option<&'a ChargeState>,
}

/// A charge and what has been refunded of it, in minor units.
pub(crate) struct ChargeState {
    pub entry: Entry,
    pub refunded: i64,
}

/// How the connection hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Answered,
    /// Cut without an answer.
    Cut,
    /// Held for a while, then cut without an answer.
    HeldThenCut,
    /// Never answered.
    Hanging,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub status: Status,
    /// Why the bank declined it.
    pub decline: Option<Code>,
    /// The error that is the answer; without one the charge or refund itself is.
    pub error: Option<Code>,
    /// The HTTP status of the answer.
    pub http: u16,
    pub delivery: Delivery,
    /// What moves, in minor units.
    pub amount: i64,
    /// Whether its answer is stored for the key.
    pub is_stored: bool,
    /// It becomes `succeeded` after the configured time.
    pub settles_later: bool,
}

/// The HTTP status of a charge or refund that was made.
const CREATED: u16 = 201;

/// The rules in the order in which they apply; the first that has something to say decides.
pub(crate) fn decide(asked: &Create, known: &Known<'_>, mode: &Mode, now_ms: i64) -> Decision {
    if known.key_in_use {
        return not_executed(asked, Code::IdempotencyKeyInUse);
    }
    if let Some(refusal) = refused_by_mode(asked, known, mode) {
        return refusal;
    }
    if let Some(stored) = known.stored {
        return replayed(asked, stored, mode);
    }
    let executed = match asked.kind {
        Kind::Charge => charged(asked, known, mode),
        Kind::Refund => refunded(asked, known, now_ms),
    };
    troubled_by_mode(executed, asked, known, mode)
}

/// Before anything is looked at: the provider as a whole does not work. Nothing of it is stored for the key.
fn refused_by_mode(asked: &Create, known: &Known<'_>, mode: &Mode) -> Option<Decision> {
    if mode.black_hole {
        let hanging = not_executed(asked, Code::BlackHole);
        return Some(Decision { delivery: Delivery::Hanging, ..hanging });
    }
    if mode.unauthorized {
        return Some(not_executed(asked, Code::Unauthorized));
    }
    if mode.throttle {
        return Some(not_executed(asked, Code::Throttled));
    }
    if mode.strikes(Rate::Error, &asked.idempotency_key, known.attempt) {
        return Some(not_executed(asked, Code::InternalError));
    }
    None
}

/// The key has an answer: that, whatever it was; and another request may not have it.
fn replayed(asked: &Create, stored: &Entry, mode: &Mode) -> Decision {
    if !stored.has_same_parameters_as(asked) {
        return not_executed(asked, Code::IdempotencyKeyReused);
    }
    let delivery = if mode.black_hole_after { Delivery::Hanging } else { Delivery::Answered };
    Decision {
        status: Status::Replayed,
        decline: stored.decline,
        error: stored.error,
        http: stored.http,
        delivery,
        amount: stored.amount,
        is_stored: false,
        settles_later: false,
    }
}

fn charged(asked: &Create, known: &Known<'_>, mode: &Mode) -> Decision {
    let method = steered_by(&asked.source);
    if let Some((trouble, tries)) = method.before
        && known.attempt <= tries
    {
        return stopped_by(trouble, asked);
    }
    let (status, decline) = made(method.charge);
    let is_more = status.has_effect() && (method.wrong_amount || mode.wrong_amount);
    let executed = Decision {
        amount: asked.amount + i64::from(is_more),
        settles_later: status == Status::Pending,
        ..executed(asked, status, decline)
    };
    after_execution(executed, method)
}

fn made(charge: Charge) -> (Status, Option<Code>) {
    match charge {
        Charge::Succeeds => (Status::Succeeded, None),
        Charge::IsPending => (Status::Pending, None),
        Charge::RequiresAction => (Status::RequiresAction, None),
        Charge::CardDeclined => (Status::Declined, Some(Code::CardDeclined)),
        Charge::InsufficientFunds => (Status::Declined, Some(Code::InsufficientFunds)),
    }
}

/// Refunds never exceed what was captured: all that moved back so far and this one together.
fn refunded(asked: &Create, known: &Known<'_>, now_ms: i64) -> Decision {
    let Some(charge) = known.charge else {
        return not_executed(asked, Code::ChargeNotFound);
    };
    if charge.entry.asked.currency != asked.currency {
        return not_executed(asked, Code::CurrencyMismatch);
    }
    if charge.entry.status_at(now_ms) != Status::Succeeded {
        return not_executed(asked, Code::ChargeNotCaptured);
    }
    if charge.refunded + asked.amount > charge.entry.amount {
        let refusal = not_executed(asked, Code::RefundExceedsCharge);
        return Decision { is_stored: true, ..refusal };
    }
    if steered_by(&charge.entry.asked.source).refund_refused {
        return executed(asked, Status::Declined, Some(Code::RefundRefused));
    }
    executed(asked, Status::Succeeded, None)
}

fn stopped_by(trouble: Trouble, asked: &Create) -> Decision {
    match trouble {
        Trouble::Cut => not_executed(asked, Code::ConnectionCut),
        Trouble::HeldThenCut => {
            let cut = not_executed(asked, Code::ConnectionCut);
            Decision { delivery: Delivery::HeldThenCut, ..cut }
        }
        Trouble::InternalError => not_executed(asked, Code::InternalError),
        Trouble::Unavailable => not_executed(asked, Code::Unavailable),
        Trouble::Throttled => not_executed(asked, Code::Throttled),
    }
}

fn after_execution(executed: Decision, method: &Method) -> Decision {
    match method.after {
        None => executed,
        Some(Trouble::Cut) => Decision { delivery: Delivery::Cut, ..executed },
        Some(Trouble::HeldThenCut) => Decision { delivery: Delivery::HeldThenCut, ..executed },
        Some(Trouble::InternalError) => answered_as(Code::InternalError, executed),
        Some(Trouble::Unavailable) => answered_as(Code::Unavailable, executed),
        Some(Trouble::Throttled) => answered_as(Code::Throttled, executed),
    }
}

/// What a mode does to an attempt that was executed just now.
fn troubled_by_mode(decision: Decision, asked: &Create, known: &Known<'_>, mode: &Mode) -> Decision {
    if !decision.status.is_object() {
        return decision;
    }
    let key = &asked.idempotency_key;
    let answered = if mode.strikes(Rate::ErrorAfter, key, known.attempt) {
        answered_as(Code::InternalError, decision)
    } else {
        decision
    };
    if mode.black_hole_after {
        return Decision { delivery: Delivery::Hanging, ..answered };
    }
    if mode.strikes(Rate::LostAnswer, key, known.attempt) {
        return Decision { delivery: Delivery::Cut, ..answered };
    }
    answered
}

fn answered_as(code: Code, executed: Decision) -> Decision {
    Decision { error: Some(code), http: code.http(), ..executed }
}

fn executed(asked: &Create, status: Status, decline: Option<Code>) -> Decision {
    Decision {
        status,
        decline,
        error: None,
        http: decline.map_or(CREATED, Code::http),
        delivery: Delivery::Answered,
        amount: asked.amount,
        is_stored: true,
        settles_later: false,
    }
}

fn not_executed(asked: &Create, code: Code) -> Decision {
    let delivery = if code.http() == 0 { Delivery::Cut } else { Delivery::Answered };
    Decision {
        status: Status::NotExecuted,
        decline: None,
        error: Some(code),
        http: code.http(),
        delivery,
        amount: asked.amount,
        is_stored: false,
        settles_later: false,
    }
}
