//! The gateway as a role.

use std::net::TcpListener;
use std::time::Duration;

use prost::Message;
use spillway_gateway::GatewayConfig;
use spillway_proto::pb::orders::PlaceOrderRequest;
use spillway_proto::pb::orders::order_service_client::OrderServiceClient;
use spillway_shared::role::StartError;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::kit::{PATIENCE, World, order_of, reason};

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it_and_nothing_is_begun() {
    let world = World::new(1).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("bound");
    let mut config = world.config.clone();
    config.ops.listen = addr;
    let place = world.place("gateway").await;
    let error = spillway_gateway::run(config, &place).await.expect_err("taken");
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
    assert!(std::fs::read_dir(world.folder.path()).expect("there").next().is_none(), "a ledger was made");
}

#[tokio::test]
async fn a_wrong_configuration_is_told_whole() {
    let world = World::new(1).await;
    let mut config: GatewayConfig = world.config.clone();
    config.watch.max_age_ms = std::num::NonZeroU64::MAX;
    config.grpc.limits.default_deadline_ms = std::num::NonZeroU64::MAX;
    let place = world.place("gateway").await;
    let Err(StartError::Config(told)) = spillway_gateway::run(config, &place).await else { panic!("it is wrong") };
    for key in ["gateway.watch.max_age_ms", "gateway.grpc.limits.default_deadline_ms"] {
        assert!(told.contains(key), "{told}");
    }
}

#[tokio::test]
async fn it_is_ready_without_jetstream_and_says_so() {
    let mut world = World::new(1).await;
    let place = world.place("gateway").await;
    let config = world.config.clone();
    spillway_gateway::run(config, &place).await.expect("starts");
    let readiness = place.readiness();
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let well = async {
        loop {
            look.tick().await;
            let report = readiness.report().await;
            assert!(report.ready, "{report:?}");
            // Its stream is looked at in a moment.
            if report.checks.iter().all(|check| check.ok) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, well).await.expect("all is well");
    world.nats.kill().await;
    let noticed = async {
        loop {
            look.tick().await;
            let report = readiness.report().await;
            assert!(report.ready, "{report:?}");
            if report.checks.iter().any(|check| check.name == "jetstream" && !check.ok && !check.needed) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, noticed).await.expect("in time");
}

#[tokio::test]
async fn health_and_reflection_tell_of_each_service() {
    let world = World::new(1).await;
    let gateway = world.gateway().await;
    let client = gateway.client().await;
    let mut health = HealthClient::new(client.channel.clone());
    for service in ["", "spillway.orders.v1.OrderService", "spillway.inventory.v1.InventoryService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let serving = async {
            loop {
                look.tick().await;
                let told = health.check(request.clone()).await.expect("it is known").into_inner();
                if told.status() == ServingStatus::Serving {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, serving).await.expect("it serves");
    }
    let mut reflection = ServerReflectionClient::new(client.channel);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection.server_reflection_info(futures::stream::iter([ask])).await.expect("open").into_inner();
    let answer = answers.message().await.expect("answered").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"spillway.orders.v1.OrderService"), "{names:?}");
    assert!(names.contains(&"spillway.inventory.v1.InventoryService"), "{names:?}");
    assert!(!names.contains(&"spillway.ops.v1.AuditService"), "{names:?}");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_also_when_it_was_compressed() {
    let world = World::new(1).await;
    let gateway = world.gateway().await;
    let client = gateway.client().await;
    let mut zipped = OrderServiceClient::new(client.channel.clone())
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    let mut request = order_of("tea");
    let placed = zipped.place_order(request.clone()).await.expect("accepted").into_inner().order.expect("an order");
    assert_eq!(placed.request_id, request.request_id);
    request.customer_id = "x".repeat(300_000);
    assert!(PlaceOrderRequest::encoded_len(&request) > 256 * 1024);
    let mut plain = OrderServiceClient::new(client.channel.clone());
    let refused = plain.place_order(request.clone()).await.expect_err("too large");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::OutOfRange, "MESSAGE_TOO_LARGE"));
    let refused = zipped.place_order(request).await.expect_err("too large once it is unpacked");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
}
