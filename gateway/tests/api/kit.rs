//! A gateway with its neighbours, and clients for it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use spillway_gateway::{GatewayConfig, GatewayHandle};
use spillway_natsd::testing::TestServer;
use spillway_orders::OrdersConfig;
use spillway_proto::pb;
use spillway_proto::pb::inventory::AdjustStockRequest;
use spillway_proto::pb::inventory::inventory_service_client::InventoryServiceClient;
use spillway_proto::pb::ops::audit_service_client::AuditServiceClient;
use spillway_proto::pb::ops::dead_letter_service_client::DeadLetterServiceClient;
use spillway_proto::pb::orders::order::State;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use spillway_proto::pb::orders::{GetOrderRequest, Order, OrderLine, PlaceOrderRequest};
use spillway_proto::{DEFAULT_SHOP, Partition};
use spillway_shared::bus::{Bus, BusConfig};
use spillway_shared::ledger::SystemClock;
use spillway_shared::lifecycle::Life;
use spillway_shared::role::{Place, StartError};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

/// Longer than anything here takes; a test that waits for so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A role that runs until it is ended. Its ledger's file may be held a little longer.
pub struct Running {
    pub life: Life,
    pub bus: Bus,
}

impl Running {
    pub async fn end(self) {
        self.life.shut_down();
        let (drained, ended) = self.life.finish().await;
        assert_eq!((drained.cut, ended), (vec![], Ok(())));
    }
}

/// A nats-server, a folder for ledgers, and what runs there.
pub struct World {
    pub nats: TestServer,
    pub folder: TempDir,
    pub partitions: u16,
    pub config: GatewayConfig,
}

impl World {
    /// Nothing runs yet but the nats-server.
    pub async fn new(partitions: u16) -> World {
        let mut config = GatewayConfig::default();
        config.grpc.listen.set_port(0);
        config.ops.listen.set_port(0);
        let folder = tempfile::tempdir().expect("a folder");
        World { nats: TestServer::start().await, folder, partitions, config }
    }

    pub async fn bus(&self, name: &str) -> Bus {
        let config = BusConfig { url: self.nats.client_url(), ..BusConfig::default() };
        let bus = Bus::connect(&config, name).await.expect("an address");
        let mut connected = bus.connected();
        let is_connected = connected.wait_for(|is_connected| *is_connected);
        tokio::time::timeout(PATIENCE, is_connected).await.expect("in time").expect("it lives");
        bus
    }

    pub async fn place(&self, name: &str) -> Place {
        let bus = self.bus(name).await;
        let life = Life::new(name, Duration::from_secs(20));
        Place::new(self.partitions, self.folder.path(), bus, Arc::new(SystemClock), life)
    }

    async fn role<F>(&self, name: &str, run: impl Fn(Place) -> F) -> Running
    where
        F: Future<Output = Result<(), StartError>>,
    {
        let place = self.place(name).await;
        let (life, bus) = (place.life.clone(), place.bus.clone());
        run(place).await.expect("starts");
        Running { life, bus }
    }

    /// Orders, whose ledger may still be held by the one before.
    pub async fn orders(&self) -> Running {
        self.role("orders", |place| async move {
            until_free(|| spillway_orders::run(OrdersConfig::default(), place.clone())).await
        })
        .await
    }

    pub async fn inventory(&self) -> Running {
        self.role("inventory", spillway_inventory::run).await
    }

    pub async fn audit(&self) -> Running {
        self.role("audit", spillway_audit::run).await
    }

    /// The gateway, whose ledger may still be held by the one before.
    pub async fn gateway(&self) -> Gateway {
        let place = self.place("gateway").await;
        let (life, bus) = (place.life.clone(), place.bus.clone());
        let handle = until_free(|| spillway_gateway::run(self.config.clone(), &place)).await.expect("starts");
        Gateway { running: Running { life, bus }, handle }
    }
}

/// Tries again while the ledger's file is held by a writer that is on its way out.
async fn until_free<T, F>(start: impl Fn() -> F) -> Result<T, StartError>
where
    F: Future<Output = Result<T, StartError>>,
{
    let mut look = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..1000 {
        look.tick().await;
        match start().await {
            Err(StartError::Ledger(spillway_shared::ledger::OpenError::InUse { .. })) => {}
            started => return started,
        }
    }
    panic!("the ledger stays locked")
}

pub struct Gateway {
    pub running: Running,
    pub handle: GatewayHandle,
}

impl Gateway {
    pub async fn client(&self) -> Client {
        let channel = |addr| async move {
            let endpoint = Channel::from_shared(format!("http://{addr}")).expect("a URI");
            endpoint.connect().await.expect("it listens")
        };
        let (clients, operators) = (channel(self.handle.grpc_addr).await, channel(self.handle.ops_addr).await);
        Client {
            channel: clients.clone(),
            orders: OrderServiceClient::new(clients.clone()),
            stock: InventoryServiceClient::new(clients),
            audit: AuditServiceClient::new(operators.clone()),
            dead_letters: DeadLetterServiceClient::new(operators),
        }
    }
}

/// A client with one connection to each door.
#[derive(Clone)]
pub struct Client {
    pub channel: Channel,
    pub orders: OrderServiceClient<Channel>,
    pub stock: InventoryServiceClient<Channel>,
    pub audit: AuditServiceClient<Channel>,
    pub dead_letters: DeadLetterServiceClient<Channel>,
}

impl Client {
    pub async fn place(&mut self, request: &PlaceOrderRequest) -> Result<Order, Status> {
        let answer = self.orders.place_order(request.clone()).await?;
        Ok(answer.into_inner().order.expect("every answer has it"))
    }

    pub async fn get(&mut self, order_id: &str) -> Result<Order, Status> {
        let answer = self.orders.get_order(GetOrderRequest { order_id: order_id.to_owned() }).await?;
        Ok(answer.into_inner().order.expect("every answer has it"))
    }

    /// Asks until the order is as wanted. That orders cannot be reached at first is borne.
    pub async fn until(&mut self, order_id: &str, wanted: impl Fn(&Order) -> bool) -> Order {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let asked = async {
            loop {
                look.tick().await;
                match self.get(order_id).await {
                    Ok(order) if wanted(&order) => return order,
                    Ok(_) => {}
                    Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("in time")
    }

    pub async fn until_rejected(&mut self, order_id: &str) -> Order {
        self.until(order_id, |order| order.state() == State::Rejected).await
    }

    /// Puts a SKU into stock, as soon as inventory answers.
    pub async fn stock(&mut self, sku: &str, delta: i64) {
        let request = AdjustStockRequest {
            request_id: Uuid::new_v4().to_string(),
            sku: sku.to_owned(),
            delta,
            reason: String::new(),
        };
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let adjusted = async {
            loop {
                look.tick().await;
                match self.stock.adjust_stock(request.clone()).await {
                    Ok(_) => return,
                    Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, adjusted).await.expect("in time");
    }
}

pub fn money(units: i64, nanos: i32, currency: &str) -> pb::Money {
    pb::Money { currency_code: currency.to_owned(), units, nanos }
}

/// A new request for one unit of a SKU.
pub fn order_of(sku: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        request_id: Uuid::new_v4().to_string(),
        customer_id: "ada".to_owned(),
        lines: vec![OrderLine { sku: sku.to_owned(), quantity: 1, unit_price: Some(money(12, 500_000_000, "EUR")) }],
        payment_method: "pm_ok".to_owned(),
        total: None,
        contact: None,
        labels: [("channel".to_owned(), "web".to_owned())].into(),
        validate_only: false,
    }
}

/// The same, in this partition of two.
pub fn order_in(partition: u16, sku: &str) -> PlaceOrderRequest {
    loop {
        let order = order_of(sku);
        let request_id = order.request_id.parse().expect("a UUID");
        if Partition::of_request(DEFAULT_SHOP, request_id, 2) == Partition(partition) {
            return order;
        }
    }
}

/// The reason of an error; every error has one, in our domain.
pub fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "spillway");
    info.reason
}

/// What a client needs in order to try again, and that libraries are told the same.
pub fn retry_after(status: &Status) -> Option<Duration> {
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let pushback = status.metadata().get("grpc-retry-pushback-ms").map(|value| value.to_str().expect("a number"));
    assert_eq!(pushback, delay.map(|delay| delay.as_millis().to_string()).as_deref());
    delay
}

/// The fields that are not valid.
pub fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violations = status.get_details_bad_request().expect("its details").field_violations;
    violations.into_iter().map(|violation| violation.field).collect()
}
