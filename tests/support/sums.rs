//! What must add up when everything has come to its end: orders, stock, money.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use spillway_proto::pb::inventory::{ListStockRequest, StockItem};
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{ListOrdersRequest, Order};
use tonic::{Code, Response, Status};

use super::{System, money};

/// The body of a GET.
pub async fn get(url: &str) -> (u16, String) {
    request("GET", url, "").await
}

pub async fn post(url: &str, body: &str) -> (u16, String) {
    request("POST", url, body).await
}

async fn request(method: &str, url: &str, body: &str) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = http::Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", "application/json")
        .body(Full::from(body.to_owned()))
        .expect("a request");
    let answer = client.request(request).await.unwrap_or_else(|e| panic!("{url}: {e}"));
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8(bytes.to_vec()).expect("text"))
}

/// What a client's ordinary retry does: the service that is asked may not have come back yet.
async fn retrying<T>(ask: impl AsyncFn() -> Result<Response<T>, Status>) -> T {
    let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
    let asked = async {
        loop {
            every.tick().await;
            match ask().await {
                Ok(answer) => return answer.into_inner(),
                Err(status) if status.code() == Code::Unavailable => {}
                Err(status) => panic!("{status}"),
            }
        }
    };
    tokio::time::timeout(super::PATIENCE, asked).await.expect("answered at last")
}

impl System {
    pub async fn every_order(&self) -> Vec<Order> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListOrdersRequest { page_size: 500, page_token, ..ListOrdersRequest::default() };
            let page = retrying(async || self.orders().list_orders(request.clone()).await).await;
            all.extend(page.orders);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return all;
            }
        }
    }

    pub async fn every_item(&self) -> Vec<StockItem> {
        let request = ListStockRequest { page_size: 1000, ..ListStockRequest::default() };
        let page = retrying(async || self.inventory().list_stock(request.clone()).await).await;
        assert!(page.next_page_token.is_empty(), "more than a page of SKUs");
        page.items
    }

    /// Everything that the provider knows to have an effect: by reference, the charges in minor units.
    pub async fn charges(&self) -> BTreeMap<String, Vec<i64>> {
        let (status, body) =
            get(&format!("{}/sandbox/ledger?format=jsonl&limit=1000000", self.address("provider"))).await;
        assert_eq!(status, 200, "{body}");
        let mut charges: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for line in body.lines() {
            let entry: Value = serde_json::from_str(line).expect("a line of JSON");
            if entry["effect"] == true && entry["kind"] == "charge" {
                let reference = entry["reference"].as_str().expect("a reference").to_owned();
                charges.entry(reference).or_default().push(entry["amount"].as_i64().expect("an amount"));
            }
        }
        charges
    }

    /// Waits until the provider has taken the money of this order, whether it told so or not.
    pub async fn until_charged(&self, order_id: &str) {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(20));
        let asked = async {
            while !self.charges().await.contains_key(order_id) {
                every.tick().await;
            }
        };
        tokio::time::timeout(super::PATIENCE, asked).await.expect("the order is charged");
    }

    /// Waits until the provider has been asked for anything since it was started, answered or not.
    pub async fn until_provider_is_asked(&self) {
        let summary = format!("{}/sandbox/summary", self.address("provider"));
        let mut every = tokio::time::interval(std::time::Duration::from_millis(20));
        let asked = async {
            loop {
                every.tick().await;
                let summary: Value = serde_json::from_str(&get(&summary).await.1).expect("JSON");
                if summary["requests_per_second"].as_array().is_some_and(|seconds| !seconds.is_empty()) {
                    return;
                }
            }
        };
        tokio::time::timeout(super::PATIENCE, asked).await.expect("the provider is asked");
    }

    /// Waits until every order has ended, of which there are at least so many, then compares orders, stock, provider
    /// and audit.
    pub async fn sums_add_up(&self, at_least: usize) -> Sums {
        let (orders, items) = self.until_settled(at_least).await;
        let charges = self.charges().await;
        let mut sold: BTreeMap<String, i64> = BTreeMap::new();
        let mut sums = Sums { orders: orders.len(), ..Sums::default() };
        for order in &orders {
            let charged = charges.get(&order.order_id).cloned().unwrap_or_default();
            match order.state() {
                State::Confirmed => {
                    sums.confirmed += 1;
                    assert_eq!(charged, [money::minor(&order.total)], "charges of confirmed {}", order.order_id);
                    for line in &order.lines {
                        *sold.entry(line.sku.clone()).or_default() += line.quantity;
                    }
                }
                State::Rejected => {
                    sums.rejected += 1;
                    assert_eq!(charged, [0i64; 0], "charges of rejected {}", order.order_id);
                }
                other => panic!("{} ended as {other:?}", order.order_id),
            }
        }
        for item in items {
            let (sku, expected) = (item.sku.clone(), sold.remove(&item.sku).unwrap_or(0));
            assert_eq!(item.sold, expected, "sold units of {sku}");
            assert_eq!(item.available + item.held + item.sold, item.received, "units of {sku}");
        }
        assert_eq!(sold, BTreeMap::new(), "sold without stock");
        let (code, out, err) = self.verb(&["audit", "verify"]).await;
        assert_eq!(code, 0, "audit verify: {out}{err}");
        sums
    }

    /// All orders and the stock, when nothing moves any more. Of an order that a client heard nothing of, orders may hear
    /// only after all others have ended: what is sold to it would be sold to nobody.
    async fn until_settled(&self, at_least: usize) -> (Vec<Order>, Vec<StockItem>) {
        let mut orders = self.until_all_ended(at_least).await;
        loop {
            let items = self.until_nothing_is_held().await;
            let then = self.until_all_ended(at_least).await;
            if then.len() == orders.len() {
                return (then, items);
            }
            orders = then;
        }
    }

    async fn until_all_ended(&self, at_least: usize) -> Vec<Order> {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
        let asked = async {
            loop {
                every.tick().await;
                let orders = self.every_order().await;
                if orders.len() >= at_least && orders.iter().all(|order| order.state() != State::Pending) {
                    return orders;
                }
            }
        };
        match tokio::time::timeout(super::PATIENCE, asked).await {
            Ok(orders) => orders,
            Err(_elapsed) => panic!("not all of {at_least} orders end\n{}", self.what_is_stuck().await),
        }
    }

    async fn until_nothing_is_held(&self) -> Vec<StockItem> {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(50));
        let asked = async {
            loop {
                every.tick().await;
                let items = self.every_item().await;
                if items.iter().all(|item| item.held == 0) {
                    return items;
                }
            }
        };
        match tokio::time::timeout(super::PATIENCE, asked).await {
            Ok(items) => items,
            Err(_elapsed) => panic!("something stays held\n{}", self.what_is_stuck().await),
        }
    }
}

/// How the orders of a system ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub orders: usize,
    pub confirmed: usize,
    pub rejected: usize,
}
