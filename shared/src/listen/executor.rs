//! Who carries out the calls of a connection.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Waker};

use hyper::rt::Executor;

use crate::logs::as_here;

/// Polls each call once where it stands, and makes a task only of what has not ended then: a refusal, which ends at once,
/// never becomes one.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce;

impl<F> Executor<F> for AtOnce
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: F) {
        let mut call = Box::pin(call);
        // Polled again as a task, it hears of what comes later.
        let mut now = Context::from_waker(Waker::noop());
        // As in a task, a panic ends the call and not its connection; it is never polled again.
        match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut now))) {
            Ok(ended) if ended.is_pending() => drop(tokio::spawn(as_here(call))),
            Ok(_ended) => {}
            Err(_panic) => tracing::error!("a call panicked outside of its handler"),
        }
    }
}
