//! Which service speaks, where several share a process: known to every task and thread of a role, so that no line of the
//! log has to be told.

use std::future::Future;
use std::sync::Arc;

use futures::future::Either;
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static SPEAKER: Arc<str>;
}

/// Whose task or thread this is; `None` outside of any service's.
pub fn speaker() -> Option<Arc<str>> {
    SPEAKER.try_with(Arc::clone).ok()
}

/// A future that speaks as this service.
pub fn speaking_as<F: Future>(service: Arc<str>, future: F) -> TaskLocalFuture<Arc<str>, F> {
    SPEAKER.scope(service, future)
}

/// A future that speaks as whoever makes it: for a task of its own.
pub fn as_here<F: Future>(future: F) -> Either<TaskLocalFuture<Arc<str>, F>, F> {
    match speaker() {
        Some(service) => Either::Left(SPEAKER.scope(service, future)),
        None => Either::Right(future),
    }
}

/// Does something that speaks as this service, on this thread.
pub fn on_thread<T>(service: Arc<str>, what: impl FnOnce() -> T) -> T {
    SPEAKER.sync_scope(service, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_speaks_as_the_one_that_made_it_where_it_is_told_to() {
        let told = speaking_as("payments".into(), async {
            let with = tokio::spawn(as_here(async { speaker() })).await.expect("it ends");
            let without = tokio::spawn(async { speaker() }).await.expect("it ends");
            (speaker(), with, without)
        });
        let payments: Arc<str> = "payments".into();
        assert_eq!(told.await, (Some(payments.clone()), Some(payments), None));
        assert_eq!(as_here(async { speaker() }).await, None);
        assert_eq!(on_thread("audit".into(), speaker).as_deref(), Some("audit"));
    }
}
