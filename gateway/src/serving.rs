//! The gateway as a role: its ledger, its two doors, and what runs beside them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use spillway_proto::pb::inventory::inventory_service_server::InventoryServiceServer;
use spillway_proto::pb::ops::audit_service_server::AuditServiceServer;
use spillway_proto::pb::ops::dead_letter_service_server::DeadLetterServiceServer;
use spillway_proto::pb::ops::flow_service_server::FlowServiceServer;
use spillway_proto::pb::ops::payment_service_server::PaymentServiceServer;
use spillway_proto::pb::ops::trace_service_server::TraceServiceServer;
use spillway_proto::pb::orders::order_service_server::OrderServiceServer;
use spillway_proto::{DEFAULT_SHOP, DESCRIPTOR_SET, Ledger as Source, LedgerId, Partition};
use spillway_shared::admin::{Check, Readiness};
use spillway_shared::bus::Routes;
use spillway_shared::config::{Problems, Validate};
use spillway_shared::grpc::{GrpcServer, GrpcServerBuilder, MAX_REQUEST_BYTES};
use spillway_shared::ledger::{Ledger, Numbering};
use spillway_shared::lifecycle::{Life, Stage};
use spillway_shared::listen::{self, Name};
use spillway_shared::role::{Place, StartError};
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;

use crate::admission::{Admission, pulse::Pulse};
use crate::audit::Audit;
use crate::budget::{Budget, Meter};
use crate::config::GatewayConfig;
use crate::dead_letters::DeadLetters;
use crate::flow::{Flow, IntakeDoor};
use crate::intake::{Intake, MIGRATIONS};
use crate::inventory::Inventory;
use crate::orders::Orders;
use crate::payments::Payments;
use crate::reading::Reading;
use crate::traces::Traces;
use crate::watch::{Hints, Watches};

/// How often health asks whether the ledger answers.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// Of the time that stopping may take, what open connections have to end: less than the share of the doors, so that they
/// are cut in order.
const CONNECTIONS_SHARE: f64 = 0.4;

/// A running gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayHandle {
    /// What clients call.
    pub grpc_addr: SocketAddr,
    /// What operators call.
    pub ops_addr: SocketAddr,
}

/// Binds both listeners, opens the ledger, and serves. What it started ends with the place's life.
///
/// # Errors
/// [`StartError`] where the configuration is wrong, a port is taken, or the ledger cannot be opened.
pub async fn run(config: GatewayConfig, place: &Place) -> Result<GatewayHandle, StartError> {
    let mut problems = Vec::new();
    config.problems("gateway", &mut problems);
    if !problems.is_empty() {
        return Err(StartError::Config(Problems(problems).to_string()));
    }
    // Before anything else is begun: a taken port is the likeliest mistake.
    let grpc = listen::bind(config.grpc.listen).map_err(other)?;
    let ops = listen::bind(config.ops.listen).map_err(other)?;
    let handle =
        GatewayHandle { grpc_addr: grpc.local_addr().map_err(other)?, ops_addr: ops.local_addr().map_err(other)? };

    let id = LedgerId { ledger: Source::Gateway, partition: Partition(0) };
    let ledger = place.open(id, Numbering::ByRelay, MIGRATIONS, Intake, &[])?;
    place.attach(&ledger, Routes::new());
    place.check(place.jetstream_check().only_told());

    let budget = Arc::new(Budget::new(config.outbox_budget_bytes.get()));
    let meter = Meter::start(budget.clone(), ledger.clone()).await.map_err(other)?;
    place.life.steady(Stage::Doors, "gateway outbox budget", meter.run(place.life.stop(Stage::Doors)));

    let shop: Arc<str> = Arc::from(DEFAULT_SHOP);
    let admission = Arc::new(Admission::new(shop.clone()));
    let target = Duration::from_millis(config.admission.wait_ms.get());
    let pulse = Pulse::new(admission.clone(), ledger.clone(), place.bus.clone(), place.partitions, target);
    place.life.steady(Stage::Doors, "gateway admission", pulse.run(place.life.stop(Stage::Doors)));

    let reading = Reading {
        bus: place.bus.clone(),
        intake: ledger.clone(),
        partitions: place.partitions,
        call_timeout: Duration::from_millis(config.call_timeout_ms.get()),
    };
    let clients = clients(&config, place, reading, Admitting { shop, budget, admission });
    open(&place.life, "gateway grpc", clients, grpc, &ledger)?;
    let flow = Flow { bus: place.bus.clone(), intake: ledger.clone(), partitions: place.partitions };
    open(&place.life, "gateway ops", operators(&config, place, flow), ops, &ledger)?;
    tracing::info!(grpc = %handle.grpc_addr, ops = %handle.ops_addr, "gateway listens");
    Ok(handle)
}

/// For whom orders are accepted, and whether.
struct Admitting {
    shop: Arc<str>,
    budget: Arc<Budget>,
    admission: Arc<Admission>,
}

/// What clients call.
fn clients(config: &GatewayConfig, place: &Place, reading: Reading, admitting: Admitting) -> GrpcServerBuilder {
    let hints = Hints::default();
    for partition in (0..place.partitions).map(Partition) {
        let hearing = hints.clone().hear(place.bus.clone(), partition, place.life.stop(Stage::Doors));
        place.life.steady(Stage::Doors, format!("gateway hints {partition}"), hearing);
    }
    let Admitting { shop, budget, admission } = admitting;
    let name = Name { role: "gateway", listener: "grpc" };
    let builder = GrpcServer::builder(config.grpc.limits.clone())
        .gate(admission.clone())
        .named(name)
        .traced(place.tracer.clone());
    let inventory = Inventory { bus: place.bus.clone(), call_timeout: reading.call_timeout };
    let watches = Watches::new(config.watch.clone(), hints, builder.draining());
    let door = IntakeDoor { pauses: reading.intake.pauses() };
    let orders = Orders { reading, budget, door, admission, watches, shop };
    let orders = OrderServiceServer::new(orders)
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let inventory = InventoryServiceServer::new(inventory)
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    builder.add_service(orders).add_service(inventory).descriptors(DESCRIPTOR_SET)
}

/// What operators call.
fn operators(config: &GatewayConfig, place: &Place, flow: Flow) -> GrpcServerBuilder {
    let name = Name { role: "gateway", listener: "ops" };
    let builder = GrpcServer::builder(config.ops.limits.clone()).named(name).traced(place.tracer.clone());
    let audit = Audit { bus: place.bus.clone(), partitions: place.partitions, draining: builder.draining() };
    let audit = AuditServiceServer::new(audit)
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let dead_letters = DeadLetters {
        bus: place.bus.clone(),
        partitions: place.partitions,
        call_timeout: Duration::from_millis(config.call_timeout_ms.get()),
        draining: builder.draining(),
    };
    let dead_letters = DeadLetterServiceServer::new(dead_letters)
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let flow = FlowServiceServer::new(flow)
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let payments = Payments {
        bus: place.bus.clone(),
        partitions: place.partitions,
        call_timeout: Duration::from_millis(config.call_timeout_ms.get()),
    };
    let payments = PaymentServiceServer::new(payments)
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let call_timeout = Duration::from_millis(config.call_timeout_ms.get());
    let traces = Traces { bus: place.bus.clone(), partitions: place.partitions, call_timeout };
    let traces = TraceServiceServer::new(traces)
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    builder
        .add_service(audit)
        .add_service(dead_letters)
        .add_service(flow)
        .add_service(payments)
        .add_service(traces)
        .descriptors(DESCRIPTOR_SET)
}

/// Serves on a listener until doors are closed; health follows the ledger.
fn open(
    life: &Life,
    name: &'static str,
    builder: GrpcServerBuilder,
    listener: TcpListener,
    ledger: &Ledger<Intake>,
) -> Result<(), StartError> {
    let health = builder.health();
    let server = builder.build(listener).map_err(other)?;
    let (stop, drain) = (life.stop(Stage::Doors), life.drain_deadline().mul_f64(CONNECTIONS_SHARE));
    life.steady(Stage::Doors, name, async move {
        server.run(stop.cancelled_owned(), drain).await;
    });
    let (ledger, stop) = (ledger.clone(), life.stop(Stage::Doors));
    life.steady(Stage::Doors, format!("{name} health"), async move {
        let answers = Check::asked("ledger", move || {
            let ledger = ledger.clone();
            async move { ledger.is_ready().await.map_err(|error| error.to_string()) }
        });
        let readiness = Readiness::new([answers]);
        tokio::select! {
            () = health.follow(&readiness, HEALTH_EVERY) => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(())
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> StartError {
    StartError::Other(Box::new(error))
}
