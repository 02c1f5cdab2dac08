//! The closed vocabulary of refusals: what a client reads in `error.code` or `decline_code`, and what the ledger
//! keeps of an attempt that did not succeed.

/// Why something was not done, or not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    CardDeclined,
    InsufficientFunds,
    RefundRefused,
    RefundExceedsCharge,
    ChargeNotCaptured,
    ChargeNotFound,
    CurrencyMismatch,
    IdempotencyKeyReused,
    IdempotencyKeyInUse,
    InvalidParams,
    NotFound,
    MethodNotAllowed,
    Unauthorized,
    Throttled,
    InternalError,
    Unavailable,
    /// Only in the ledger: the connection was cut without an answer.
    ConnectionCut,
    /// Only in the ledger: the request was left hanging.
    BlackHole,
}

/// How a [`Code`] is told: its name, the HTTP status, the error's type and a sentence for a human.
struct Told(&'static str, u16, &'static str, &'static str);

impl Code {
    const ALL: [Code; 18] = [
        Code::CardDeclined,
        Code::InsufficientFunds,
        Code::RefundRefused,
        Code::RefundExceedsCharge,
        Code::ChargeNotCaptured,
        Code::ChargeNotFound,
        Code::CurrencyMismatch,
        Code::IdempotencyKeyReused,
        Code::IdempotencyKeyInUse,
        Code::InvalidParams,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::Unauthorized,
        Code::Throttled,
        Code::InternalError,
        Code::Unavailable,
        Code::ConnectionCut,
        Code::BlackHole,
    ];

    #[rustfmt::skip]
    fn told(self) -> Told {
        match self {
            Code::CardDeclined => Told("card_declined", 402, "declined", "the card was declined"),
            Code::InsufficientFunds => Told("insufficient_funds", 402, "declined", "the account has insufficient funds"),
            Code::RefundRefused => Told("refund_refused", 402, "declined", "the card's bank refuses refunds"),
            Code::RefundExceedsCharge => Told("refund_exceeds_charge", 402, "refused", "all refunds together may not exceed what was captured"),
            Code::ChargeNotCaptured => Told("charge_not_captured", 402, "refused", "this charge has captured nothing that could be refunded (yet)"),
            Code::ChargeNotFound => Told("charge_not_found", 404, "invalid_request", "no charge has this id"),
            Code::CurrencyMismatch => Told("currency_mismatch", 400, "invalid_request", "the charge was made in another currency"),
            Code::IdempotencyKeyReused => Told("idempotency_key_reused", 400, "invalid_request", "this idempotency key was used with other parameters; use a new key for a new request"),
            Code::IdempotencyKeyInUse => Told("idempotency_key_in_use", 409, "invalid_request", "a request with this idempotency key is still being worked on; try again later"),
            Code::InvalidParams => Told("invalid_params", 400, "invalid_request", "the request is not valid"),
            Code::NotFound => Told("not_found", 404, "invalid_request", "there is nothing here; see the sandbox's README for its API"),
            Code::MethodNotAllowed => Told("method_not_allowed", 405, "invalid_request", "this path does not answer that method"),
            Code::Unauthorized => Told("unauthorized", 401, "authentication", "the bearer token is missing or wrong"),
            Code::Throttled => Told("throttled", 429, "rate_limit", "too many requests; try again after Retry-After seconds"),
            Code::InternalError => Told("internal_error", 500, "api", "something went wrong at the provider; look the payment up before doing anything else"),
            Code::Unavailable => Told("unavailable", 503, "api", "the provider cannot work right now and has not executed this; try again later"),
            Code::ConnectionCut => Told("connection_cut", 0, "api", "the connection was cut without an answer"),
            Code::BlackHole => Told("black_hole", 0, "api", "the request was never answered"),
        }
    }

    pub fn name(self) -> &'static str {
        self.told().0
    }

    /// The HTTP status it is answered with, 0 where nothing is answered.
    pub fn http(self) -> u16 {
        self.told().1
    }

    pub fn error_type(self) -> &'static str {
        self.told().2
    }

    pub fn message(self) -> &'static str {
        self.told().3
    }

    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_own_name_alone() {
        for code in Code::ALL {
            assert_eq!(Code::from_name(code.name()), Some(code));
        }
    }
}
