//! Which service speaks, where several share a process, and in which trace: known to every task and thread of a role, and to
//! every call, so that no line of the log has to be told.

use std::future::Future;
use std::sync::Arc;

use futures::future::Either;
use spillway_proto::TraceContext;
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static SPEAKER: Arc<str>;
    static TRACE: TraceContext;
}

/// A future that may have something around it, or not.
type Perhaps<T, F> = Either<TaskLocalFuture<T, F>, F>;

/// Whose task or thread this is; `None` outside of any service's.
pub fn speaker() -> Option<Arc<str>> {
    SPEAKER.try_with(Arc::clone).ok()
}

/// A future that speaks as this service.
pub fn speaking_as<F: Future>(service: Arc<str>, future: F) -> TaskLocalFuture<Arc<str>, F> {
    SPEAKER.scope(service, future)
}

/// A future that speaks as whoever makes it: for a task of its own.
pub fn as_here<F: Future>(future: F) -> Perhaps<Arc<str>, Perhaps<TraceContext, F>> {
    let future = in_trace(trace(), future);
    match speaker() {
        Some(service) => Either::Left(SPEAKER.scope(service, future)),
        None => Either::Right(future),
    }
}

/// The step in a trace whose task this is; `None` outside of any.
pub fn trace() -> Option<TraceContext> {
    TRACE.try_with(|context| *context).ok()
}

/// A future that speaks in this trace, where there is one.
pub fn in_trace<F: Future>(context: Option<TraceContext>, future: F) -> Perhaps<TraceContext, F> {
    match context {
        Some(context) => Either::Left(TRACE.scope(context, future)),
        None => Either::Right(future),
    }
}

/// Does something that speaks as this service, on this thread.
pub fn on_thread<T>(service: Arc<str>, what: impl FnOnce() -> T) -> T {
    SPEAKER.sync_scope(service, what)
}

/// Does something that speaks in this trace, where there is one.
pub fn now_in_trace<T>(context: Option<TraceContext>, what: impl FnOnce() -> T) -> T {
    match context {
        Some(context) => TRACE.sync_scope(context, what),
        None => what(),
    }
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
        let here = TraceContext::new(7, 9, false);
        let told = in_trace(Some(here), async {
            let with = tokio::spawn(as_here(async { trace() })).await.expect("it ends");
            (trace(), with)
        });
        assert_eq!((told.await, in_trace(None, async { trace() }).await), ((Some(here), Some(here)), None));
        assert_eq!((now_in_trace(Some(here), trace), now_in_trace(None, trace)), (Some(here), None));
        assert_eq!(on_thread("audit".into(), speaker).as_deref(), Some("audit"));
    }
}
