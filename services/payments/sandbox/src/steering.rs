//! The payment methods that steer one order, as data. `README.md` shows the same table to users.

/// How a charge with this payment method goes.
#[derive(Debug)]
pub struct Method {
    pub name: &'static str,
    /// One line for a human.
    pub about: &'static str,
    /// It takes `slow_ms` before it is executed, also when the caller has hung up meanwhile.
    pub slow: bool,
    /// What the first tries of a key meet before anything is executed.
    pub before: Option<(Trouble, i64)>,
    /// What becomes of it once executed.
    pub charge: Charge,
    /// What becomes of the answer to the try that executed it; later tries get the stored answer.
    pub after: Option<Trouble>,
    /// The provider captures one minor unit more than it was asked for, and says so.
    pub wrong_amount: bool,
    /// The provider says that it charged in another currency.
    pub wrong_currency: bool,
    /// A later refund of it is refused.
    pub refund_refused: bool,
}

/// What an executed charge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    Succeeds,
    IsPending,
    RequiresAction,
    CardDeclined,
    InsufficientFunds,
}

/// What goes wrong around the execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The connection is cut at once, without an answer.
    Cut,
    /// The request is held for `hold_ms`, then the connection is cut without an answer.
    HeldThenCut,
    /// 500; after an execution it is the answer that is stored for the key.
    InternalError,
    /// 503.
    Unavailable,
    /// 429 with `Retry-After`.
    Throttled,
}

const fn method(name: &'static str, about: &'static str) -> Method {
    Method {
        name,
        about,
        slow: false,
        before: None,
        charge: Charge::Succeeds,
        after: None,
        wrong_amount: false,
        wrong_currency: false,
        refund_refused: false,
    }
}

/// All special payment methods. The first is what every other `pm_*` does too.
#[rustfmt::skip]
pub static METHODS: [Method; 14] = [
    method("pm_ok", "succeeds; so does every `pm_*` that is not in this table"),
    Method { charge: Charge::CardDeclined, ..method("pm_declined", "402, declined with `card_declined`") },
    Method { charge: Charge::InsufficientFunds, ..method("pm_insufficient_funds", "402, declined with `insufficient_funds`") },
    Method { charge: Charge::RequiresAction, ..method("pm_action_required", "201, `requires_action`: no money moves") },
    Method { charge: Charge::IsPending, ..method("pm_pending", "201, `pending`; a lookup after `pending_ms` shows it succeeded") },
    Method { slow: true, ..method("pm_slow", "executed and answered only after `slow_ms`, also when the caller has hung up; until then the key is in use and a lookup finds nothing") },
    Method { after: Some(Trouble::Cut), ..method("pm_lost_answer", "executed, then the connection is cut; the same key again gets the stored answer") },
    Method { before: Some((Trouble::HeldThenCut, 1)), ..method("pm_timeout_before", "the first try of a key is held for `hold_ms` and cut, not executed; the next one succeeds") },
    Method { after: Some(Trouble::InternalError), ..method("pm_error_after", "executed, but answered 500, which is stored for the key: only a lookup shows the charge") },
    Method { before: Some((Trouble::Unavailable, 2)), ..method("pm_error_before", "503 on the first two tries of a key, not executed; the third succeeds") },
    Method { before: Some((Trouble::Throttled, 1)), ..method("pm_throttled", "429 with `Retry-After: 1` on the first try of a key, not executed; the next one succeeds") },
    Method { wrong_amount: true, ..method("pm_wrong_amount", "succeeds, but captures one minor unit more than was asked for, and says so") },
    Method { wrong_currency: true, ..method("pm_wrong_currency", "succeeds, and says that it was in `XTS`, the code that ISO 4217 keeps for tests") },
    Method { refund_refused: true, ..method("pm_refund_refused", "succeeds; a refund of it is 402, declined with `refund_refused`") },
];

/// What `pm_wrong_currency` says that it charged in.
pub(crate) const OTHER_CURRENCY: &str = "XTS";

/// The method of this name; every other name does what `pm_ok` does.
pub(crate) fn steered_by(name: &str) -> &'static Method {
    METHODS.iter().find(|method| method.name == name).unwrap_or(&METHODS[0])
}
