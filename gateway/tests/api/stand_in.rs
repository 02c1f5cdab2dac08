//! What answers in place of orders, and says what the test wants.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use prost::Message;
use spillway_proto::pb::internal::{Call, ChangedOrders, HistoryRequest, HistoryResponse};
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::{Order, OrderEvent};
use spillway_proto::{Ledger, OrderId, Partition, call, ledgers};
use spillway_shared::bus::Bus;

/// One order's history, as orders would tell it. Of every other order it knows nothing.
#[derive(Clone)]
pub struct StandIn {
    bus: Bus,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    order: Option<Order>,
    events: Vec<OrderEvent>,
    asked: usize,
}

impl StandIn {
    /// Answers `history` in partition 0, for as long as the connection lives.
    pub async fn start(bus: Bus) -> StandIn {
        let subject = ledgers::call_subject(Ledger::Orders, Partition(0), "history");
        let mut calls = bus.client().subscribe(subject).await.expect("subscribed");
        bus.client().flush().await.expect("the server knows");
        let stand_in = StandIn { bus, told: Arc::default() };
        let answering = stand_in.clone();
        tokio::spawn(async move {
            while let Some(message) = calls.next().await {
                let call = Call::decode(message.payload).expect("a call");
                let request = HistoryRequest::decode(call.body).expect("a request");
                let answer = call::answer(Ok(answering.answer(&request).encode_to_vec().into()));
                let reply = message.reply.expect("somebody waits");
                answering.bus.client().publish(reply, answer).await.expect("connected");
            }
        });
        stand_in
    }

    fn answer(&self, request: &HistoryRequest) -> HistoryResponse {
        let mut told = self.told.lock().expect("unpoisoned");
        told.asked += 1;
        let limit = usize::try_from(request.limit).expect("not negative");
        match &told.order {
            Some(order) if order.order_id == request.order_id => HistoryResponse {
                order: Some(order.clone()),
                events: told.events.iter().filter(|e| e.version > request.after).take(limit).cloned().collect(),
            },
            Some(_) | None => HistoryResponse::default(),
        }
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.told.lock().expect("unpoisoned").asked
    }

    /// From now on the order has so many events and is in this state.
    pub fn tell(&self, order_id: &str, version: i64, state: State) {
        let mut told = self.told.lock().expect("unpoisoned");
        told.order = Some(Order { order_id: order_id.to_owned(), version, state: state.into(), ..Order::default() });
        told.events = (1..=version)
            .map(|version| OrderEvent { version, id: format!("event {version}"), ..Default::default() })
            .collect();
    }

    /// Hints that the order changed.
    pub async fn hint(&self, order_id: &str) {
        let order_id: OrderId = order_id.parse().expect("an id");
        let hint = ChangedOrders { order_ids: order_id.as_bytes().to_vec().into() };
        let subject = ledgers::changed_subject(Partition(0));
        self.bus.client().publish(subject, hint.encode_to_vec().into()).await.expect("connected");
        self.bus.client().flush().await.expect("connected");
    }
}
