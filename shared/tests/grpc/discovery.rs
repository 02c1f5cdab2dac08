//! What tools and load balancers ask a server before they use it.

use futures::StreamExt;
use spillway_shared::admin::{Check, Readiness};
use spillway_shared::grpc::{BuildError, GrpcLimits, GrpcServer};
use spillway_shared::listen;
use std::time::Duration;
use tokio::sync::watch;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::kit::{Client, PATIENCE, start};

const LISTED: [&str; 4] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "spillway.test.v1.Echo",
];

macro_rules! reflection_test {
    ($name:ident, $version:ident) => {
        #[tokio::test]
        async fn $name() {
            use tonic_reflection::pb::$version::ServerReflectionRequest;
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;

            let server = start(GrpcLimits::default()).await;
            let mut client = ServerReflectionClient::new(server.client().await.channel);
            let ask = |question| ServerReflectionRequest { host: String::new(), message_request: Some(question) };
            let questions = [
                ask(MessageRequest::ListServices(String::new())),
                ask(MessageRequest::FileContainingSymbol("spillway.test.v1.Echo".to_owned())),
            ];
            let answers = client.server_reflection_info(futures::stream::iter(questions)).await.expect("served");
            let answers: Vec<_> =
                answers.into_inner().map(|answer| answer.expect("an answer").message_response).collect().await;
            let [
                Some(MessageResponse::ListServicesResponse(list)),
                Some(MessageResponse::FileDescriptorResponse(file)),
            ] = answers.as_slice()
            else {
                panic!("{answers:?}");
            };
            let mut names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, LISTED, "what is served is listed, and nothing else of the descriptors");
            assert_eq!(file.file_descriptor_proto.len(), 1);
        }
    };
}

reflection_test!(reflection_v1_lists_and_describes_what_is_served, v1);
reflection_test!(reflection_v1alpha_lists_and_describes_what_is_served, v1alpha);

async fn health_of(client: &Client, service: &str) -> Result<ServingStatus, tonic::Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(client.channel.clone()).check(request).await?;
    Ok(answer.into_inner().status())
}

#[tokio::test]
async fn health_is_not_serving_until_told_otherwise_and_has_an_entry_per_service() {
    let server = start(GrpcLimits::default()).await;
    let client = server.client().await;
    for (told, expected) in [
        (None, ServingStatus::NotServing),
        (Some(true), ServingStatus::Serving),
        (Some(false), ServingStatus::NotServing),
    ] {
        if let Some(told) = told {
            server.health.set_serving(told).await;
        }
        for service in ["", "spillway.test.v1.Echo"] {
            assert_eq!(health_of(&client, service).await.expect("an entry"), expected, "{service:?} after {told:?}");
        }
    }
    let status = health_of(&client, "spillway.test.v1.Opera").await.expect_err("no such service");
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.get_error_details().error_info().expect("ErrorInfo").reason, "SERVICE_NOT_REGISTERED");
}

#[tokio::test]
async fn health_follows_readiness() {
    let server = start(GrpcLimits::default()).await;
    let (ledger, latest) = watch::channel(Err("opening".to_owned()));
    let readiness = Readiness::new([Check::watched("ledger", latest)]);
    let health = server.health.clone();
    let following = tokio::spawn(async move { health.follow(&readiness, Duration::from_millis(5)).await });
    let mut client = HealthClient::new(server.client().await.channel);
    let mut watch = client.watch(HealthCheckRequest::default()).await.expect("open").into_inner();
    for expected in [ServingStatus::NotServing, ServingStatus::Serving, ServingStatus::NotServing] {
        let heard = async { while watch.message().await.expect("open").expect("open").status() != expected {} };
        tokio::time::timeout(PATIENCE, heard).await.expect("in time");
        ledger.send_modify(|state| *state = if state.is_ok() { Err("closed".to_owned()) } else { Ok(()) });
    }
    following.abort();
}

#[tokio::test]
async fn bad_limits_and_descriptors_are_told_before_anything_is_served() {
    let bind = || listen::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let limits = GrpcLimits { allowed_origins: vec!["not an origin".to_owned()], ..GrpcLimits::default() };
    let built = GrpcServer::builder(limits).build(bind());
    assert!(matches!(built.err(), Some(BuildError::Limits(mistakes)) if mistakes.0.len() == 1));
    let built = GrpcServer::builder(GrpcLimits::default()).descriptors(*b"\xff\xff").build(bind());
    assert!(matches!(built.err(), Some(BuildError::Descriptors(_))));
}
