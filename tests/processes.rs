//! Every role its own process, against one NATS: the same orders, also when one of them is killed.

mod support;

use serde_json::Value;
use spillway_natsd::testing::TestServer;
use spillway_proto::pb::inventory::AdjustStockRequest;
use spillway_proto::pb::inventory::inventory_service_client::InventoryServiceClient;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use spillway_proto::pb::orders::{WatchOrderRequest, WatchOrderResponse};
use support::calls::request;
use support::process::Process;
use support::sums;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

struct Processes {
    nats: TestServer,
    folder: TempDir,
    provider: String,
}

impl Processes {
    async fn start_role(&self, role: &str, more: &[&str]) -> (Process, Value) {
        let data = self.folder.path().join("data").display().to_string();
        let url = self.nats.client_url();
        let mut arguments = vec!["run", role, "--output", "json", "--data", &data, "--admin", "127.0.0.1:0"];
        if role != "provider" {
            arguments.extend(["--nats-url", &url]);
        }
        arguments.extend(more);
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let mut process = Process::start(support::spillway(), &arguments, self.folder.path()).await;
        let said = process.first_line_json().await;
        (process, said["addresses"].clone())
    }
}

async fn watch(client: &mut OrderServiceClient<Channel>, order_id: &str) -> Vec<WatchOrderResponse> {
    let request = WatchOrderRequest { order_id: order_id.to_owned(), cursor: 0 };
    let watched = async {
        let mut steps = Vec::new();
        let mut stream = client.watch_order(request).await.expect("watched").into_inner();
        while let Some(step) = stream.message().await.expect("no break") {
            steps.push(step);
        }
        steps
    };
    tokio::time::timeout(support::PATIENCE, watched).await.expect("it comes to its end")
}

async fn until_ready(admin: &str) {
    let mut every = tokio::time::interval(std::time::Duration::from_millis(50));
    let asked = async {
        loop {
            every.tick().await;
            let (status, _) = sums::get(&format!("http://{admin}/ready")).await;
            if status == 200 {
                return;
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, asked).await.expect("ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_runs_as_a_process_of_its_own_and_may_be_killed() {
    let nats = TestServer::start().await;
    let mut all = Processes { nats, folder: tempfile::tempdir().expect("a folder"), provider: String::new() };
    let (_provider, at) = all.start_role("provider", &["--listen", "127.0.0.1:0"]).await;
    all.provider = at["provider"].as_str().expect("an address").to_owned();
    let provider_url = all.provider.clone();
    let payments_flags = ["--provider-url", provider_url.as_str()];
    let (_inventory, at_inventory) = all.start_role("inventory", &[]).await;
    let (payments, _) = all.start_role("payments", &payments_flags).await;
    let (orders, _) = all.start_role("orders", &[]).await;
    let (_notifications, _) = all.start_role("notifications", &[]).await;
    let (_audit, _) = all.start_role("audit", &[]).await;
    let listen = ["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];
    let (_gateway, at) = all.start_role("gateway", &listen).await;
    until_ready(at_inventory["admin"].as_str().expect("an address")).await;
    let uri = format!("http://{}", at["grpc"].as_str().expect("an address"));
    let channel = Endpoint::from_shared(uri).expect("an address").connect().await.expect("connects");
    let (mut client, mut stock) = (OrderServiceClient::new(channel.clone()), InventoryServiceClient::new(channel));
    let adjust = AdjustStockRequest {
        request_id: Uuid::new_v4().to_string(),
        sku: "tea".to_owned(),
        delta: 10,
        reason: String::new(),
    };
    stock.adjust_stock(adjust).await.expect("adjusted");

    let first = client.place_order(request("tea", 1, "pm_ok")).await.expect("accepted").into_inner().order;
    let steps = watch(&mut client, &first.expect("an order").order_id).await;
    assert_eq!(steps.last().and_then(|s| s.order.clone()).expect("a step").state(), State::Confirmed);

    // Accepted while two roles are dead; ended once they are back.
    payments.kill().await;
    orders.kill().await;
    let second = client.place_order(request("tea", 1, "pm_ok")).await.expect("accepted").into_inner().order;
    let second = second.expect("an order").order_id;
    let (_payments, at_payments) = all.start_role("payments", &payments_flags).await;
    let (_orders, at_orders) = all.start_role("orders", &[]).await;
    for at in [at_payments, at_orders] {
        until_ready(at["admin"].as_str().expect("an address")).await;
    }
    let steps = watch(&mut client, &second).await;
    assert_eq!(steps.last().and_then(|s| s.order.clone()).expect("a step").state(), State::Confirmed);
}
