//! What inventory answers when asked, through its handlers.

use bytes::Bytes;
use prost::Message;
use spillway_proto::DEFAULT_SHOP;
use spillway_proto::EventKind;
use spillway_proto::pb::internal::{Call, Refusal};
use spillway_proto::pb::inventory as api;
use uuid::Uuid;

use super::kit::{Bench, TRACE, adjust};
use crate::domain::MAX_RECEIVED;
use crate::{commands, queries};

fn call_of(shop: &str, request: &impl Message) -> Call {
    Call { shop: shop.into(), traceparent: TRACE.into(), deadline_us: 0, body: request.encode_to_vec().into() }
}

fn request(id: u128, sku: &str, delta: i64) -> api::AdjustStockRequest {
    let request_id = Uuid::from_u128(id).to_string();
    api::AdjustStockRequest { request_id, sku: sku.into(), delta, reason: "count".into() }
}

async fn adjusted(bench: &Bench, request: &api::AdjustStockRequest) -> Result<api::StockItem, Refusal> {
    let answer = commands::adjust_stock(bench.ledger.clone(), call_of(DEFAULT_SHOP, request)).await?;
    Ok(api::AdjustStockResponse::decode(answer).expect("a response").item.expect("an item"))
}

async fn listed(bench: &Bench, request: &api::ListStockRequest) -> api::ListStockResponse {
    let answer = queries::list_stock(bench.ledger.clone(), call_of(DEFAULT_SHOP, request)).await.expect("an answer");
    api::ListStockResponse::decode(answer).expect("a response")
}

fn skus(page: &api::ListStockResponse) -> Vec<&str> {
    page.items.iter().map(|item| item.sku.as_str()).collect()
}

#[tokio::test]
async fn an_adjustment_counts_once_and_is_read_back() {
    let bench = Bench::open();
    let first = adjusted(&bench, &request(1, "tea", 5)).await.expect("adjusted");
    assert_eq!((first.received, first.available, first.held, first.sold), (5, 5, 0, 0));
    assert!(first.update_time.is_some());
    let second = adjusted(&bench, &request(2, "tea", -2)).await.expect("adjusted");
    assert_eq!((second.received, second.available), (3, 3));
    let again = adjusted(&bench, &request(1, "tea", 5)).await.expect("as it is now");
    assert_eq!(again, second);
    let upper =
        api::AdjustStockRequest { request_id: request(1, "", 0).request_id.to_uppercase(), ..request(1, "tea", 5) };
    assert_eq!(adjusted(&bench, &upper).await.expect("the same id"), second);
    assert_eq!(bench.counts().await[&EventKind::StockAdjusted], 2);
    let get = api::GetStockRequest { sku: "tea".into() };
    let answer = queries::get_stock(bench.ledger.clone(), call_of(DEFAULT_SHOP, &get)).await.expect("known");
    assert_eq!(api::GetStockResponse::decode(answer).expect("a response").item, Some(second));
}

#[tokio::test]
async fn sixty_four_callers_with_one_request_id_adjust_once() {
    let bench = Bench::open();
    let calls = (0..64).map(|_| {
        let ledger = bench.ledger.clone();
        tokio::spawn(commands::adjust_stock(ledger, call_of(DEFAULT_SHOP, &request(1, "tea", 5))))
    });
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.expect("no panic").expect("adjusted");
        let item = api::AdjustStockResponse::decode(answer).expect("a response").item.expect("an item");
        assert_eq!(item.received, 5);
    }
    assert_eq!(bench.counts().await[&EventKind::StockAdjusted], 1);
}

#[tokio::test]
async fn what_cannot_be_adjusted_is_refused_with_its_reason_and_keeps_nothing() {
    let bench = Bench::open();
    adjusted(&bench, &request(1, "tea", 5)).await.expect("adjusted");
    let refusals = [
        (request(1, "tea", 6), 6, "REQUEST_ID_REUSED"),
        (request(1, "cup", 5), 6, "REQUEST_ID_REUSED"),
        (request(2, "tea", -6), 9, "INSUFFICIENT_STOCK"),
        (request(2, "cup", -1), 9, "INSUFFICIENT_STOCK"),
        (request(2, "tea", i64::MIN), 9, "INSUFFICIENT_STOCK"),
        (request(2, "tea", MAX_RECEIVED), 9, "STOCK_LIMIT_EXCEEDED"),
        (request(2, "tea", i64::MAX), 9, "STOCK_LIMIT_EXCEEDED"),
        (api::AdjustStockRequest { request_id: "soon".into(), ..request(2, "tea", 1) }, 3, "INVALID_REQUEST_ID"),
    ];
    for (request, code, reason) in refusals {
        let refusal = adjusted(&bench, &request).await.expect_err(reason);
        assert_eq!((refusal.code, refusal.reason.as_str(), refusal.retry_after_ms), (code, reason, 0), "{request:?}");
        assert!(refusal.metadata.values().all(|value| refusal.message.contains(value.as_str())), "{refusal:?}");
    }
    let short = adjusted(&bench, &request(2, "tea", -6)).await.expect_err("too much");
    let metadata = ["sku", "available", "delta"].map(|key| short.metadata[key].as_str());
    assert_eq!(metadata, ["tea", "5", "-6"]);
    let item = adjusted(&bench, &request(2, "tea", -5)).await.expect("a refused request may succeed later");
    assert_eq!((item.received, item.available), (0, 0));
    assert_eq!(bench.number("select count(*) from adjustment").await, 2);
}

#[tokio::test]
async fn a_list_goes_through_all_skus_by_name_in_pages_that_share_none() {
    let bench = Bench::open();
    for (n, sku) in (1u128..).zip(["b", "a", "ba", "tea%", "bb", "täa", "bäh"]) {
        bench.ledger.command(adjust(n, sku, 1)).await.expect("adjusted");
    }
    let mut request = api::ListStockRequest { page_size: 3, ..Default::default() };
    let mut found = Vec::new();
    loop {
        let page = listed(&bench, &request).await;
        assert!(page.items.len() <= 3);
        found.extend(page.items.into_iter().map(|item| item.sku));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, ["a", "b", "ba", "bb", "bäh", "tea%", "täa"]);
    let prefixed = |prefix: &str, token: &str, page_size| api::ListStockRequest {
        page_size,
        page_token: token.into(),
        sku_prefix: prefix.into(),
    };
    assert_eq!(skus(&listed(&bench, &prefixed("b", "", 0)).await), ["b", "ba", "bb", "bäh"]);
    let page = listed(&bench, &prefixed("b", "", 4)).await;
    assert_eq!((skus(&page).len(), page.next_page_token.as_str()), (4, ""), "what comes after is not of the prefix");
    let page = listed(&bench, &prefixed("b", "ba", 1)).await;
    assert_eq!((skus(&page), page.next_page_token.as_str()), (vec!["bb"], "bb"));
    assert_eq!(skus(&listed(&bench, &prefixed("c", "", 0)).await), [""; 0]);
    assert_eq!(skus(&listed(&bench, &prefixed("", "", i32::MIN)).await).len(), 7);
}

#[tokio::test]
async fn shops_do_not_see_each_other() {
    let bench = Bench::open();
    adjusted(&bench, &request(1, "tea", 5)).await.expect("adjusted");
    let (get, list) = (api::GetStockRequest { sku: "tea".into() }, api::ListStockRequest::default());
    let refusal = queries::get_stock(bench.ledger.clone(), call_of("other", &get)).await.expect_err("not theirs");
    assert_eq!((refusal.code, refusal.reason.as_str(), refusal.metadata["sku"].as_str()), (5, "SKU_NOT_FOUND", "tea"));
    let answer = queries::list_stock(bench.ledger.clone(), call_of("other", &list)).await.expect("an answer");
    assert_eq!(api::ListStockResponse::decode(answer).expect("a response").items, []);
    let answer = commands::adjust_stock(bench.ledger.clone(), call_of("other", &request(1, "tea", 7))).await;
    let item = api::AdjustStockResponse::decode(answer.expect("another shop's id")).expect("a response").item;
    assert_eq!(item.map(|item| item.received), Some(7));
}

#[tokio::test]
async fn a_request_that_cannot_be_decoded_is_refused() {
    let bench = Bench::open();
    let call = Call { shop: DEFAULT_SHOP.into(), body: Bytes::from_static(b"\xff\xff"), ..Default::default() };
    for refusal in [
        commands::adjust_stock(bench.ledger.clone(), call.clone()).await.expect_err("undecodable"),
        queries::get_stock(bench.ledger.clone(), call.clone()).await.expect_err("undecodable"),
        queries::list_stock(bench.ledger.clone(), call).await.expect_err("undecodable"),
    ] {
        assert_eq!((refusal.code, refusal.reason.as_str()), (3, "UNREADABLE_REQUEST"));
    }
}
