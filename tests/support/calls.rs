//! What a shop does.

use std::collections::BTreeSet;

use spillway_proto::pb::inventory::{AdjustStockRequest, GetStockRequest, StockItem};
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{
    Contact, GetOrderRequest, Order, OrderLine, PlaceOrderRequest, WatchOrderRequest, WatchOrderResponse,
};
use tokio::time::timeout;
use tonic::{Code, Status};
use uuid::Uuid;

use super::money::eur;
use super::{PATIENCE, System};

/// An order of one line for 12.50 EUR each.
pub fn request(sku: &str, quantity: i64, payment_method: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        request_id: Uuid::new_v4().to_string(),
        customer_id: "ada".to_owned(),
        lines: vec![OrderLine { sku: sku.to_owned(), quantity, unit_price: Some(eur(1250)) }],
        payment_method: payment_method.to_owned(),
        ..PlaceOrderRequest::default()
    }
}

pub fn adjustment(sku: &str, delta: i64) -> AdjustStockRequest {
    AdjustStockRequest { request_id: Uuid::new_v4().to_string(), sku: sku.to_owned(), delta, reason: "test".to_owned() }
}

pub fn with_contact(request: PlaceOrderRequest, email: &str) -> PlaceOrderRequest {
    PlaceOrderRequest { contact: Some(Contact { email: email.to_owned() }), ..request }
}

impl System {
    pub async fn place(&self, request: PlaceOrderRequest) -> Order {
        let answer = self.orders().place_order(request).await.expect("accepted");
        answer.into_inner().order.expect("an order")
    }

    /// Retries what a client's ordinary retry would, under the same request id.
    pub async fn place_retrying(&self, request: PlaceOrderRequest) -> Result<Order, Status> {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
        let tried = async {
            loop {
                every.tick().await;
                match self.orders().place_order(request.clone()).await {
                    Ok(answer) => return Ok(answer.into_inner().order.expect("an order")),
                    Err(status) if [Code::Unavailable, Code::ResourceExhausted].contains(&status.code()) => {}
                    Err(status) => return Err(status),
                }
            }
        };
        timeout(PATIENCE, tried).await.expect("accepted at last")
    }

    pub async fn get(&self, order_id: &str) -> Result<Order, Status> {
        let answer = self.orders().get_order(GetOrderRequest { order_id: order_id.to_owned() }).await?;
        Ok(answer.into_inner().order.expect("an order"))
    }

    /// Watches an order to its end; every step.
    pub async fn watch(&self, order_id: &str, cursor: i64) -> Vec<WatchOrderResponse> {
        let request = WatchOrderRequest { order_id: order_id.to_owned(), cursor };
        let watched = async {
            let mut stream = self.orders().watch_order(request).await.expect("watched").into_inner();
            let mut steps = Vec::new();
            while let Some(step) = stream.message().await.expect("no break") {
                steps.push(step);
            }
            steps
        };
        timeout(PATIENCE, watched).await.expect("the order comes to its end")
    }

    /// The order at its end.
    pub async fn ended(&self, order_id: &str) -> Order {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(20));
        let asked = async {
            loop {
                every.tick().await;
                match self.get(order_id).await {
                    Ok(order) if order.state() != State::Pending => return order,
                    Ok(_) => {}
                    Err(status) if status.code() == Code::Unavailable => {}
                    Err(status) => panic!("{order_id}: {status}"),
                }
            }
        };
        match timeout(PATIENCE, asked).await {
            Ok(order) => order,
            Err(_elapsed) => panic!("{order_id} does not end\n{}", self.what_is_stuck().await),
        }
    }

    /// Places and waits for the end.
    pub async fn run_order(&self, request: PlaceOrderRequest) -> Order {
        let order = self.place(request).await;
        self.ended(&order.order_id).await
    }

    pub async fn add_stock(&self, sku: &str, delta: i64) -> StockItem {
        let answer = self.inventory().adjust_stock(adjustment(sku, delta)).await.expect("adjusted");
        answer.into_inner().item.expect("an item")
    }

    pub async fn stock(&self, sku: &str) -> StockItem {
        let answer = self.inventory().get_stock(GetStockRequest { sku: sku.to_owned() }).await.expect("there");
        answer.into_inner().item.expect("an item")
    }

    /// The stock of a SKU once nothing of it is held any more.
    pub async fn settled_stock(&self, sku: &str) -> StockItem {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(20));
        let asked = async {
            loop {
                every.tick().await;
                let item = self.stock(sku).await;
                if item.held == 0 {
                    return item;
                }
            }
        };
        timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{sku} stays held"))
    }
}

/// The types of the events of a watched order, without their prefix.
pub fn kinds(steps: &[WatchOrderResponse]) -> BTreeSet<String> {
    let types = steps.iter().filter_map(|step| step.event.as_ref()).map(|event| event.r#type.clone());
    types.map(|t| t.trim_start_matches("spillway.").trim_end_matches(".v1").to_owned()).collect()
}
