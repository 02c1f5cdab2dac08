//! Against a real gRPC server whose connections break as each test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::BoxStream;
use spillway_proto::pb::orders::order_service_server::{OrderService, OrderServiceServer};
use spillway_proto::pb::orders::{
    ExplainOrderRequest, ExplainOrderResponse, GetOrderResponse, ListOrderEventsRequest, ListOrderEventsResponse,
    ListOrdersRequest, ListOrdersResponse, OrderEvent, PlaceOrderRequest, PlaceOrderResponse,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::exit::Exit;

/// The version at which the order of every test is confirmed.
const END: i64 = 4;

/// What one WatchOrder call does.
#[derive(Clone)]
enum Watch {
    /// Brings the steps up to this version, again from one before the cursor, then breaks like this.
    Until(i64, Status),
    /// Brings the steps up to this version and ends.
    UntilEnded(i64),
    Refused(Status),
}

#[derive(Clone)]
struct Gateway {
    script: Arc<Mutex<Vec<Watch>>>,
    cursors: Arc<Mutex<Vec<i64>>>,
}

fn step(version: i64) -> WatchOrderResponse {
    let state = if version == END { State::Confirmed } else { State::Pending };
    let order = Order { order_id: "o-1".into(), version, state: state.into(), ..Order::default() };
    let event = (version > 0).then(|| OrderEvent { version, ..OrderEvent::default() });
    WatchOrderResponse { order: Some(order), event, cursor: version }
}

#[tonic::async_trait]
impl OrderService for Gateway {
    type WatchOrderStream = BoxStream<'static, Result<WatchOrderResponse, Status>>;

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        let cursor = request.into_inner().cursor;
        self.cursors.lock().expect("unpoisoned").push(cursor);
        let (last, end) = match self.script.lock().expect("unpoisoned").remove(0) {
            Watch::Until(last, status) => (last, Some(status)),
            Watch::UntilEnded(last) => (last, None),
            Watch::Refused(status) => return Err(status),
        };
        // One step that was seen already comes with them: nobody may be shown it twice.
        let steps: Vec<_> = ((cursor - 1).max(0)..=last).map(|version| Ok(step(version))).chain(end.map(Err)).collect();
        Ok(Response::new(Box::pin(futures::stream::iter(steps))))
    }

    async fn get_order(&self, _: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        let is_over = self.script.lock().expect("unpoisoned").is_empty();
        Ok(Response::new(GetOrderResponse { order: step(if is_over { END } else { 1 }).order }))
    }

    async fn place_order(&self, _: Request<PlaceOrderRequest>) -> Result<Response<PlaceOrderResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn list_orders(&self, _: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn explain_order(&self, _: Request<ExplainOrderRequest>) -> Result<Response<ExplainOrderResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn list_order_events(
        &self,
        _: Request<ListOrderEventsRequest>,
    ) -> Result<Response<ListOrderEventsResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}

/// What following ends with, the versions that were shown, and the cursors that were asked for.
async fn followed(cursor: i64, script: &[Watch]) -> (Result<Order, Failure>, Vec<i64>, Vec<i64>) {
    let gateway = Gateway { script: Arc::new(Mutex::new(script.to_vec())), cursors: Arc::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let service = OrderServiceServer::new(gateway.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    let serving = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let remote = Remote::new("it", "--address", &address.to_string(), Duration::from_secs(10)).expect("an address");
    let mut shown = Vec::new();
    let ended = follow(&remote, "o-1", cursor, |step| {
        shown.push(step.cursor);
        Ok(())
    })
    .await;
    serving.abort();
    let cursors = gateway.cursors.lock().expect("unpoisoned").clone();
    (ended, shown, cursors)
}

fn told(code: Code) -> Status {
    let details = ErrorDetails::with_error_info("SOME_REASON", "spillway", std::collections::HashMap::new());
    Status::with_error_details(code, "no", details)
}

#[tokio::test]
async fn every_step_is_shown_once_over_broken_drained_and_refused_connections() {
    let script = [
        Watch::Until(1, Status::unknown("cut")),
        Watch::Refused(told(Code::Unavailable)),
        Watch::UntilEnded(2),
        Watch::Until(3, told(Code::Unavailable)),
        Watch::UntilEnded(END),
    ];
    let (ended, shown, cursors) = followed(0, &script).await;
    assert_eq!(ended.expect("followed").state(), State::Confirmed);
    assert_eq!(shown, [0, 1, 2, 3, 4]);
    assert_eq!(cursors, [0, 1, 1, 2, 3]);
}

#[tokio::test]
async fn an_order_that_has_ended_ends_at_once_with_nothing_to_show() {
    let (ended, shown, cursors) = followed(END, &[Watch::UntilEnded(END)]).await;
    assert_eq!(ended.expect("followed").version, END);
    assert_eq!((shown, cursors), (vec![], vec![END]));
}

#[tokio::test]
async fn a_refusal_for_good_is_told_at_once() {
    for (code, exit) in [(Code::NotFound, Exit::Failed), (Code::InvalidArgument, Exit::Usage)] {
        let (ended, shown, cursors) = followed(0, &[Watch::Refused(told(code))]).await;
        assert_eq!(ended.expect_err("refused").exit, exit);
        assert_eq!((shown, cursors), (vec![], vec![0]));
    }
}

#[tokio::test]
async fn where_nobody_answers_it_says_what_to_do() {
    let script = vec![Watch::Refused(Status::unavailable("gone")); 5];
    let (ended, _, cursors) = followed(0, &script).await;
    let failure = ended.expect_err("nobody is there");
    assert_eq!(failure.exit, Exit::Missing);
    assert!(failure.error.expect("told").message.contains("is `spillway up` running?"));
    assert_eq!(cursors.len(), 5);
}
