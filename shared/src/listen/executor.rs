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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_panic_in_the_first_turn_of_a_call_ends_that_call_and_not_who_began_it() {
        let (end, ended) = oneshot::channel::<()>();
        AtOnce.execute(async move {
            let _dropped_with_the_call = end;
            panic!("as asked");
        });
        assert!(tokio::time::timeout(PATIENCE, ended).await.expect("in time").is_err(), "it is gone");
    }

    #[tokio::test]
    async fn a_call_is_polled_at_once_and_goes_on_as_a_task_where_that_was_not_all() {
        let (say, mut said) = oneshot::channel();
        AtOnce.execute(async move { say.send("at once").expect("somebody hears it") });
        assert_eq!(said.try_recv(), Ok("at once"));
        let ((ask, asked), (say, said)) = (oneshot::channel(), oneshot::channel());
        AtOnce.execute(async move { say.send(asked.await).expect("somebody hears it") });
        ask.send("later").expect("it waits");
        assert_eq!(tokio::time::timeout(PATIENCE, said).await.expect("in time").expect("said"), Ok("later"));
    }
}
