//! The payment provider: what `payments` asks of it, and the guard around every call.

mod call;
mod certificate;
mod http;
mod token;
mod wire;

use std::future::Future;
use std::time::Duration;

use crate::breaker::{Permit, Verdict};
use crate::domain::{Outcome, Sight};

pub use call::ProviderCall;
pub use http::{HttpProvider, ProviderError};

/// What is to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    /// The idempotency key.
    pub key: &'a str,
    /// Our reference, the order: a lookup shows every charge that the order ever had, under whatever key.
    pub reference: &'a str,
    pub minor: i64,
    /// ISO 4217.
    pub currency: &'a str,
    /// The provider's token for the customer's means of payment.
    pub payment_method: &'a str,
}

/// What is to be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refund<'a> {
    /// The idempotency key, which is our reference as well.
    pub key: &'a str,
    pub minor: i64,
    /// ISO 4217.
    pub currency: &'a str,
    /// The provider's name for the charge.
    pub charge: &'a str,
}

/// A payment provider. Every answer is one of the classes of [`Outcome`]; a lookup answers with the class of what it
/// found, or [`Outcome::Absent`].
pub trait Provider: Send + Sync + 'static {
    /// Charges, once for each key.
    fn charge(&self, charge: Charge<'_>, call: &ProviderCall) -> impl Future<Output = Outcome> + Send;

    /// Gives back, once for each key.
    fn refund(&self, refund: Refund<'_>, call: &ProviderCall) -> impl Future<Output = Outcome> + Send;

    /// What became of the charge with this reference.
    fn look_up_charge(&self, reference: &str, call: &ProviderCall) -> impl Future<Output = Outcome> + Send;

    /// What became of the refund with this reference.
    fn look_up_refund(&self, reference: &str, call: &ProviderCall) -> impl Future<Output = Outcome> + Send;

    /// The charge of the provider's own name. `None` where there is no answer that says something of it.
    fn find_charge(&self, name: &str) -> impl Future<Output = Option<Sight>> + Send;

    /// The refund of the provider's own name. `None` where there is no answer that says something of it.
    fn find_refund(&self, name: &str) -> impl Future<Output = Option<Sight>> + Send;
}

/// Makes a call that the breaker let through, within the time that a call may take; beyond it nothing is known of its
/// end. `is_again` where it was tried before, in vain.
pub async fn guarded(
    mut permit: Permit,
    is_again: bool,
    timeout: Duration,
    call: impl Future<Output = Outcome>,
) -> Outcome {
    permit.begin(is_again);
    let outcome = tokio::time::timeout(timeout, call).await.unwrap_or(Outcome::Unknown);
    permit.judge(if outcome.is_failure() { Verdict::Sick(outcome.words()) } else { Verdict::Healthy });
    outcome
}
