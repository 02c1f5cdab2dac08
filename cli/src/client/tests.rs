//! Against a real gRPC server that refuses as each test says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use spillway_proto::pb::inventory::inventory_service_server::{InventoryService, InventoryServiceServer};
use spillway_proto::pb::inventory::{
    AdjustStockRequest, AdjustStockResponse, GetStockRequest, GetStockResponse, ListStockRequest, ListStockResponse,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::exit::Exit;

/// Refuses as often as it has refusals, and notes the ids of all requests.
#[derive(Clone, Default)]
struct Shop {
    refusals: Arc<Mutex<Vec<Status>>>,
    request_ids: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl InventoryService for Shop {
    async fn adjust_stock(&self, call: Request<AdjustStockRequest>) -> Result<Response<AdjustStockResponse>, Status> {
        self.request_ids.lock().expect("unpoisoned").push(call.into_inner().request_id);
        match self.refusals.lock().expect("unpoisoned").pop() {
            Some(status) => Err(status),
            None => Ok(Response::new(AdjustStockResponse::default())),
        }
    }

    /// Never answers.
    async fn get_stock(&self, _: Request<GetStockRequest>) -> Result<Response<GetStockResponse>, Status> {
        std::future::pending().await
    }

    async fn list_stock(&self, _: Request<ListStockRequest>) -> Result<Response<ListStockResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}

async fn remote(shop: &Shop, timeout: Duration) -> Remote {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let server = tonic::transport::Server::builder().add_service(InventoryServiceServer::new(shop.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Remote::new("the shop", "--address", &address, timeout).expect("an address")
}

async fn adjusted(shop: &Shop) -> Result<AdjustStockResponse, Failure> {
    let remote = remote(shop, Duration::from_secs(20)).await;
    let request = AdjustStockRequest { request_id: "r-1".into(), ..AdjustStockRequest::default() };
    remote
        .call(request, |request| {
            let mut client = remote.stock();
            async move { client.adjust_stock(request).await }
        })
        .await
}

fn refusals(code: Code, count: usize) -> Shop {
    let details = ErrorDetails::with_error_info("BUSY", "spillway", HashMap::new());
    let refusals = vec![Status::with_error_details(code, "busy", details); count];
    Shop { refusals: Arc::new(Mutex::new(refusals)), ..Shop::default() }
}

#[tokio::test]
async fn a_call_is_tried_again_with_the_same_request_id() {
    let shop = refusals(Code::Unavailable, 2);
    adjusted(&shop).await.expect("the third try is answered");
    assert_eq!(*shop.request_ids.lock().expect("unpoisoned"), ["r-1"; 3]);
}

#[tokio::test]
async fn the_fifth_refusal_is_the_last_and_is_told_in_the_server_s_words() {
    let shop = refusals(Code::Unavailable, 9);
    let failure = adjusted(&shop).await.expect_err("refused");
    assert_eq!(shop.request_ids.lock().expect("unpoisoned").len(), 5);
    assert_eq!(failure.exit, Exit::Missing);
    assert_eq!(failure.error.map(|error| (error.reason, error.message)), Some(("BUSY".into(), "busy".into())));
}

#[tokio::test]
async fn what_another_try_would_not_change_is_tried_once() {
    let shop = refusals(Code::FailedPrecondition, 1);
    assert_eq!(adjusted(&shop).await.expect_err("refused").exit, Exit::Failed);
    assert_eq!(shop.request_ids.lock().expect("unpoisoned").len(), 1);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_waited_for_no_longer_than_asked() {
    let remote = remote(&Shop::default(), Duration::from_millis(200)).await;
    let call = remote.call(GetStockRequest::default(), |request| {
        let mut client = remote.stock();
        async move { client.get_stock(request).await }
    });
    let failure = tokio::time::timeout(Duration::from_secs(10), call).await.expect("in time").expect_err("no answer");
    let error = failure.error.expect("told");
    assert_eq!(error.code, "DEADLINE_EXCEEDED", "{error:?}");
}

#[test]
fn an_address_is_a_url_or_host_and_port() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _inside = runtime.enter();
    let is_taken = |address| Remote::new("it", "--address", address, CONNECT_WITHIN).is_ok();
    for address in ["127.0.0.1:50051", "http://gateway:50051", "localhost:1", "[::1]:50051"] {
        assert!(is_taken(address), "{address}");
    }
    for address in ["", "ftp://x", "https://x:1", "http://", "a b"] {
        assert!(!is_taken(address), "{address}");
    }
}
