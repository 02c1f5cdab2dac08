//! InventoryService: checked at the gateway, answered by inventory.

use spillway_proto::pb::inventory::{AdjustStockRequest, GetStockRequest, ListStockRequest};
use tonic::Code;
use uuid::Uuid;

use crate::kit::{World, fields, reason, retry_after};

fn adjustment(delta: i64) -> AdjustStockRequest {
    AdjustStockRequest {
        request_id: Uuid::new_v4().to_string(),
        sku: "tea".to_owned(),
        delta,
        reason: "delivery".to_owned(),
    }
}

#[tokio::test]
async fn stock_is_adjusted_once_per_request_and_read_back() {
    let world = World::new(2).await;
    let _inventory = world.inventory().await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    client.stock("tea", 5).await;
    let more = adjustment(3);
    for _ in 0..2 {
        let item = client.stock.adjust_stock(more.clone()).await.expect("adjusted").into_inner().item.expect("an item");
        assert_eq!((item.available, item.received), (8, 8));
    }
    let read = client.stock.get_stock(GetStockRequest { sku: "tea".to_owned() }).await.expect("known").into_inner();
    assert_eq!(read.item.expect("an item").available, 8);

    let refused = client.stock.adjust_stock(adjustment(-9)).await.expect_err("too much");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "INSUFFICIENT_STOCK"));
    let reused = AdjustStockRequest { delta: 4, ..more };
    let refused = client.stock.adjust_stock(reused).await.expect_err("another adjustment");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    let unknown = client.stock.get_stock(GetStockRequest { sku: "cup".to_owned() }).await.expect_err("never had any");
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "SKU_NOT_FOUND"));
    let wrong = client.stock.adjust_stock(AdjustStockRequest::default()).await.expect_err("all wrong");
    assert_eq!(fields(&wrong), ["request_id", "sku", "delta"]);
}

#[tokio::test]
async fn pages_of_stock_are_opaque_and_bound_to_their_prefix() {
    let world = World::new(1).await;
    let _inventory = world.inventory().await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    for sku in ["cup", "tea", "tea black", "tea green"] {
        client.stock(sku, 1).await;
    }
    let mut request = ListStockRequest { page_size: 2, sku_prefix: "tea".to_owned(), ..Default::default() };
    let first = client.stock.list_stock(request.clone()).await.expect("answers").into_inner();
    assert_eq!(first.items.iter().map(|item| item.sku.as_str()).collect::<Vec<_>>(), ["tea", "tea black"]);
    assert!(!first.next_page_token.contains("tea"), "{}", first.next_page_token);
    request.page_token = first.next_page_token;
    let second = client.stock.list_stock(request.clone()).await.expect("answers").into_inner();
    assert_eq!(second.items.iter().map(|item| item.sku.as_str()).collect::<Vec<_>>(), ["tea green"]);
    assert_eq!(second.next_page_token, "");
    request.sku_prefix = "cup".to_owned();
    assert_eq!(fields(&client.stock.list_stock(request.clone()).await.expect_err("another prefix")), ["page_token"]);
    request.page_token = "tea black".to_owned();
    assert_eq!(fields(&client.stock.list_stock(request).await.expect_err("inventory's own token")), ["page_token"]);
}

#[tokio::test]
async fn inventory_that_is_not_there_is_unavailable_and_a_command_keeps_its_request_id() {
    let world = World::new(1).await;
    let gateway = world.gateway().await;
    let mut client = gateway.client().await;
    let refused = client.stock.adjust_stock(adjustment(1)).await.expect_err("nobody answers");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "SERVICE_UNREACHABLE"));
    assert!(refused.message().contains("same request_id"), "{}", refused.message());
    assert!(retry_after(&refused).is_some());
    let asked = client.stock.list_stock(ListStockRequest::default()).await.expect_err("nobody answers");
    assert_eq!(asked.code(), Code::Unavailable);
}
